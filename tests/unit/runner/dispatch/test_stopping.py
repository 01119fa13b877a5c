"""A run that stops early: chunks in the drawn order, and what becomes of those after the last that counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure, DispatchPolicy
from evalrun_runner.records.messages import Lease, Order, Report
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts
from support.builders import make_chunk, make_committed

ITEMS = 4


def chunk(number: int, task: str = "t", cost: float = 100.0) -> Chunk:
    return make_chunk(number, task=task, first_row=number * ITEMS, items=ITEMS, cost=cost)


def dispatcher(*chunks: Chunk, replicas: str = "a", places: dict[tuple[str, int], float] | None = None) -> Dispatcher:
    made = Dispatcher(DispatchPolicy(drawn_order=True))
    made.add_chunks(chunks, places=places or {one.id: one.number / len(chunks) for one in chunks})
    made.planning_done()
    for replica in replicas:
        made.join(replica, 0.0)
    return made


def asks(of: Dispatcher, replica: str, *done: Lease, wants: int = ITEMS, now: float = 1.0) -> Order:
    return of.report(replica, Report(wants=wants, committed=tuple(make_committed(one) for one in done)), now)


def test_chunks_are_leased_as_they_were_drawn_and_not_by_their_cost() -> None:
    chunks = [chunk(0, cost=10), chunk(1, cost=1000), chunk(2, cost=100)]
    leases = asks(dispatcher(*chunks), "a", wants=3 * ITEMS).leases
    assert [lease.chunk.number for lease in leases] == [0, 1, 2]


def test_tasks_of_different_lengths_advance_side_by_side() -> None:
    chunks = [*(chunk(number, "long") for number in range(4)), *(chunk(number, "short") for number in range(2))]
    places = {one.id: one.number / (4 if one.task == "long" else 2) for one in chunks}
    leases = asks(dispatcher(*chunks, places=places), "a", wants=6 * ITEMS).leases
    taken = [lease.chunk.id for lease in leases]
    assert taken == [("long", 0), ("short", 0), ("long", 1), ("long", 2), ("short", 1), ("long", 3)]


def test_a_returned_chunk_is_leased_again_at_its_place() -> None:
    made = dispatcher(*(chunk(number) for number in range(4)), replicas="ab")
    asks(made, "a")
    made.leave("a", Departure.LOST, 1.0)
    assert asks(made, "b").leases[0].chunk.number == 0


def test_a_stop_ends_the_run_and_cancels_what_is_held_beyond_it() -> None:
    made = dispatcher(*(chunk(number) for number in range(6)), replicas="ab")
    first, second = asks(made, "a").leases[0], asks(made, "b").leases[0]
    asks(made, "a", first)
    made.stop_after({"t": 1}, 2.0)
    order = asks(made, "b", now=3.0)
    assert made.finished
    assert (order.cancel, order.leases, order.done) == ((second.id,), (), True)
    progress = made.progress(3.0)
    assert (progress.planned, progress.counts, progress.skipped) == (24, ItemCounts(ok=4), 20)
    assert progress.answered == 4


def test_what_was_committed_beyond_the_stop_is_skipped_and_counts_nowhere() -> None:
    made = dispatcher(*(chunk(number) for number in range(3)))
    leases = asks(made, "a", wants=3 * ITEMS).leases
    asks(made, "a", leases[0], leases[2], wants=0)
    made.stop_after({"t": 1}, 2.0)
    assert made.progress(2.0).counts == ItemCounts(ok=4)
    asks(made, "a", leases[1], wants=0)
    assert made.progress(3.0).counts == ItemCounts(ok=4), "a commit that comes too late counts no more"
    assert made.progress(3.0).redone == 0


def test_chunks_that_are_planned_after_the_stop_are_judged_alike() -> None:
    made = Dispatcher(DispatchPolicy(drawn_order=True))
    made.stop_after({"t": 1}, 0.0)
    made.add_chunks([chunk(0), chunk(1), chunk(0, "other")], {("t", 0): ItemCounts(ok=4), ("t", 1): ItemCounts(ok=4)})
    made.planning_done()
    progress = made.progress(1.0)
    assert (progress.planned, progress.counts.ok, progress.kept, progress.skipped) == (12, 4, 4, 8)
    assert made.finished


def test_a_suspect_beyond_the_stop_is_not_run_again() -> None:
    made = dispatcher(chunk(0), chunk(1), replicas="ab")
    first = asks(made, "a").leases[0]
    asks(made, "b")
    made.leave("b", Departure.CRASHED, 1.5)
    made.stop_after({"t": 1}, 2.0)
    order = asks(made, "a", first)
    assert (order.leases, made.finished, made.progress(3.0).suspect_chunks) == ((), True, 0)


def test_the_first_stop_decides() -> None:
    made = dispatcher(chunk(0), chunk(1))
    made.stop_after({"t": 0}, 1.0)
    made.stop_after({"t": 2}, 2.0)
    assert made.progress(3.0).skipped == 8


@given(
    committed=st.sets(st.integers(0, 9)),
    held=st.integers(0, 10),
    keep=st.integers(0, 10),
)
def test_every_planned_item_is_counted_once(committed: set[int], held: int, keep: int) -> None:
    """I1: planned = ok + failed + quarantined + skipped once the chunks that count have ended."""
    chunks = [chunk(number) for number in range(10)]
    made = Dispatcher(DispatchPolicy(drawn_order=True))
    made.add_chunks(chunks, {("t", number): ItemCounts(ok=3, failed=1) for number in committed})
    made.planning_done()
    made.join("a", 0.0)
    leases = asks(made, "a", wants=held * ITEMS).leases
    made.stop_after({"t": keep}, 2.0)
    for lease in leases:
        asks(made, "a", lease, wants=0)
    while not made.finished:
        for lease in asks(made, "a", wants=10 * ITEMS).leases:
            asks(made, "a", lease, wants=0)
    progress = made.progress(9.0)
    assert progress.planned == progress.counts.total + progress.skipped == 40
    assert progress.skipped == (10 - keep) * ITEMS
    assert all(made.has_ended(("t", number)) == (number < keep) for number in range(10))
