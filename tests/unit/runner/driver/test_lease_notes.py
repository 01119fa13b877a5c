"""What a driver had under way as it died is counted by the next one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.progress import Inherited
from evalrun_runner.driver.lease_notes import NOTE_SECONDS, LeaseNotes, inherited
from evalrun_runner.ledger import layout
from evalrun_runner.records.messages import Lease, Report
from evalrun_runner.records.results import ItemCounts
from evalrun_runner.store.memory import MemoryStore
from support.builders import make_chunk, make_committed


class Scene:
    """A driver that leases chunks of two items to one replica."""

    def __init__(self, store: MemoryStore, epoch: int = 1, chunks: int = 3, committed: Sequence[int] = ()) -> None:
        self.store = store
        self.dispatcher = Dispatcher(inherited=inherited(store))
        self.now = 0.0
        self.notes = LeaseNotes(store, epoch, self.dispatcher, lambda: self.now)
        there = {("t", number): ItemCounts(ok=2) for number in committed}
        self.dispatcher.add_chunks([make_chunk(number) for number in range(chunks)], there)
        self.dispatcher.join("r", 0.0)

    def lease(self, wants: int) -> Sequence[Lease]:
        return self.dispatcher.report("r", Report(wants=wants), 0.0).leases

    def note(self) -> dict[str, Any] | None:
        self.now += NOTE_SECONDS
        self.notes.take()
        self.notes.write()
        return json.loads(self.store.get(layout.LEASED)) if self.store.exists(layout.LEASED) else None

    @property
    def redone(self) -> tuple[int, int]:
        """In the whole run, and by this driver."""
        progress = self.dispatcher.progress(0.0)
        return progress.redone, progress.redone_here


def test_leased_chunks_are_noted_until_they_are_committed() -> None:
    scene = Scene(MemoryStore())
    assert scene.note() is None
    first, *_ = scene.lease(6)
    assert scene.note() == {"epoch": 1, "redone": 0, "chunks": {"t": [0, 1, 2]}}
    scene.dispatcher.report("r", Report(committed=(make_committed(first),)), 0.0)
    noted = scene.note()
    assert noted is not None
    assert noted["chunks"] == {"t": [number for number in range(3) if ("t", number) != first.chunk.id]}


def test_what_turns_out_not_to_be_committed_is_redone_and_the_next_driver_goes_on_counting() -> None:
    store = MemoryStore()
    first = Scene(store)
    first.lease(6)
    first.note()
    second = Scene(store, epoch=2, committed=[1])
    assert second.redone == (4, 4)
    second.lease(6)
    assert second.note() == {"epoch": 2, "redone": 4, "chunks": {"t": [0, 2]}}
    assert Scene(store, epoch=3, committed=[0, 1]).redone == (6, 2)


def test_what_is_not_planned_again_yet_stays_in_the_note() -> None:
    store = MemoryStore()
    first = Scene(store)
    first.lease(6)
    first.note()
    second = Scene(store, epoch=2, chunks=1)
    assert second.redone == (2, 2)
    noted = second.note()
    assert noted is not None
    assert noted["chunks"] == {"t": [1, 2]}


def test_notes_are_rare() -> None:
    scene = Scene(MemoryStore())
    scene.notes.take()
    scene.lease(6)
    scene.notes.take()
    scene.notes.write()
    assert not scene.store.exists(layout.LEASED), "nothing was under way when it was last looked at"


def test_a_damaged_note_counts_as_none() -> None:
    store = MemoryStore()
    assert inherited(store) == Inherited()
    store.put(layout.LEASED, b"{")
    assert inherited(store) == Inherited()
