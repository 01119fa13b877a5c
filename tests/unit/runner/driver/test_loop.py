"""The dispatch loop with a scripted fleet and a manual clock; nothing waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from evalrun_api import Phase
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure, DispatchPolicy
from evalrun_runner.dispatch.restarts import RestartPolicy
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.exchange import POLL_SECONDS, Exchange
from evalrun_runner.driver.flush import FLUSH_SECONDS
from evalrun_runner.driver.loop import Loop
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.reporter import WAITING, Reporter
from evalrun_runner.driver.telemetry import RunTelemetry, TelemetrySnapshot
from evalrun_runner.errors import InputError, Interrupted, RunFailed, Superseded
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined, Refused
from evalrun_runner.planning.planning import Planned
from evalrun_runner.records.messages import Committed, Lease, Order, Report, StoreStats
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, MeanTally
from support.builders import make_chunk, make_committed
from support.engines import Clock

ITEMS = 10
CRASHES_IN_A_ROW = RestartPolicy().most_failures


def chunk(number: int) -> Chunk:
    return make_chunk(number, first_row=number * ITEMS, items=ITEMS, cost=100.0)


def committed(lease: Lease, **counts: int) -> Committed:
    return make_committed(lease, ItemCounts(**counts) if counts else None, seconds=0.5)


@dataclass
class Script:
    """A fleet of one or more replicas; what a replica does with an order is the test's to say.

    ``does`` maps (replica, order) to the next report, or to None if it says nothing, or to a way to go.
    """

    clock: Clock
    does: Callable[[str, Order], Report | FleetEvent | None]
    members: int = 1
    events: deque[FleetEvent] = field(default_factory=deque)
    sent: list[tuple[str, Order]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    here: set[str] = field(default_factory=set)
    comes_at: float = 0.0
    polls: int = 0
    most_polls: int = 3_000
    started: int = 0
    stillborn: set[str] = field(default_factory=set)
    """Those that crash before they are ready."""

    def start(self) -> Script:
        for _ in range(self.members):
            self.add()
        return self

    def poll(self, timeout: float) -> list[FleetEvent]:
        self.polls += 1
        assert self.polls < self.most_polls, "the loop goes round and round"
        self.clock.now += timeout
        events = [*self.events]
        self.events.clear()
        self.here -= {event.replica for event in events if isinstance(event, Departed)}
        return events

    def send(self, replica: str, order: Order, wait: float) -> None:
        self.sent.append((replica, order))
        answer = self.does(replica, order)
        if isinstance(answer, Report):
            answer = Answered(replica, answer)
        if answer is not None:
            self.events.append(answer)

    def kill(self, replica: str) -> None:
        self.killed.append(replica)
        self.events.append(Departed(replica, Departure.KILLED_HUNG, "killed", False))

    def add(self) -> None:
        name = f"r{self.started}"
        self.started += 1
        self.here.add(name)
        self.events.append(
            Departed(name, Departure.CRASHED, "no device", True) if name in self.stillborn else Joined(name, {"pid": 1})
        )

    def release(self, replica: str) -> None:
        self.released.append(replica)
        self.here.discard(replica)

    @property
    def size(self) -> int:
        return len(self.here)

    def shutdown(self) -> None:
        pass


@dataclass
class Plans:
    """A planning whose chunks are there at once."""

    waiting: list[Planned]
    done: bool = False

    def take(self) -> list[Planned]:
        taken, self.waiting = self.waiting, []
        self.done = True
        return taken


@dataclass
class Watched:
    """A ``Watcher`` that keeps everything."""

    lines: list[str] = field(default_factory=list)
    views: list[View] = field(default_factory=list)

    def show(self, view: View) -> None:
        self.views.append(view)

    def log(self, line: str) -> None:
        self.lines.append(line)


class Leads:
    def __init__(self) -> None:
        self.lost: Superseded | None = None

    def check(self) -> None:
        if self.lost is not None:
            raise self.lost


class Scene:
    """A loop over chunks of ten items."""

    def __init__(
        self,
        does: Callable[[str, Order], Report | FleetEvent | None],
        *,
        chunks: int = 3,
        members: int = 1,
        kept: Mapping[tuple[str, int], ItemCounts] | None = None,
        set_aside: int = 0,
        **policy: Any,
    ) -> None:
        self.clock, self.watched, self.leads = Clock(), Watched(), Leads()
        self.cancellation = Cancellation()
        self.script = Script(self.clock, does, members)
        self.telemetry = RunTelemetry()
        self.dispatcher = Dispatcher(DispatchPolicy(**policy), self.telemetry.committed)
        self.exchange = Exchange(
            self.dispatcher,
            self.script.start,
            Reporter(self.watched, self.telemetry, store_stats=lambda: StoreStats({"get": 3})),
            wanted=members,
            clock=self.clock,
        )
        self.plans = Plans([Planned(tuple(map(chunk, range(chunks))), kept or {}, set_aside)])
        self.loop = Loop(self.exchange, self.plans, self.cancellation, (self.leads.check,))


def works(replica: str, order: Order) -> Report:
    """Commit every lease at once."""
    return Report(committed=tuple(map(committed, order.leases)), wants=64, tokens=1)


def test_every_chunk_is_leased_and_committed() -> None:
    scene = Scene(works)
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)
    assert scene.exchange.facts == {"r0": {"pid": 1}}
    assert scene.watched.views[-1].phase in (Phase.STARTING, Phase.RUNNING)


def test_no_fleet_is_started_if_every_part_is_reused() -> None:
    kept = {chunk(n).id: ItemCounts(ok=ITEMS) for n in range(3)}
    scene = Scene(works, kept=kept, set_aside=0)
    scene.loop.run()
    assert (scene.exchange.fleet, scene.dispatcher.progress(0).kept) == (None, 30)


def test_damaged_parts_are_reported_and_redone() -> None:
    scene = Scene(works, kept={chunk(0).id: ItemCounts(ok=ITEMS)}, set_aside=2)
    scene.loop.run()
    assert any(line.startswith("2 damaged parts were set aside") for line in scene.watched.lines)
    assert scene.dispatcher.progress(0).kept == 10


@pytest.mark.parametrize("members", [1, 3])
def test_a_chunk_reopened_at_the_end_is_run_by_the_present_replicas(members: int) -> None:
    scene = Scene(works, members=members)
    scene.loop.run()
    # Nobody was told to leave: a part may yet be found damaged.
    assert not any(order.done for _, order in scene.script.sent)
    scene.clock.now += 1_000
    scene.loop.reopen([chunk(1)])
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)
    assert (scene.script.started, scene.script.killed) == (members, [])


def test_a_replica_that_dies_is_replaced_and_its_chunk_leased_again() -> None:
    died: list[str] = []

    def does(replica: str, order: Order) -> Report | FleetEvent:
        if order.leases and not died:
            died.append(replica)
            return Departed(replica, Departure.CRASHED, "exit code 137", False)
        return works(replica, order)

    scene = Scene(does)
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)
    assert scene.script.started == 2
    assert scene.watched.lines == ["replica r0 is gone (crashed): exit code 137"]


def test_leases_returned_by_a_drained_replica_are_run_by_another_and_count_as_no_failure() -> None:
    def does(replica: str, order: Order) -> Report | FleetEvent:
        if replica == "r0" and order.leases:
            return Report(returned=tuple(lease.id for lease in order.leases), leaving=True)
        return works(replica, order)

    scene = Scene(does, members=2)
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)
    assert (scene.script.released, scene.script.started, scene.script.killed) == (["r0"], 2, [])
    assert scene.dispatcher.progress(0).redone == 0, "nothing was lost that had been answered"
    assert scene.watched.lines[0].startswith("replica r0 was asked to leave by its machine")
    assert scene.exchange.restarts.failures == 0
    assert not any(replica == "r0" for replica, _ in scene.script.sent[3:]), "it is asked nothing more"


def test_a_run_without_replicas_waits_and_reports_it() -> None:
    """Nodes leave one after the other and return after a long time, which counts as no failure."""
    left: list[str] = []

    def does(replica: str, order: Order) -> Report | FleetEvent:
        if len(left) <= 2 * CRASHES_IN_A_ROW:
            left.append(replica)
            return Departed(replica, Departure.LOST, "its node is gone", False)
        return works(replica, order)

    scene = Scene(does)
    scene.exchange.wanted = 0
    script = scene.script
    script.members = 0
    add, script.comes_at = script.add, 0.0

    def later() -> None:
        script.comes_at = scene.clock.now + 300

    script.add = later  # type: ignore[method-assign]  # no node waits for a replica when one is asked for
    poll = script.poll

    def polled(timeout: float) -> list[FleetEvent]:
        if scene.clock.now >= script.comes_at:
            script.comes_at = math.inf
            add()
        return poll(timeout)

    script.poll = polled  # type: ignore[method-assign]  # nodes come by themselves
    script.most_polls = 10**6
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)
    assert scene.clock.now > 300 * 2 * CRASHES_IN_A_ROW
    notes = [view.note for view in scene.watched.views if not view.replicas_ready]
    assert notes.count(WAITING) > 1_000
    phases = [view.phase for view in scene.watched.views]
    assert phases[phases.index(Phase.RUNNING) :].count(Phase.STARTING) == 0, "a run that waits has not begun anew"


def test_a_failing_check_ends_the_run() -> None:
    scene = Scene(lambda replica, order: Report())

    def check() -> None:
        if scene.script.polls > 5:
            raise RunFailed("Ray's head is gone")

    scene.loop.checks = (check,)
    with pytest.raises(RunFailed, match="Ray's head is gone"):
        scene.loop.run()


def test_replicas_that_die_in_a_row_end_the_run() -> None:
    scene = Scene(lambda replica, order: Departed(replica, Departure.CRASHED, f"{replica} ran out of memory", True))
    with pytest.raises(
        RunFailed, match=rf"{CRASHES_IN_A_ROW + 1} replicas in a row .*; the last: r5 ran out of memory"
    ):
        scene.loop.run()
    assert scene.script.started == CRASHES_IN_A_ROW + 1
    assert "before it was ready" in scene.watched.lines[0]


def test_a_replica_that_never_starts_is_given_up_and_the_run_continues_with_others() -> None:
    def does(replica: str, order: Order) -> Report | FleetEvent:
        # The one that works leaves once, long after the last try to start another: it is replaced all the same.
        if replica == "r0" and scene.clock.now > 1_000:
            return Departed(replica, Departure.CRASHED, "bad luck", False)
        return works(replica, order) if scene.clock.now > 1_000 else Report()

    scene = Scene(does, members=2)
    scene.script.most_polls = 20_000
    scene.script.stillborn = {f"r{n}" for n in range(1, CRASHES_IN_A_ROW + 2)}
    scene.loop.run()
    assert "no more replicas are started: the run goes on with 1" in scene.watched.lines
    assert scene.script.started == CRASHES_IN_A_ROW + 3
    assert scene.dispatcher.counts == ItemCounts(ok=30)


def test_waits_before_replacements_grow() -> None:
    at: list[float] = []

    def does(replica: str, order: Order) -> FleetEvent:
        at.append(scene.clock.now)
        return Departed(replica, Departure.CRASHED, "out of memory", False)

    scene = Scene(does)
    with pytest.raises(RunFailed):
        scene.loop.run()
    pauses = [round(later - earlier) for earlier, later in pairwise(at)]
    assert pauses == [0, 5, 10, 20, 40]


def test_preemptions_never_count_as_failures() -> None:
    lives = iter(range(100))

    def does(replica: str, order: Order) -> Report | FleetEvent:
        if next(lives) < 20:
            return Departed(replica, Departure.LOST, "its node was preempted", False)
        return works(replica, order)

    scene = Scene(does)
    scene.loop.run()
    assert scene.script.started == 21


def test_a_commit_resets_the_count_of_failures() -> None:
    crashes = {n: 3 for n in range(3)}

    def does(replica: str, order: Order) -> Report | FleetEvent:
        if order.leases:
            number = order.leases[0].chunk.number
            if crashes[number] and not order.leases[0].isolated:
                crashes[number] -= 1
                return Departed(replica, Departure.CRASHED, "again", False)
        return works(replica, order)

    scene = Scene(does)
    scene.loop.run()
    assert scene.dispatcher.counts == ItemCounts(ok=30)


def test_a_silent_replica_is_killed_and_replaced() -> None:
    scene = Scene(lambda replica, order: None if replica == "r0" else works(replica, order), silence_s=60)
    scene.loop.run()
    assert scene.script.killed == ["r0"]
    assert scene.watched.lines[0].startswith("replica r0 is killed: it has not reported for ")


def test_a_replicas_refusal_is_the_runs_error() -> None:
    scene = Scene(lambda replica, order: Refused(replica, InputError("spec.model.uri: no such model")))
    with pytest.raises(InputError, match="no such model"):
        scene.loop.run()


def test_a_superseded_driver_leaves() -> None:
    scene = Scene(lambda replica, order: Report())
    scene.leads.lost = Superseded("epoch 2")
    with pytest.raises(Superseded):
        scene.loop.run()


@pytest.mark.parametrize(("failed", "gives_up"), [(6, True), (5, False)])
def test_a_run_with_too_many_failures_is_given_up_early(failed: int, gives_up: bool) -> None:
    def does(replica: str, order: Order) -> Report:
        (first, *_) = (*order.leases, None)
        mine = () if first is None else (committed(first, ok=ITEMS - failed, failed=failed),)
        return Report(committed=mine, wants=1)

    scene = Scene(does, chunks=40, max_failed_items=20)
    if gives_up:
        with pytest.raises(RunFailed, match=r"54 of the first 90 items failed: the run was given up"):
            scene.loop.run()
    else:
        scene.loop.run()
        assert scene.dispatcher.over_cap


def test_a_run_with_failures_within_its_cap_continues() -> None:
    scene = Scene(
        lambda replica, order: Report(committed=tuple(committed(x, failed=ITEMS) for x in order.leases), wants=1),
        chunks=8,
        max_failed_items=80,
    )
    scene.loop.run()
    assert not scene.dispatcher.over_cap


class TestStop:
    """Ctrl-C: what is complete is committed first."""

    def test_every_replica_flushes_and_its_last_commits_count(self) -> None:
        held: dict[str, tuple[Lease, ...]] = {}

        def does(replica: str, order: Order) -> Report:
            held[replica] = (*held.get(replica, ()), *order.leases)
            if order.done:
                return Report(committed=tuple(map(committed, held.pop(replica))))
            if len(held) == 2 and all(held.values()):
                scene.cancellation.request()
            return Report(wants=1)

        scene = Scene(does, members=2)
        with pytest.raises(Interrupted, match=r"stopped; 20 items are committed\. The same command goes on from there"):
            scene.loop.run()
        assert sorted(replica for replica, order in scene.script.sent if order.done) == ["r0", "r1"]

    def test_a_replica_that_dies_or_refuses_during_the_flush_is_not_waited_for(self) -> None:
        def does(replica: str, order: Order) -> Report | FleetEvent:
            scene.cancellation.request()
            if not order.done:
                return Report(wants=1)
            if replica == "r0":
                return Departed(replica, Departure.CRASHED, "x", False)
            return Refused(replica, RunFailed("x")) if replica == "r1" else Report()

        scene = Scene(does, members=3)
        with pytest.raises(Interrupted):
            scene.loop.run()
        assert scene.clock.now < 100 + 5

    def test_a_flush_waits_for_a_silent_replica_until_its_time_is_over(self) -> None:
        def does(replica: str, order: Order) -> Report | None:
            scene.cancellation.request()
            return None if order.done else Report(wants=1)

        scene = Scene(does)
        with pytest.raises(Interrupted):
            scene.loop.run()
        assert FLUSH_SECONDS <= scene.clock.now - 100 <= FLUSH_SECONDS + 2

    def test_without_a_fleet_the_run_stops_at_once(self) -> None:
        scene = Scene(works, chunks=0)
        scene.cancellation.request()
        scene.plans.waiting = []
        scene.dispatcher.add_chunks([chunk(0)])
        with pytest.raises(Interrupted):
            scene.loop.run()


def test_problems_of_the_store_are_shown_while_any_replica_has_them() -> None:
    reports = 0

    def does(replica: str, order: Order) -> Report:
        nonlocal reports
        reports += 1
        if reports < 40:
            return Report(degraded="503" if replica == "r0" else None, wants=0)
        return Report(committed=tuple(map(committed, order.leases)), wants=64)

    scene = Scene(does, members=2)
    scene.loop.run()
    shown = [view.degraded for view in scene.watched.views if view.replicas_ready == 2]
    assert set(shown[1:-3]) == {"503"}


class TestTelemetry:
    """What observers see besides the dispatcher's progress."""

    @staticmethod
    def last(scene: Scene) -> TelemetrySnapshot:
        telemetry = scene.watched.views[-1].telemetry
        assert telemetry is not None
        return telemetry

    def test_the_last_view_has_all_commits_once(self) -> None:
        scene = Scene(works, members=2)
        scene.loop.run()
        shown = scene.watched.views[-1]
        assert shown.progress is not None and shown.progress.counts == ItemCounts(ok=30)
        telemetry = self.last(scene)
        assert (telemetry.chunks, telemetry.items, telemetry.commits.total) == (3, ItemCounts(ok=30), 1.5)
        assert sum(slot.items for slot in telemetry.slots) == 30
        assert telemetry.store.requests == {"get": 3}

    def test_commits_of_a_flush_are_shown_before_the_run_ends(self) -> None:
        held: list[Lease] = []

        def does(replica: str, order: Order) -> Report:
            held.extend(order.leases)
            if order.done:
                return Report(committed=tuple(map(committed, held)), tokens=9)
            if held:
                scene.cancellation.request()
            return Report(wants=20)

        scene = Scene(does)
        with pytest.raises(Interrupted):
            scene.loop.run()
        shown = scene.watched.views[-1]
        assert shown.progress is not None
        assert shown.progress.counts.total == self.last(scene).items.total == ITEMS * len(held) > 0
        assert sum(slot.tokens for slot in self.last(scene).slots) == 9

    def test_reused_parts_count_in_scores(self) -> None:
        scene = Scene(works, kept={chunk(0).id: ItemCounts(ok=ITEMS)})
        (planned,) = scene.plans.waiting
        tallies = {("acc", "none"): MeanTally(ITEMS, 5.0, 5.0)}
        scene.plans.waiting = [replace(planned, scores={"t": tallies})]
        scene.loop.run()
        assert self.last(scene).scores == {"t": tallies}

    def test_replicas_are_counted_from_their_start_to_their_end(self) -> None:
        """Two start and are ready a poll later; one is lost and replaced; all end with the fleet."""

        def does(replica: str, order: Order) -> Report | FleetEvent:
            if replica == "r0":
                return Departed(replica, Departure.LOST, "its node is gone", False)
            return works(replica, order) if scene.clock.now > 60 else Report()

        scene = Scene(does, members=2)
        began = scene.clock.now
        scene.loop.run()
        assert self.last(scene).departures[Departure.LOST] == 1
        scene.clock.now += 100
        scene.loop.end_fleet()
        ended = scene.watched.views[-1]
        assert (ended.phase, ended.progress, ended.replicas_ready) == (Phase.FINISHING, None, 0)
        telemetry = self.last(scene)
        assert (telemetry.loading, telemetry.ready, telemetry.occupied_slots) == (0, 0, ())
        # Each loads for one poll: r0 and r1, then r2 in r0's stead.
        assert telemetry.loading_seconds == pytest.approx(3 * POLL_SECONDS)
        whole = scene.clock.now - began
        r0, r1, r2 = POLL_SECONDS, whole - POLL_SECONDS, whole - 3 * POLL_SECONDS
        assert telemetry.ready_seconds == pytest.approx(r0 + r1 + r2)

    def test_a_drained_replica_counts_as_departed(self) -> None:
        def does(replica: str, order: Order) -> Report | FleetEvent:
            if replica == "r0" and order.leases:
                return Report(returned=tuple(lease.id for lease in order.leases), leaving=True, tokens=4)
            return works(replica, order)

        scene = Scene(does, members=2)
        scene.loop.run()
        telemetry = self.last(scene)
        assert telemetry.departures == dict.fromkeys(Departure, 0) | {Departure.DRAINED: 1}
        assert [slot.name for slot in telemetry.occupied_slots] == ["r1"]
        assert telemetry.slots[0].tokens == 4
        assert telemetry.ready == 1

    def test_a_run_that_ends_in_an_error_shows_its_progress(self) -> None:
        scene = Scene(lambda replica, order: Report())
        scene.leads.lost = Superseded("epoch 2")
        with pytest.raises(Superseded):
            scene.loop.run()
        scene.loop.end_fleet()
        assert scene.watched.views[-1].phase is Phase.RUNNING, "it has not come to its end"
        assert self.last(scene).ready == 0
