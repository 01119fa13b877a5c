"""Planning with a ledger that holds some of the parts already."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import EvalRunError, InputError
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.planning import Planned, Planning
from evalrun_runner.records.draw import DrawnOrder, SampleDraw
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, MeanTally, Outcome, Response
from evalrun_runner.store.memory import MemoryStore
from support.builders import read_items
from support.suites import Suite

OK = Outcome(ItemStatus.OK, ((Response("x", "stop", 1, 1),),))
FAILED = Outcome(ItemStatus.FAILED, error="too long")


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> LoadedBenchmarks:
    suite = Suite(tmp_path_factory.mktemp("planning") / "suite")
    for name, count in (("one", 10), ("two", 5)):
        suite.with_data(name, [{"question": f"{n}?", "answer": str(n)} for n in range(count)])
        suite.with_task(
            name,
            data=name,
            output_type="generate_until",
            doc_to_text="{{question}}",
            doc_to_target="{{answer}}",
            metric_list=[{"metric": "exact_match"}],
        )
    specs = [BenchmarkSpec(name=name, task=name, source=suite.folder) for name in ("one", "two")]
    return load_benchmarks(specs, seed=1, allow_code=False)


def plan(
    benchmarks: LoadedBenchmarks, store: MemoryStore, most: int = 4, order: DrawnOrder | None = None
) -> list[Planned]:
    ledger = Ledger(store)
    planning = Planning(benchmarks, None, ledger, ledger.claim_epoch(), ChunkSizing(1e9, most, order), None)
    planning.start()
    found: list[Planned] = []
    deadline = time.monotonic() + 60
    while not planning.done:
        assert time.monotonic() < deadline
        found += planning.take()
        time.sleep(0.01)
    return found


def chunks(planned: list[Planned]) -> list[Chunk]:
    return [chunk for one in planned for chunk in one.chunks]


def commit(store: MemoryStore, chunk: Chunk, *failed: int) -> None:
    ledger = Ledger(store)
    rows = [
        ItemResult(item.doc_id, item.hash, *((FAILED,) if row in failed else (OK, f'{{"none":{{"acc":{row % 2}}}}}')))
        for row, item in enumerate(read_items(ledger, chunk))
    ]
    ledger.commit_part(chunk, rows, Writer("r", "mock"))


def test_the_plan_is_reproducible_and_in_canonical_order(benchmarks: LoadedBenchmarks) -> None:
    store = MemoryStore()
    planned = plan(benchmarks, store)
    assert [(chunk.task, chunk.number, chunk.items) for chunk in chunks(planned)] == [
        ("one", 0, 4),
        ("one", 1, 4),
        ("one", 2, 2),
        ("two", 0, 4),
        ("two", 1, 1),
    ]
    assert plan(benchmarks, store) == planned
    assert plan(benchmarks, MemoryStore()) == planned


def test_sound_parts_are_reused_and_damaged_ones_set_aside(benchmarks: LoadedBenchmarks) -> None:
    store = MemoryStore()
    first, second, _, fourth, last = chunks(plan(benchmarks, store))
    commit(store, first)
    commit(store, fourth, 1, 2)
    for chunk in (second, last):
        commit(store, chunk)
        store.put(layout.part(*chunk.id), store.get(layout.part(*chunk.id))[:-1])
    store.put(layout.part("nobody", 3), b"of no chunk of this plan")
    planned = plan(benchmarks, store)
    assert {key: counts for one in planned for key, counts in one.committed.items()} == {
        first.id: ItemCounts(ok=4),
        fourth.id: ItemCounts(ok=2, failed=2),
    }
    assert [one.set_aside for one in planned] == [1, 1]
    assert sorted(store.list(layout.CORRUPT)) == [f"corrupt/000002/{layout.part(*c.id)}" for c in (second, last)]
    assert not store.exists(layout.part(*second.id))


def test_reused_parts_contribute_their_scores(benchmarks: LoadedBenchmarks) -> None:
    store = MemoryStore()
    first, second, _, fourth, _ = chunks(plan(benchmarks, store))
    assert [one.scores for one in plan(benchmarks, store)] == [{}, {}]
    commit(store, first)
    commit(store, second, 1)
    commit(store, fourth, 0, 1, 2, 3)
    assert [one.scores for one in plan(benchmarks, store)] == [
        {"one": {("acc", "none"): MeanTally(4 + 3, 2.0 + 1.0, 2.0 + 1.0)}},
        {"two": {}},
    ]


def test_another_plan_in_the_same_place_is_refused(benchmarks: LoadedBenchmarks) -> None:
    store = MemoryStore()
    plan(benchmarks, store)
    # As a driver that was killed leaves it: the manifest of the first task is not whole.
    store.delete(layout.task_index("one"))
    with pytest.raises(InputError, match=r"holds another plan \(segment 0 of task one\)"):
        plan(benchmarks, store, most=3)
    plan(benchmarks, store)


def test_errors_of_planning_reach_the_driver(benchmarks: LoadedBenchmarks) -> None:
    class Broken(MemoryStore):
        def create(self, key: str, data: bytes) -> bool:
            if key.startswith(layout.MANIFEST):
                raise ArithmeticError("no")
            return super().create(key, data)

    with pytest.raises(EvalRunError, match="planning failed: ArithmeticError: no"):
        plan(benchmarks, Broken())


def test_planning_can_be_stopped_while_nothing_is_taken(benchmarks: LoadedBenchmarks, tmp_path: Path) -> None:
    ledger = Ledger(MemoryStore())
    planning = Planning(benchmarks, None, ledger, 1, ChunkSizing(), None)
    planning.start()
    planning.stop()
    assert planning.done or planning.take()


def test_a_drawn_plan_says_where_each_chunk_is_in_its_task(benchmarks: LoadedBenchmarks) -> None:
    store, order = MemoryStore(), DrawnOrder(7, 5)
    planned = plan(benchmarks, store, order=order)
    assert [(one.task, one.number, one.items) for one in chunks(planned)] == [
        *(("one", number, 2) for number in range(5)),
        *(("two", number, 1) for number in range(5)),
    ]
    places = {place: at for one in planned for place, at in one.places.items()}
    assert [places["one", number] for number in range(5)] == [0.0, 0.2, 0.4, 0.6, 0.8]
    ledger = Ledger(store)
    drawn = [item.doc_id for chunk in chunks(planned)[:5] for item in read_items(ledger, chunk)]
    assert drawn == sorted(range(10), key=lambda doc_id: order.key("one", doc_id))
    again = plan(benchmarks, store, order=order)
    assert [(one.chunks, one.places) for one in again] == [(one.chunks, one.places) for one in planned]


def test_a_sample_has_the_drawn_documents_in_their_order(benchmarks: LoadedBenchmarks) -> None:
    draw = SampleDraw(3, size=4)
    leaves = tuple(replace(leaf, benchmark=replace(leaf.benchmark, sample=draw)) for leaf in benchmarks.leaves)
    store = MemoryStore()
    planned = plan(replace(benchmarks, leaves=leaves), store)
    assert [leaf.documents for leaf in leaves] == [4, 4]
    ledger = Ledger(store)
    for task, count in (("one", 10), ("two", 5)):
        asked = [item.doc_id for chunk in chunks(planned) if chunk.task == task for item in read_items(ledger, chunk)]
        assert asked == sorted(draw.select(task, count))
