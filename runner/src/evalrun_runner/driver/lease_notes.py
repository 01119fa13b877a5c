"""A trace of what is under way, in leased.json: what a driver that dies takes with it is counted by the next one.

It is written at most once a second, so the count is that of a moment before the death: chunks that were leased then
and turn out not to be committed. Nothing but the count depends on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from evalrun_api.wire.outputs import LeasedRecord
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.progress import Inherited
from evalrun_runner.errors import ObjectMissing, StoreError
from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore

NOTE_SECONDS = 1.0
"""Minimum time between two notes, in seconds."""


def inherited(store: ObjectStore) -> Inherited:
    """Read what the driver before left unfinished; nothing where none left a note that can be read."""
    try:
        note = LeasedRecord.read(store.get(layout.LEASED))
    except (ObjectMissing, ValueError):
        return Inherited()
    chunks = frozenset((task, number) for task, numbers in note.chunks.items() for number in numbers)
    return Inherited(note.redone, chunks)


class LeaseNotes:
    """Writer of the notes, in a thread of its own, so that a slow store delays nothing."""

    def __init__(
        self,
        store: ObjectStore,
        epoch: int,
        dispatcher: Dispatcher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to write.

        Args:
            store: Where the notes go; its failures are ignored.
            epoch: This driver process.
            dispatcher: Whose leases are noted.
            clock: Seconds.
        """
        self._store = store
        self._epoch = epoch
        self._dispatcher = dispatcher
        self._clock = clock
        self._next = 0.0
        self._latest: LeasedRecord | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="lease-notes", daemon=True)

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; the last note stays, for the driver that goes on from here."""
        self._stop.set()

    def take(self) -> None:
        """Take down what is under way now. Called by the thread that the dispatcher belongs to, in every turn."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + NOTE_SECONDS / 2
        under_way = self._dispatcher.under_way()
        if under_way or self._latest is not None:
            self._latest = LeasedRecord(epoch=self._epoch, redone=self._dispatcher.redone, chunks=_by_task(under_way))

    def write(self) -> None:
        """Write the latest note. Raises the errors of the store."""
        if self._latest is not None:
            self._store.put(layout.LEASED, self._latest.write())

    def _write(self) -> None:
        written: LeasedRecord | None = None
        while not self._stop.wait(NOTE_SECONDS):
            if self._latest == written:
                continue
            written = self._latest
            try:
                self.write()
            except StoreError:
                written = None


def _by_task(chunks: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for task, number in sorted(chunks):
        numbers.setdefault(task, []).append(number)
    return numbers
