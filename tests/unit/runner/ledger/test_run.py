"""The ledger of a run: epochs, plan, commits, completion; with several writers and drivers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evalrun_api.wire.outputs import StopCause, StopRecord
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, StoreUnavailable, Superseded
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import CommitOutcome, Ledger
from evalrun_runner.ledger.manifest import TaskIndex
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.memory import MemoryStore
from support.builders import cut, generate, make_item, read_items

ONE, TWO = Writer("replica-1", "mock"), Writer("replica-2", "mock")


def plan(task: str = "t/1", items: int = 6, size: int = 3) -> tuple[list[Item], list[Chunk]]:
    """A small plan of one segment."""
    asked = (generate("say", until=["\n"]),)
    made = [make_item(*asked, doc_id=n, task=task) for n in range(items)]
    return made, cut(made, size)


def results(chunk: Chunk, items: list[Item], *, failed: int = 0, text: str = "x") -> list[ItemResult]:
    """Results for a chunk, the first ``failed`` of them failed."""
    outcomes = [
        Outcome(ItemStatus.FAILED, error="too long")
        if n < failed
        else Outcome(ItemStatus.OK, ((Response(text, "stop", 1, 1),),))
        for n in range(chunk.items)
    ]
    mine = items[chunk.first_row : chunk.first_row + chunk.items]
    return [ItemResult(item.doc_id, item.hash, outcome) for item, outcome in zip(mine, outcomes, strict=True)]


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryStore | DirectoryStore:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path)


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store)


class TestModel:
    """By what the parts are made."""

    def test_the_first_claim_is_the_runs(self, ledger: Ledger) -> None:
        assert ledger.claimed_model() is None
        for _ in range(2):
            ledger.claim_model("sha256:1")
        with pytest.raises(InputError, match="begun with sha256:1\n  found now  sha256:2"):
            ledger.claim_model("sha256:2")
        assert ledger.claimed_model() == "sha256:1"

    @pytest.mark.parametrize("damaged", [b"", b"[]", b"{}"])
    def test_a_damaged_claim_is_no_claim_of_nobody(self, store: MemoryStore, damaged: bytes) -> None:
        store.put(layout.MODEL, damaged)
        with pytest.raises(LedgerCorrupt, match=r"model\.json is damaged"):
            Ledger(store).claim_model("sha256:1")


class TestEpochs:
    """Which driver leads."""

    def test_each_driver_gets_its_own_epoch(self, ledger: Ledger) -> None:
        assert ledger.highest_epoch() == 0
        with ThreadPoolExecutor(8) as drivers:
            claimed = sorted(drivers.map(lambda _: ledger.claim_epoch(), range(16)))
        assert claimed == list(range(1, 17))
        assert ledger.highest_epoch() == 16

    def test_only_the_last_driver_leads(self, ledger: Ledger) -> None:
        first = ledger.claim_epoch()
        ledger.assert_leading(first)
        ledger.assert_leading(ledger.claim_epoch())
        with pytest.raises(Superseded, match=r"epoch 2, ours is 1.*stays"):
            ledger.assert_leading(first)

    def test_epochs_may_exceed_a_million(self, ledger: Ledger, store: MemoryStore) -> None:
        store.put(layout.epoch(999_999), b"")
        store.put("epochs/a note", b"")
        assert [ledger.claim_epoch(), ledger.claim_epoch()] == [1_000_000, 1_000_001]


class TestManifest:
    """What is planned."""

    def test_a_plan_is_written_once_and_again_the_same(self, ledger: Ledger) -> None:
        items, chunks = plan()
        index = TaskIndex("t/1", 1, 6, 2, 6.0, "d")
        assert ledger.task_index("t/1") is None
        for _ in range(2):
            ledger.write_segment(items, chunks)
            ledger.write_task_index(index)
        assert ledger.task_index("t/1") == index
        assert ledger.read_segment("t/1", 0).items == tuple(items)
        assert read_items(ledger, chunks[1]) == items[3:]

    def test_another_plan_is_refused(self, ledger: Ledger) -> None:
        ledger.write_segment(*plan())
        ledger.write_task_index(TaskIndex("t/1", 1, 6, 2, 6.0, "d"))
        with pytest.raises(InputError, match=r"another plan \(segment 0 of task t/1\).*start fresh"):
            ledger.write_segment(*plan(items=9))
        with pytest.raises(InputError, match="6 items, this plan 9"):
            ledger.write_task_index(TaskIndex("t/1", 1, 9, 3, 9.0, "d"))

    def test_the_same_plan_in_other_bytes_is_the_same_plan(self, ledger: Ledger, store: MemoryStore) -> None:
        class Older(MemoryStore):
            """Holds what an older Parquet library wrote: the same content, other bytes."""

            def create(self, key: str, data: bytes) -> bool:
                super().create(key, data)
                return False

        Ledger(Older()).write_segment(*plan())

    def test_a_damaged_segment_is_set_aside_and_written_again(self, ledger: Ledger, store: MemoryStore) -> None:
        items, chunks = plan()
        ledger.write_segment(items, chunks)
        key = layout.segment("t/1", 0)
        store.put(key, store.get(key)[:-9])
        for call in (lambda: ledger.write_segment(items, chunks), lambda: ledger.read_segment("t/1", 0)):
            with pytest.raises(LedgerCorrupt, match=f"{store.uri}{key} is damaged"):
                call()
        epoch = ledger.claim_epoch()
        assert ledger.set_segment_aside("t/1", 0, epoch)
        assert not ledger.set_segment_aside("t/1", 0, epoch)
        ledger.write_segment(items, chunks)
        assert not ledger.set_segment_aside("t/1", 0, epoch)


class TestCommits:
    """What is committed."""

    def test_the_first_writer_wins_and_the_second_learns_the_counts(self, ledger: Ledger) -> None:
        items, (chunk, other) = plan()
        assert list(ledger.committed_parts()) == []
        first = ledger.commit_part(chunk, results(chunk, items, failed=1), ONE)
        second = ledger.commit_part(chunk, results(chunk, items), TWO)
        assert (first, second) == (CommitOutcome(True, ItemCounts(2, 1)), CommitOutcome(False, ItemCounts(2, 1)))
        assert ledger.commit_part(chunk, results(chunk, items, failed=1), ONE).won
        assert ledger.read_part(chunk).writer == ONE
        assert list(ledger.committed_parts()) == [("t/1", 0)]
        with pytest.raises(ObjectMissing):
            ledger.read_part(other)

    def test_one_of_several_concurrent_writers_wins_and_all_agree(self, ledger: Ledger) -> None:
        items, (chunk, _) = plan()

        def commit(n: int) -> CommitOutcome:
            return ledger.commit_part(chunk, results(chunk, items, failed=n % 4), Writer(f"replica-{n}", "mock"))

        with ThreadPoolExecutor(8) as replicas:
            outcomes = list(replicas.map(commit, range(8)))
        assert [outcome.won for outcome in outcomes].count(True) == 1
        assert {outcome.counts for outcome in outcomes} == {ledger.read_part(chunk).counts}

    def test_a_damaged_part_is_reported_set_aside_and_redone(self, ledger: Ledger, store: MemoryStore) -> None:
        items, (chunk, _) = plan()
        ledger.commit_part(chunk, results(chunk, items), ONE)
        key = layout.part(*chunk.id)
        damaged = store.get(key).replace(b"PAR1", b"PAR2")
        store.put(key, damaged)
        with pytest.raises(LedgerCorrupt, match=f"{store.uri}{key} is damaged"):
            ledger.commit_part(chunk, results(chunk, items), TWO)
        first, second = ledger.claim_epoch(), ledger.claim_epoch()
        with pytest.raises(Superseded):
            ledger.set_aside(chunk, first)
        assert ledger.set_aside(chunk, second)
        assert store.get(f"corrupt/000002/{key}") == damaged
        assert list(ledger.committed_parts()) == []
        assert ledger.commit_part(chunk, results(chunk, items), TWO).won

    def test_the_parts_of_a_run_that_stopped_are_those_before_its_stop(self, ledger: Ledger) -> None:
        items, chunks = plan(items=9)
        ledger.write_segment(items, chunks)
        for chunk in chunks:
            ledger.commit_part(chunk, results(chunk, items), ONE)
        assert ledger.counted_parts() == [("t/1", 0), ("t/1", 1), ("t/1", 2)]

        stop = StopRecord(
            cause=StopCause.CERTAIN,
            look=0,
            looks=5,
            chunks={"t/1": 2},
            evaluated=6,
            planned=9,
            asked=[],
            gates=[],
            epoch=1,
        )
        ledger.record_stop(ledger.claim_epoch(), stop)

        assert ledger.counted_parts() == [("t/1", 0), ("t/1", 1)]

    def test_planned_chunks_are_there_once_the_manifest_is_complete(self, ledger: Ledger) -> None:
        items, chunks = plan()
        ledger.write_segment(items, chunks)
        assert ledger.planned_chunks("t/1") == ()

        ledger.write_task_index(TaskIndex("t/1", 1, 6, 2, 6.0, "digest"))

        assert ledger.planned_chunks("t/1") == tuple(chunks)

    def test_a_sound_part_is_never_set_aside(self, ledger: Ledger) -> None:
        items, (chunk, other) = plan()
        ledger.commit_part(chunk, results(chunk, items), ONE)
        epoch = ledger.claim_epoch()
        assert not ledger.set_aside(chunk, epoch)
        assert not ledger.set_aside(other, epoch)
        assert ledger.read_part(chunk).counts.total == 3

    def test_a_part_that_disappears_during_a_commit_is_committed_after_all(self) -> None:
        class GoneOnce(MemoryStore):
            """The driver sets the other's damaged part aside between our create and our look."""

            creates = 0

            def create(self, key: str, data: bytes) -> bool:
                self.creates += 1
                return self.creates > 1 and super().create(key, data)

        items, (chunk, _) = plan()
        assert Ledger(GoneOnce()).commit_part(chunk, results(chunk, items), ONE).won

    def test_other_keys_are_not_parts(self, ledger: Ledger, store: MemoryStore) -> None:
        for key in ("parts/t/1.parquet", "parts/t/00000001.csv", "parts/00000001.parquet"):
            store.put(key, b"")
        assert list(ledger.committed_parts()) == []


class TestCompletion:
    """The end."""

    def test_results_are_readable_once_the_run_is_complete(self, ledger: Ledger) -> None:
        epoch = ledger.claim_epoch()
        ledger.write_results(epoch, b"{}")
        assert not ledger.is_complete()
        with pytest.raises(ObjectMissing):
            ledger.completed_results()
        ledger.complete(epoch)
        ledger.complete(epoch)
        assert ledger.is_complete()
        assert ledger.completed_results() == b"{}"

    @pytest.mark.parametrize("act", [lambda ledger: ledger.write_results(1, b"{}"), lambda ledger: ledger.complete(1)])
    def test_a_superseded_driver_writes_nothing(self, store: MemoryStore, act: Callable[[Ledger], None]) -> None:
        ledger = Ledger(store)
        ledger.write_results(ledger.claim_epoch(), b"{}")
        ledger.claim_epoch()
        before = {key: store.get(key) for key in store.list("")}
        with pytest.raises(Superseded):
            act(ledger)
        assert {key: store.get(key) for key in store.list("")} == before

    def test_complete_is_created_once_for_the_same_results(self, ledger: Ledger) -> None:
        ledger.write_results(ledger.claim_epoch(), b"{}")
        ledger.complete(1)
        ledger.complete(ledger.claim_epoch())
        ledger.write_results(2, b"{}")
        with pytest.raises(Superseded, match="other results"):
            ledger.write_results(2, b"others")
        assert ledger.completed_results() == b"{}"

    def test_results_that_were_changed_after_completion_are_not_read(self, ledger: Ledger, store: MemoryStore) -> None:
        ledger.write_results(ledger.claim_epoch(), b"{}")
        ledger.complete(1)
        store.put(layout.RESULTS, b"others")
        with pytest.raises(Superseded, match="other results"):
            ledger.complete(1)
        with pytest.raises(LedgerCorrupt, match=hashlib.sha256(b"others").hexdigest()):
            ledger.completed_results()
        store.delete(layout.RESULTS)
        with pytest.raises(LedgerCorrupt, match="is not there, though the run is complete"):
            ledger.completed_results()

    def test_a_damaged_completion_mark_is_reported(self, ledger: Ledger, store: MemoryStore) -> None:
        for damaged in (b"", b"{}", b"[]", b"\xff", b'{"results_sha256": 1'):
            store.put(layout.COMPLETE, damaged)
            with pytest.raises(LedgerCorrupt, match="COMPLETE is damaged"):
                ledger.completed_results()


def test_a_commit_that_the_store_acknowledges_late_is_retried_and_won() -> None:
    class LostAnswer(MemoryStore):
        """Commits, then says that it is not there."""

        answers = 0

        def create(self, key: str, data: bytes) -> bool:
            self.answers += 1
            created = super().create(key, data)
            if self.answers == 1:
                raise StoreUnavailable("500")
            return created

    items, (chunk, _) = plan()
    ledger = Ledger(LostAnswer())
    with pytest.raises(StoreUnavailable):
        ledger.commit_part(chunk, results(chunk, items), ONE)
    assert ledger.commit_part(chunk, results(chunk, items), ONE).won


def test_a_part_in_a_directory_is_a_parquet_file(tmp_path: Path) -> None:
    items, (chunk, _) = plan()
    Ledger(DirectoryStore(tmp_path)).commit_part(chunk, results(chunk, items, text="the answer"), ONE)
    table = pq.read_table(io.BytesIO((tmp_path / "parts" / "t%2F1" / "00000000.parquet").read_bytes()))
    assert table["response"].to_pylist() == ["the answer"] * 3
    assert replace(chunk).digest in str(table.schema.metadata)
