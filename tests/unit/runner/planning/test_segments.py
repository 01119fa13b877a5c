"""Planning: durable before it is leased, flat in memory, the same bytes again, nothing built twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evalrun_runner.errors import InputError, LedgerCorrupt
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.segments import LIMITS, SegmentLimits, plan_task
from evalrun_runner.records.plan import Item
from evalrun_runner.store.memory import MemoryStore
from support.builders import generate, make_item, read_items

SIZING = ChunkSizing(target_cost=10, max_items=7)


def make_items(count: int, text: str = "what is") -> Iterator[Item]:
    for doc_id in range(count):
        doc = {"question": f"{text} {doc_id}?"}
        asked = generate(doc["question"], until=["\n"])
        yield make_item(asked, doc_id=doc_id, task="sums", doc=doc, cost=1.0 + doc_id % 3)


def no_items() -> Iterator[Item]:
    raise AssertionError("nothing may be built")
    yield


def keys_and_bytes(store: MemoryStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list("")}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store)


def test_every_planned_chunk_can_be_read(ledger: Ledger) -> None:
    planned = []
    for segment in plan_task("sums", make_items(1000), ledger, SIZING):
        for chunk in segment.chunks:
            planned += read_items(ledger, chunk)

    assert planned == list(make_items(1000))


def test_chunks_are_numbered_consecutively_and_cover_their_segments(ledger: Ledger) -> None:
    segments = list(plan_task("sums", make_items(1000), ledger, SIZING))

    index = ledger.task_index("sums")
    assert index is not None
    assert [chunk.number for segment in segments for chunk in segment.chunks] == list(range(index.chunks))
    for segment in segments:
        rows = [(chunk.first_row, chunk.items) for chunk in segment.chunks]
        assert [first for first, _ in rows] == [sum(items for _, items in rows[:i]) for i in range(len(rows))]
        assert segment.items == sum(items for _, items in rows)


def test_the_first_segment_is_small_and_the_next_ones_grow(ledger: Ledger) -> None:
    sizes = [segment.items for segment in plan_task("sums", make_items(2500), ledger, SIZING)]

    assert sizes[0] <= LIMITS.first_items < sizes[1] <= 2 * LIMITS.first_items < sizes[2]


def test_a_segment_is_also_limited_by_its_text(ledger: Ledger) -> None:
    limits = SegmentLimits(characters=1000)

    segments = list(plan_task("sums", make_items(100, text="x" * 100), ledger, SIZING, limits))

    assert len(segments) > 10
    assert sum(segment.items for segment in segments) == 100


def test_at_most_one_segment_and_one_chunk_are_built_ahead(ledger: Ledger) -> None:
    drawn = 0

    def counted() -> Iterator[Item]:
        nonlocal drawn
        for item in make_items(5000):
            drawn += 1
            yield item

    first = next(plan_task("sums", counted(), ledger, SIZING))

    assert drawn <= first.items + SIZING.max_items


def test_the_index_comes_last(ledger: Ledger, store: MemoryStore) -> None:
    plan = plan_task("sums", make_items(600), ledger, SIZING)
    next(plan)

    assert not store.exists(layout.task_index("sums"))

    list(plan)
    index = ledger.task_index("sums")
    assert index is not None
    assert index.items == 600


def test_a_complete_plan_is_read_not_built(ledger: Ledger) -> None:
    planned = list(plan_task("sums", make_items(600), ledger, SIZING))

    assert list(plan_task("sums", no_items(), ledger, SIZING)) == planned


def test_an_interrupted_plan_is_built_again_with_the_same_bytes(ledger: Ledger, store: MemoryStore) -> None:
    whole = MemoryStore()
    list(plan_task("sums", make_items(900), Ledger(whole), SIZING))
    next(plan_task("sums", make_items(900), ledger, SIZING))

    list(plan_task("sums", make_items(900), ledger, SIZING))

    assert keys_and_bytes(store) == keys_and_bytes(whole)


def test_other_items_are_another_plan(ledger: Ledger) -> None:
    next(plan_task("sums", make_items(900), ledger, SIZING))

    with pytest.raises(InputError, match="another plan"):
        list(plan_task("sums", make_items(900, text="how much is"), ledger, SIZING))


def test_a_task_without_items_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="'sums' has no documents"):
        list(plan_task("sums", iter(()), ledger, SIZING))


def test_segments_that_do_not_add_up_to_the_index_are_corrupt(ledger: Ledger, store: MemoryStore) -> None:
    other = MemoryStore()
    list(plan_task("sums", make_items(600), ledger, SIZING))
    list(plan_task("sums", make_items(600, text="how much is"), Ledger(other), SIZING))
    store.put(layout.segment("sums", 1), other.get(layout.segment("sums", 1)))

    with pytest.raises(LedgerCorrupt, match="do not add up"):
        list(plan_task("sums", no_items(), ledger, SIZING))
