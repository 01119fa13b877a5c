"""Signals between a replica's pod and its replica, as files in a folder that the environment names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from evalrun_runner.fleet.processes import end_all, members

VARIABLE = "EVALRUN_DRAIN_DIR"
"""Environment variable with the folder; not set where nothing drains replicas (a run on one machine)."""


class DrainFolder:
    """Folder of one Ray node. Ray's own messages are not suitable, because Ray's head may be the part that failed."""

    def __init__(self, folder: Path) -> None:
        self._asked = folder / "drain"
        self._serving = folder / "serving"
        self._replica = folder / "replica"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> DrainFolder | None:
        """Return the folder that the environment names, if any."""
        return cls(Path(environment[VARIABLE])) if VARIABLE in environment else None

    def ask(self) -> None:
        """Tell the replica to drain."""
        self._asked.touch()

    @property
    def asked(self) -> bool:
        """Whether the replica should drain."""
        return self._asked.exists()

    def move_in(self) -> None:
        """Register this process as the pod's replica, and end an earlier one that hangs and still holds GPUs."""
        if (before := _pid_in(self._replica)) is not None and before != os.getpid():
            end_all([before, *members(None, before)])
        _write(self._replica, os.getpid())

    def serve(self) -> None:
        """Record that this process has a replica that takes leases and must be waited for."""
        _write(self._serving, os.getpid())

    @property
    def serving(self) -> bool:
        """Whether a replica that took leases is still alive."""
        pid = _pid_in(self._serving)
        return pid is not None and Path(f"/proc/{pid}").exists()


def _write(file: Path, pid: int) -> None:
    whole = file.with_suffix(".new")
    whole.write_text(str(pid))
    whole.rename(file)


def _pid_in(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() else None
