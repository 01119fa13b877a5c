"""How a replica's pod tells the replica in it to drain: two files in a folder that both know from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "EVALRUN_DRAIN_DIR"
"""Names the folder to the replica's process; absent where nobody drains (a run on one machine)."""


class DrainFolder:
    """The folder of one Ray node. Ray's own messages are no way for this: its head may be what is gone."""

    def __init__(self, folder: Path) -> None:
        self._asked = folder / "drain"
        self._serving = folder / "serving"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> DrainFolder | None:
        """The folder that this process was told of."""
        return cls(Path(environment[VARIABLE])) if VARIABLE in environment else None

    def ask(self) -> None:
        """Tell the replica to drain."""
        self._asked.touch()

    @property
    def asked(self) -> bool:
        """Whether the replica is to drain."""
        return self._asked.exists()

    def serve(self) -> None:
        """This process has a replica that takes leases from now on: it is waited for."""
        whole = self._serving.with_suffix(".new")
        whole.write_text(str(os.getpid()))
        whole.rename(self._serving)

    @property
    def serving(self) -> bool:
        """Whether a replica that took leases is still alive."""
        try:
            pid = int(self._serving.read_text())
        except FileNotFoundError:
            return False
        return Path(f"/proc/{pid}").exists()
