"""Prefixes of a run: complete only without a gap, the same share of every task, looks that end chunks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.driver.look_schedule import CHECKS, LookSchedule
from evalrun_runner.records.draw import DrawnOrder
from evalrun_runner.records.plan import Chunk
from support.builders import make_chunk

LOOKS = 5
SIZES = st.lists(st.integers(1, 120), min_size=1, max_size=4)


def plan(sizes: list[int], looks: int = LOOKS, most: int = 16) -> list[Chunk]:
    """Cut tasks of these sizes so that every look ends a chunk."""
    order, chunks = DrawnOrder(1, looks), []
    for task, size in enumerate(sizes):
        number = before = 0
        for look in range(1, looks + 1):
            until = order.at_look(size, look)
            while before < until:
                items = min(most, until - before)
                chunks.append(make_chunk(number, task=f"t{task}", items=items))
                number, before = number + 1, before + items
    return chunks


@given(sizes=SIZES, looks=st.integers(2, 20))
def test_a_look_holds_its_share_of_every_task(sizes: list[int], looks: int) -> None:
    chunks = plan(sizes, looks)
    schedule, order = LookSchedule(chunks, looks), DrawnOrder(1, looks)
    for look in range(1, looks + 1):
        prefix = schedule.prefix(schedule.position_of(look))
        for task, size in enumerate(sizes):
            held = [chunk.items for chunk in chunks if chunk.task == f"t{task}"][: prefix[f"t{task}"]]
            assert sum(held) == order.at_look(size, look)
    assert schedule.position_of(looks) == schedule.end


@given(sizes=SIZES, data=st.data())
def test_a_prefix_is_complete_only_up_to_its_first_gap(sizes: list[int], data: st.DataObject) -> None:
    chunks = plan(sizes)
    schedule = LookSchedule(chunks, LOOKS)
    ended = set(data.draw(st.lists(st.sampled_from([chunk.id for chunk in chunks]))))
    position = schedule.advance(ended.__contains__)
    prefix = schedule.prefix(position)
    inside = {chunk.id for chunk in chunks if chunk.number < prefix[chunk.task]}
    assert inside <= ended
    assert len(inside) == position
    if position < schedule.end:
        assert schedule.prefix(position + 1).items() - prefix.items()
        (gap,) = [(task, count - 1) for task, count in schedule.prefix(position + 1).items() if count != prefix[task]]
        assert gap not in ended
    assert schedule.newest_look(position) == sum(schedule.position_of(look) <= position for look in range(1, LOOKS + 1))


def test_a_chunk_that_is_run_again_opens_the_gap_again() -> None:
    schedule = LookSchedule(plan([100]), LOOKS)
    assert schedule.advance(lambda chunk: True) == schedule.end
    schedule.rewind()
    assert schedule.advance(lambda chunk: chunk[1] != 3) == 3


def test_checks_are_a_twentieth_of_the_run_apart() -> None:
    schedule = LookSchedule(plan([4000]), LOOKS)
    last, checks = 0, 0
    for position in range(schedule.end):
        if schedule.check_due(position, last):
            assert schedule.items(position) - schedule.items(last) >= 4000 / CHECKS
            last, checks = position, checks + 1
    assert CHECKS // 2 < checks < CHECKS
