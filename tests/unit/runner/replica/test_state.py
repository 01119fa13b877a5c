"""A replica's decisions, without engine, store and threads."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evalrun_runner.errors import RunFailed
from evalrun_runner.records.messages import Committed, Lease, Order
from evalrun_runner.replica.state import (
    Action,
    ChunkCommitted,
    ChunkDropped,
    ChunkOpened,
    CommitChunk,
    DrainRequested,
    DropChunk,
    EngineLoaded,
    EngineStopped,
    Event,
    ItemsEnded,
    OpenChunk,
    OrderReceived,
    ReplicaFailed,
    ReplicaPolicy,
    ReplicaState,
    RunItems,
    StopEngine,
    Vitals,
)
from support.builders import make_chunk, make_committed

SLOTS = 8
FULL_CREDIT = SLOTS + ReplicaPolicy().backlog_items


def lease(number: int, items: int = 2, *, isolated: bool = False) -> Lease:
    return Lease(number, make_chunk(number, items=items), isolated)


def committed(number: int) -> Committed:
    return make_committed(lease(number))


def loaded(policy: ReplicaPolicy | None = None) -> ReplicaState:
    state = ReplicaState(policy)
    assert state.handle(EngineLoaded(SLOTS), 0.0) == ()
    return state


def order(state: ReplicaState, *leases: Lease, cancel: tuple[int, ...] = (), done: bool = False) -> tuple[Action, ...]:
    return state.handle(OrderReceived(Order(leases, cancel, done), 0.5), 0.0)


def opened(state: ReplicaState, *leases: Lease) -> None:
    """Leases whose items run."""
    order(state, *leases)
    for one in leases:
        state.handle(ChunkOpened(one.id, tuple(range(one.chunk.items))), 0.0)


def test_a_lease_is_opened_run_committed_and_reported() -> None:
    state = loaded()
    one = lease(1)
    assert order(state, one) == (OpenChunk(one),)
    assert state.wants == FULL_CREDIT - 2
    assert state.handle(ChunkOpened(1, (0, 1)), 0.0) == (RunItems(1, (0, 1)),)
    assert state.handle(ItemsEnded(((1, 1),)), 0.0) == ()
    assert state.wants == FULL_CREDIT - 1
    assert state.handle(ItemsEnded(((1, 0),)), 0.0) == (CommitChunk(1),)
    assert (state.held, state.wants) == ((1,), FULL_CREDIT)
    assert state.handle(ChunkCommitted(committed(1)), 0.0) == ()
    assert (state.held, state.report(Vitals()).committed) == ((), (committed(1),))
    assert state.report(Vitals()).committed == ()


def test_a_report_counts_the_answered_items_of_each_lease_that_has_not_ended() -> None:
    state = loaded()
    opened(state, lease(1, 3), lease(2, 2))
    order(state, lease(3))
    state.handle(ItemsEnded(((1, 0), (1, 2), (2, 0), (2, 1))), 0.0)
    assert state.report(Vitals()).answered == ((1, 2), (2, 2))
    state.handle(ChunkCommitted(make_committed(lease(2, 2))), 0.0)
    assert state.report(Vitals()).answered == ((1, 2),)


def test_a_chunk_with_nothing_to_run_is_committed_at_once() -> None:
    state = loaded()
    order(state, lease(1), lease(2, isolated=True))
    assert state.handle(ChunkOpened(1, ()), 0.0) == (CommitChunk(1),)
    assert state.handle(ChunkOpened(2, ()), 0.0) == (CommitChunk(2),)
    assert state.wants == FULL_CREDIT


def test_a_replica_wants_nothing_before_its_engine_is_loaded() -> None:
    state = ReplicaState()
    assert not state.loaded
    assert state.wants == 0


def test_a_call_is_due_with_news_or_when_its_wait_is_over() -> None:
    state = loaded()
    assert not state.due(1e9), "nobody has called"
    opened(state, lease(1, items=FULL_CREDIT - 1))
    assert (state.due(0.4), state.due_at, state.due(0.5)) == (False, 0.5, True)
    state.handle(ItemsEnded(tuple((1, row) for row in range(FULL_CREDIT - 1))), 0.0)
    state.handle(ChunkCommitted(committed(1)), 0.1)
    assert state.due(0.1)
    state.report(Vitals())
    assert not state.due(1e9), "it has been answered"


def test_a_replica_that_wants_more_work_reports_immediately() -> None:
    state = loaded()
    order(state)
    assert not state.due(0.0), "the last order brought nothing: there is nothing more"
    order(state, lease(1, items=FULL_CREDIT - 31))
    assert not state.due(0.0)
    order(state, lease(2, items=1), cancel=(1,))
    assert state.due(0.0)


def test_a_replica_with_a_full_spool_wants_nothing_more() -> None:
    state = loaded(ReplicaPolicy(spool_chunks=2))
    order(state, lease(1), lease(2))
    state.handle(ChunkOpened(1, ()), 0.0)
    assert state.wants > 0
    state.handle(ChunkOpened(2, ()), 0.0)
    assert state.wants == 0
    order(state, cancel=(2,))
    assert state.wants == 0, "its commit is under way all the same"
    state.handle(ChunkCommitted(committed(2)), 0.0)
    assert state.wants > 0


def test_a_cancelled_lease_is_dropped_wherever_it_stands() -> None:
    state = loaded()
    order(state, lease(1))
    assert order(state, cancel=(1, 99)) == (DropChunk(1),)
    assert state.wants == FULL_CREDIT
    assert state.handle(ChunkOpened(1, (0, 1)), 0.0) == (DropChunk(1),), "it was being read"
    opened(state, lease(2))
    assert order(state, cancel=(2,)) == (DropChunk(2),)
    assert state.handle(ItemsEnded(((2, 0), (2, 1))), 0.0) == (), "they ended in the step that was under way"
    assert (state.held, state.wants) == ((), FULL_CREDIT - 2), "the engine may hold them still"
    state.handle(ChunkDropped(2), 0.0)
    assert state.wants == FULL_CREDIT


def test_cancellations_come_before_new_leases() -> None:
    state = loaded()
    opened(state, lease(1))
    assert order(state, lease(2), cancel=(1,)) == (DropChunk(1), OpenChunk(lease(2)))


def test_an_isolated_item_starts_with_the_order_after_its_announcement() -> None:
    state = loaded()
    order(state, lease(1, isolated=True))
    assert state.wants == 0
    assert state.handle(ChunkOpened(1, (0, 1)), 0.0) == ()
    for row in (0, 1):
        assert order(state) == (), "not announced yet"
        assert state.due(0.0), "an announcement is news"
        assert state.report(Vitals()).announced == (1, row)
        assert order(state) == (RunItems(1, (row,)),)
        assert order(state) == (), "it runs already"
        assert not state.due(0.0)
        assert (state.report(Vitals()).announced, state.wants) == ((1, row), 0)
        ending = state.handle(ItemsEnded(((1, row),)), 0.0)
    assert ending == (CommitChunk(1),)
    assert (state.report(Vitals()).announced, state.wants) == (None, FULL_CREDIT)


def test_an_isolated_lease_can_be_cancelled_at_any_time() -> None:
    state = loaded()
    order(state, lease(1, isolated=True))
    order(state, cancel=(1,))
    assert state.wants == FULL_CREDIT
    state.handle(ChunkOpened(1, (0,)), 0.0)
    assert state.report(Vitals()).announced is None
    opened(state, lease(2, isolated=True))
    assert state.report(Vitals()).announced == (2, 0)
    assert order(state, cancel=(2,)) == (DropChunk(2),), "its item is not started"
    assert state.report(Vitals()).announced is None
    state.handle(ChunkDropped(2), 0.0)
    assert state.wants == FULL_CREDIT


def test_nothing_is_announced_while_a_cancelled_lease_is_in_the_engine() -> None:
    state = loaded()
    opened(state, lease(1))
    order(state, lease(2, isolated=True), cancel=(1,))
    state.handle(ChunkOpened(2, (0,)), 0.0)
    assert not state.due(0.0)
    assert state.report(Vitals()).announced is None, "an engine that hangs with lease 1 would be blamed on it"
    assert order(state) == ()
    state.handle(ChunkDropped(1), 0.0)
    assert state.due(0.0)
    assert state.report(Vitals()).announced == (2, 0)


def test_a_drained_replica_returns_what_it_could_not_commit() -> None:
    state = loaded()
    opened(state, lease(1), lease(2), lease(3))
    assert state.handle(DrainRequested(), 10.0) == (StopEngine(),)
    assert state.handle(DrainRequested(), 11.0) == ()
    assert not state.due(34.9), "the last report waits for what is being committed"
    assert state.handle(ItemsEnded(((2, 0), (2, 1), (3, 0), (3, 1))), 11.0) == (CommitChunk(2), CommitChunk(3))
    state.handle(ChunkCommitted(committed(2)), 12.0)
    assert not state.due(12.0)
    state.handle(EngineStopped(), 12.0)
    assert state.due(12.0)
    last = state.report(Vitals())
    assert (last.leaving, last.returned, last.committed, last.wants) == (True, (1, 3), (committed(2),), 0)
    assert state.held == ()


def test_leases_that_reach_a_leaving_replica_are_returned_unopened() -> None:
    state = loaded()
    order(state, lease(1))
    state.handle(DrainRequested(), 0.0)
    assert state.handle(ChunkOpened(1, (0, 1)), 0.0) == (DropChunk(1),)
    assert order(state, lease(2)) == ()
    state.handle(EngineStopped(), 1.0)
    assert state.report(Vitals()).returned == (1, 2)


def test_a_leaving_replica_sends_a_last_report_whatever_happens_to_its_commits() -> None:
    state = loaded()
    opened(state, lease(1))
    assert order(state, done=True) == (StopEngine(),)
    assert (state.due(24.9), state.due_at, state.due(25.0)) == (False, 25.0, True)
    last = state.report(Vitals())
    assert (last.leaving, last.returned) == (False, ()), "the driver has told it to leave: it returns nothing"


def test_done_starts_no_announced_item() -> None:
    state = loaded()
    opened(state, lease(1, isolated=True))
    state.report(Vitals())
    state.handle(DrainRequested(), 0.0)
    assert order(state) == ()


def test_a_failure_is_reported_immediately_unless_the_replica_drains() -> None:
    state, error = loaded(), RunFailed("the store is away")
    order(state)
    state.handle(ReplicaFailed(error), 0.0)
    assert (state.due(0.0), state.failure) == (True, error)
    state.handle(DrainRequested(), 0.0)
    assert (state.due(0.0), state.failure) == (False, None), "others will do what it held"


def test_errors_while_a_replica_leaves_are_not_raised() -> None:
    state = loaded()
    order(state, done=True)
    state.handle(ReplicaFailed(RunFailed("the store is away")), 0.0)
    assert state.failure is None


class Conversation(RuleBasedStateMachine):
    """A replica between a driver that keeps the rules and an engine and a store that take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.state = loaded(ReplicaPolicy(spool_chunks=2, backlog_items=4, hungry_items=2))
        self.now = 0.0
        self.leases: dict[int, Lease] = {}
        self.to_open: list[int] = []
        self.in_engine: dict[int, set[int]] = {}
        self.to_drop: list[int] = []
        self.to_commit: list[int] = []
        self.reported: tuple[int, int] | None = None
        """The announcement of the last report."""
        self.heard: tuple[int, int] | None = None
        """The announcement that the driver knew of when it sent its last order."""
        self.wants = 0
        """By the last report."""
        self.calling = False
        self.ends: dict[int, list[str]] = {}
        self.leaving = False
        self.stopped = False
        self.left = False
        self.departure = ""
        self.stays_for = 0

    @initialize(departure=st.sampled_from(["", "drain", "done"]), stays_for=st.integers(0, 6))
    def draw(self, departure: str, stays_for: int) -> None:
        """Decide how it leaves, and after how many leases at the earliest."""
        self.departure, self.stays_for = departure, stays_for
        self.wants = self.state.wants

    def happens(self, event: Event) -> None:
        """Something happens to the replica; engine, intake and committer do what it says."""
        for action in self.state.handle(event, self.now):
            match action:
                case OpenChunk(one):
                    self.to_open.append(one.id)
                case RunItems(number, rows):
                    self.run(number, set(rows))
                case DropChunk(number):
                    self.to_drop.append(number)
                case CommitChunk(number):
                    assert not self.in_engine.pop(number, None), "items of it are in the engine"
                    self.to_commit.append(number)
                case StopEngine():
                    assert not self.leaving
                    self.leaving = True

    def run(self, number: int, rows: set[int]) -> None:
        assert not self.leaving
        running = {other for other, some in self.in_engine.items() if some}
        if self.leases[number].isolated:
            assert not running, "a suspect runs alone"
            assert self.heard in {(number, row) for row in rows}, "the driver has not heard"
            assert len(rows) == 1
        else:
            assert not any(self.leases[other].isolated for other in running)
        assert not rows & self.in_engine.setdefault(number, set())
        self.in_engine[number] |= rows

    @property
    def held(self) -> list[int]:
        """What the driver believes the replica to hold."""
        return [number for number, ends in self.ends.items() if not ends]

    @precondition(lambda self: not self.calling and not self.left)
    @rule(
        isolated=st.booleans(),
        items=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        cancels=st.sets(st.integers(0, 9), max_size=2),
    )
    def driver_calls(self, isolated: bool, items: list[int], cancels: set[int]) -> None:
        cancel = tuple(number for place, number in enumerate(self.held) if place in cancels)
        for number in cancel:
            self.ends[number].append("cancelled")
        if isolated and self.held:
            items = []
        leases: list[Lease] = []
        for count in items[:1] if isolated else items:
            if sum(one.chunk.items for one in leases) < self.wants:
                leases.append(lease(len(self.leases) + 1, count, isolated=isolated))
                self.leases[leases[-1].id] = leases[-1]
                self.ends[leases[-1].id] = []
        self.heard = self.reported
        self.calling = True
        done = self.departure == "done" and len(self.leases) >= self.stays_for
        self.happens(OrderReceived(Order(tuple(leases), cancel, done), 0.5))

    @precondition(lambda self: self.calling)
    @rule(patience=st.sampled_from([0.0, 0.1, 0.5, 30.0]))
    def driver_is_answered_when_due(self, patience: float) -> None:
        self.now += patience
        if not self.state.due(self.now):
            assert self.now < self.state.due_at
            return
        report = self.state.report(Vitals())
        self.calling = False
        for one in report.committed:
            self.ends[one.lease].append("committed")
        for number in report.returned:
            self.ends[number].append("returned")
        self.reported, self.wants, self.left = report.announced, report.wants, report.leaving
        assert not (report.announced and report.wants), "a suspect runs alone"
        assert not (self.leaving and report.wants)
        if report.leaving:
            assert not self.held, "what does not come back is lost until the driver hears of the end"

    @precondition(lambda self: self.to_open)
    @rule(settled=st.integers(0, 2))
    def chunk_is_opened(self, settled: int) -> None:
        number = self.to_open.pop(0)
        self.happens(ChunkOpened(number, tuple(range(settled, self.leases[number].chunk.items))))

    @precondition(lambda self: any(self.in_engine.values()) and not self.stopped)
    @rule(which=st.integers(0, 9), many=st.integers(1, 3))
    def items_end(self, which: int, many: int) -> None:
        running = [(number, row) for number, rows in self.in_engine.items() for row in rows]
        ended = [running[(which + n) % len(running)] for n in range(min(many, len(running)))]
        for number, row in ended:
            self.in_engine[number].discard(row)
        self.happens(ItemsEnded(tuple(ended)))

    @precondition(lambda self: self.to_drop)
    @rule()
    def chunk_is_dropped(self) -> None:
        number = self.to_drop.pop(0)
        self.in_engine.pop(number, None)
        self.happens(ChunkDropped(number))

    @precondition(lambda self: self.to_commit)
    @rule()
    def chunk_is_committed(self) -> None:
        self.happens(ChunkCommitted(committed(self.to_commit.pop(0))))

    @precondition(lambda self: self.departure == "drain" and len(self.leases) >= self.stays_for)
    @rule()
    def machine_asks_it_to_leave(self) -> None:
        self.happens(DrainRequested())

    @precondition(lambda self: self.leaving and not self.stopped)
    @rule()
    def engine_stops(self) -> None:
        self.stopped = True
        self.happens(EngineStopped())

    @invariant()
    def every_lease_ends_once(self) -> None:
        for ends in self.ends.values():
            # A commit that was under way when the lease was cancelled is reported all the same.
            assert ends in ([], ["committed"], ["returned"], ["cancelled"], ["cancelled", "committed"]) or (
                # The store was away for longer than a leaving replica waits.
                self.left and ends == ["returned", "committed"]
            )

    @invariant()
    def credit_is_for_those_who_stay_and_run_no_suspect(self) -> None:
        suspects = [number for number in self.held if self.leases[number].isolated]
        waiting = [number for number in suspects if number in self.to_open or self.in_engine.get(number)]
        if self.leaving or waiting or len(self.to_commit) >= 2:
            assert self.state.wants == 0

    @invariant()
    def credit_is_what_is_not_held(self) -> None:
        wants = self.state.wants
        if wants:
            opening = sum(self.leases[number].chunk.items for number in self.to_open if number in self.state.held)
            running = sum(len(rows) for rows in self.in_engine.values())
            ended = max(0, SLOTS + 4 - opening - running) - wants
            assert ended == 0 or self.to_drop, "of what is being dropped, items may have ended"

    def teardown(self) -> None:
        """Whatever happened, what is left to do can be done, and every lease comes to its end."""
        if self.left:
            return
        for _ in range(200):
            if not self.calling and not self.held and not self.leaving:
                return
            if not self.calling:
                self.wants = 0
                self.driver_calls(isolated=False, items=[], cancels=set())
            while self.to_open:
                self.chunk_is_opened(settled=0)
            while any(self.in_engine.values()) and not self.stopped:
                self.items_end(which=0, many=3)
            while self.to_drop:
                self.chunk_is_dropped()
            while self.to_commit:
                self.chunk_is_committed()
            if self.leaving and not self.stopped:
                self.engine_stops()
            self.driver_is_answered_when_due(patience=30.0)
            self.every_lease_ends_once()
            if self.leaving:
                return
        raise AssertionError(f"these leases never end: {self.held}")


Conversation.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEveryLeaseEndsOnceAndSuspectsRunAlone = Conversation.TestCase
