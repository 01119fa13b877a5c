"""Check that this driver still leads, in a thread of its own, so that a slow store delays nothing."""

from __future__ import annotations

import threading

from evalrun_runner.errors import StoreError, Superseded
from evalrun_runner.ledger.ledger import Ledger

EPOCH_SECONDS = 5.0
"""Interval in seconds between checks of the store for a higher epoch."""


class Leadership:
    """Watch for a higher epoch. An unreachable store does not end leadership, because every write checks again."""

    def __init__(self, ledger: Ledger, epoch: int) -> None:
        self._ledger = ledger
        self._epoch = epoch
        self._lost: Superseded | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leadership", daemon=True)

    def start(self) -> None:
        """Start the checks."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the checks."""
        self._stop.set()

    def check(self) -> None:
        """Check the result of the watch.

        Raises:
            Superseded: A higher epoch was found.
        """
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
                continue  # whoever writes to the store reports the failure
