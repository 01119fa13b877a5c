"""What is gathered from reports: totals that never fall and equal what was committed, whatever happens in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.driver.telemetry import RunTelemetry, SlotTotals, TelemetrySnapshot, total
from evalrun_runner.records.messages import (
    Committed,
    EngineStats,
    Latencies,
    Lease,
    Order,
    Report,
    StoreStats,
    Telemetry,
)
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, MeanTally
from support.builders import make_chunk, make_committed

CHUNKS = 12
REPLICAS = 4
ACC = ("acc", "none")
NOTHING = StoreStats()


def chunk(number: int) -> Chunk:
    return make_chunk(number, task=f"task{number % 2}", items=number + 1)


def counts(number: int) -> ItemCounts:
    """Of the chunk's ``number + 1`` items one in three failed."""
    return ItemCounts(ok=number + 1 - number // 3, failed=number // 3)


def tally(number: int) -> MeanTally:
    """Whole numbers, so that sums are exact in any order."""
    return MeanTally(counts(number).ok, float(number), float(number * number))


def commit(number: int, *, won: bool = True) -> Committed:
    lease = Lease(1, chunk(number))
    return make_committed(
        lease, counts(number), won=won, tokens=(10, 20), seconds=number / 4, scores={ACC: tally(number)}
    )


def told(amount: int) -> Telemetry:
    """What a process says that has done so much since it started."""
    return Telemetry(
        EngineStats(running=3, waiting=2, cache_usage=0.5, prefix_queried=4 * amount, prefix_hit=amount, preemptions=1),
        StoreStats({"create": amount, "get": 2 * amount}, {"full": amount}, wait_seconds=float(amount)),
        Latencies((amount, 0, amount), float(amount)),
    )


@dataclass
class Scene:
    """Telemetry beside a real dispatcher, which says what is a first commit."""

    telemetry: RunTelemetry = field(default_factory=RunTelemetry)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(on_commit=self.telemetry.committed)
        self.dispatcher.add_chunks(map(chunk, range(CHUNKS)))
        self.telemetry.count(0, 0, self.now)
        self.here: set[str] = set()

    def join(self, replica: str) -> None:
        self.dispatcher.join(replica, self.now)
        self.telemetry.joined(replica, f"host of {replica}")
        self.here.add(replica)
        self.telemetry.count(0, len(self.here), self.now)

    def report(self, replica: str, **fields: Any) -> Order:
        report = Report(**fields)
        self.telemetry.answered(replica, report)
        return self.dispatcher.report(replica, report, self.now)

    def leave(self, replica: str, departure: Departure = Departure.CRASHED) -> None:
        self.here.discard(replica)
        self.telemetry.left(replica, departure, work=not self.dispatcher.finished)
        self.dispatcher.leave(replica, departure, self.now)
        self.telemetry.count(0, len(self.here), self.now)

    def snapshot(self) -> TelemetrySnapshot:
        return self.telemetry.snapshot(self.now, NOTHING, self.dispatcher.progress(self.now).replicas)


def growing(snapshot: TelemetrySnapshot) -> list[float]:
    """All that is a counter, in one row, places as far as there are any."""
    together = snapshot.replicas_total()
    return [
        snapshot.loading_seconds,
        snapshot.ready_seconds,
        *snapshot.departures.values(),
        snapshot.chunks,
        snapshot.items.ok,
        snapshot.items.failed,
        snapshot.commits.total,
        together.engine.prefix_queried,
        together.engine.prefix_hit,
        together.engine.preemptions,
        together.latencies.total,
        together.store.wait_seconds,
        together.store.requests.get("get", 0),
        together.store.retries.get("full", 0),
        *(number for slot in snapshot.slots for number in slot),
    ]


REPLICA = st.sampled_from([f"r{number}" for number in range(REPLICAS)])
NUMBER = st.integers(0, CHUNKS - 1)


def step(kind: str, **what: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(kind), st.fixed_dictionaries(what))


STEPS = st.lists(
    st.one_of(
        step("join", replica=REPLICA),
        step("leave", replica=REPLICA, departure=st.sampled_from(list(Departure))),
        step("work", replica=REPLICA, amount=st.integers(0, 50)),
        step("commit", replica=REPLICA, numbers=st.lists(NUMBER, max_size=3), won=st.booleans()),
        step("reopen", number=NUMBER),
        step("wait", seconds=st.integers(0, 5)),
    ),
    max_size=60,
)


@dataclass
class Model:
    """What must come out, counted the plain way, beside the scene that it happens to."""

    scene: Scene = field(default_factory=Scene)
    lives: dict[str, int] = field(default_factory=dict)
    """What each replica that is here has done since it started."""
    done_by_the_gone: int = 0
    most_at_once: int = 0
    ready_seconds: float = 0.0
    committed: list[int] = field(default_factory=list)
    """Numbers of the chunks in the order of their first commits; one that was reopened comes again."""
    open: set[int] = field(default_factory=lambda: set(range(CHUNKS)))
    departures: dict[Departure, int] = field(default_factory=lambda: dict.fromkeys(Departure, 0))

    @property
    def done(self) -> int:
        return self.done_by_the_gone + sum(self.lives.values())

    def join(self, replica: str) -> None:
        self.done_by_the_gone += self.lives.get(replica, 0)
        self.lives[replica] = 0
        self.most_at_once = max(self.most_at_once, len(self.lives))
        self.scene.join(replica)

    def leave(self, replica: str, departure: Departure) -> None:
        if replica in self.lives:
            self.done_by_the_gone += self.lives.pop(replica)
            self.departures[departure] += 1
            self.scene.leave(replica, departure)

    def work(self, replica: str, amount: int) -> None:
        if replica in self.lives:
            self.lives[replica] += amount
            self.commit(replica, [], won=True)

    def commit(self, replica: str, numbers: list[int], *, won: bool) -> None:
        """Also from a replica that is gone, and of chunks that are committed already, or twice in one report."""
        done = self.lives.get(replica, 0)
        commits = tuple(commit(number, won=won) for number in numbers)
        self.scene.report(replica, committed=commits, tokens=done, telemetry=told(done))
        for number in numbers:
            if number in self.open:
                self.open.discard(number)
                self.committed.append(number)

    def reopen(self, number: int) -> None:
        if number not in self.open:
            self.scene.dispatcher.reopen(chunk(number))
            self.scene.telemetry.reopened(chunk(number).id)
            self.open.add(number)

    def wait(self, seconds: int) -> None:
        self.scene.now += seconds
        self.ready_seconds += seconds * len(self.lives)

    def tallies(self) -> dict[str, MeanTally]:
        """A chunk that was done again counts once in its running score: its items are the same."""
        expected: dict[str, MeanTally] = {}
        for number in dict.fromkeys(self.committed):
            task = chunk(number).task
            expected[task] = expected.get(task, MeanTally()) + tally(number)
        return expected


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_totals_never_fall_and_equal_what_was_committed(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    before = growing(model.scene.snapshot())
    for kind, what in steps:
        getattr(model, kind)(**what)
        snapshot = model.scene.snapshot()
        now = growing(snapshot)
        assert all(old <= new for old, new in zip(before, now, strict=False)), "a counter fell"
        assert len(before) <= len(now), "a slot is gone"
        before = now
        assert sorted(slot.name for slot in snapshot.occupied_slots) == sorted(model.lives)
        assert len({slot.number for slot in snapshot.occupied_slots}) == len(model.lives), (
            "two replicas have the same slot"
        )

    snapshot = model.scene.snapshot()
    assert len(snapshot.slots) == model.most_at_once
    assert snapshot.chunks == len(model.committed) == sum(snapshot.commits.buckets)
    assert snapshot.items == sum((counts(number) for number in model.committed), ItemCounts())
    assert snapshot.commits.total == sum(number / 4 for number in model.committed)
    assert sum(slot.items for slot in snapshot.slots) <= snapshot.items.total
    assert snapshot.departures == model.departures
    assert snapshot.ready_seconds == model.ready_seconds
    assert {task: tallies[ACC] for task, tallies in snapshot.scores.items()} == model.tallies()
    together = snapshot.replicas_total()
    assert sum(slot.tokens for slot in snapshot.slots) == model.done
    assert together.engine.prefix_hit == model.done
    assert together.store.requests.get("get", 0) == 2 * model.done
    assert sum(together.latencies.buckets) == 2 * model.done


def test_a_replacement_takes_the_smallest_free_slot_and_continues_its_counters() -> None:
    scene = Scene()
    for name in ("a", "b", "c"):
        scene.join(name)
        scene.report(name, tokens=100, telemetry=told(10))
    scene.report("b", tokens=100, telemetry=told(10), committed=(commit(2),))
    scene.leave("c")
    scene.leave("b")
    scene.join("d")
    scene.report("d", tokens=7, telemetry=told(1), committed=(commit(3),))
    snapshot = scene.snapshot()
    assert {slot.name: (slot.number, slot.host) for slot in snapshot.occupied_slots} == {
        "a": (0, "host of a"),
        "d": (1, "host of d"),
    }
    assert snapshot.slots == (SlotTotals(0, 100), SlotTotals(7, 107), SlotTotals(0, 100))
    assert snapshot.replicas_total().engine.prefix_hit == 31
    assert snapshot.departed.engine.running == 0, "who is gone runs nothing"


def test_leased_items_are_those_of_the_dispatcher() -> None:
    scene = Scene()
    scene.join("a")
    leases: tuple[Lease, ...] = scene.report("a", wants=20).leases
    (slot,) = scene.snapshot().occupied_slots
    assert slot.leased_items == sum(lease.chunk.items for lease in leases) > 0


def test_a_departure_counts_only_while_there_is_work() -> None:
    scene = Scene()
    scene.join("a")
    scene.leave("never here", Departure.CRASHED)  # it crashed before it was ready
    scene.report("a", committed=tuple(commit(number) for number in range(CHUNKS)))
    scene.dispatcher.planning_done()
    scene.leave("a", Departure.LOST)
    assert scene.snapshot().departures == {
        Departure.CRASHED: 1,
        Departure.KILLED_HUNG: 0,
        Departure.DRAINED: 0,
        Departure.LOST: 0,
    }


def test_reused_parts_count_only_in_scores() -> None:
    scene = Scene()
    scene.telemetry.kept({"task0": {ACC: MeanTally(4, 3.0, 3.0)}, "task1": {}})
    scene.report("a", committed=(commit(2),))
    snapshot = scene.snapshot()
    assert snapshot.scores == {"task0": {ACC: MeanTally(4, 3.0, 3.0) + tally(2)}}
    assert (snapshot.chunks, snapshot.items.total) == (1, 3)


def test_a_snapshot_does_not_change_later() -> None:
    scene = Scene()
    scene.join("a")
    scene.report("a", tokens=5, telemetry=told(5), committed=(commit(0),))
    before = scene.snapshot()
    kept = (growing(before), dict(before.scores), before.occupied_slots)
    scene.report("a", tokens=9, telemetry=told(9), committed=(commit(2),))
    scene.leave("a")
    scene.now += 10
    scene.snapshot()
    assert (growing(before), dict(before.scores), before.occupied_slots) == kept


def test_time_passes_after_a_snapshot_while_replicas_are_present() -> None:
    telemetry = RunTelemetry()
    telemetry.count(2, 1, 10.0)
    snapshot = telemetry.snapshot(14.0, NOTHING, {})
    assert (snapshot.loading_seconds, snapshot.ready_seconds) == (8.0, 4.0)
    assert snapshot.seconds(24.0) == (28.0, 14.0)
    assert snapshot.seconds(13.0) == (8.0, 4.0), "never back"
    telemetry.ended(20.0)
    ended = telemetry.snapshot(30.0, NOTHING, {})
    assert (ended.loading, ended.ready, ended.occupied_slots) == (0, 0, ())
    assert ended.seconds(99.0) == (20.0, 10.0)


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.01, 0), (0.011, 1), (600.0, 12), (601.0, 13)])
def test_a_bound_is_within_its_bucket(seconds: float, bucket: int) -> None:
    telemetry = RunTelemetry()
    telemetry.committed("a", make_committed(Lease(1, make_chunk(items=1)), seconds=seconds))
    assert [*telemetry.snapshot(0.0, NOTHING, {}).commits.buckets].index(1) == bucket


def test_unreported_telemetry_adds_nothing() -> None:
    assert total(()) == Telemetry()
    assert total((told(3), Telemetry())) == total((told(3),)) == total((Telemetry(), told(3)))
    more = Telemetry(store=StoreStats({"put": 1}))
    assert total((told(3), more)).store.requests == {"create": 3, "get": 6, "put": 1}
