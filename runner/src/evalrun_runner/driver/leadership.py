"""Whether this driver still leads: the store is asked in a thread of its own, so that a slow one delays nothing."""

from __future__ import annotations

import threading

from evalrun_runner.errors import StoreError, Superseded
from evalrun_runner.ledger.ledger import Ledger

EPOCH_SECONDS = 5.0
"""How often the store is asked for a higher epoch."""


class Leadership:
    """Looks for a higher epoch. Losing sight of the store is no loss of leadership: every write looks again."""

    def __init__(self, ledger: Ledger, epoch: int) -> None:
        self._ledger = ledger
        self._epoch = epoch
        self._lost: Superseded | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leadership", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def check(self) -> None:
        """Raises ``Superseded`` once a higher epoch was seen."""
        if self._lost is not None:
            raise self._lost

    def _watch(self) -> None:
        while not self._stop.wait(EPOCH_SECONDS):
            try:
                self._ledger.assert_leading(self._epoch)
            except Superseded as error:
                self._lost = error
                return
            except StoreError:
                continue  # those who write to it say so
