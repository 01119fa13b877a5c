"""A simulated replica's process: the real ``ReplicaState`` with a simulated engine, intake and committer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.records.messages import Committed, Lease, Order, Report
from evalrun_runner.replica.state import (
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
    ReplicaPolicy,
    ReplicaState,
    RunItems,
    StopEngine,
    Vitals,
)
from support.simulation_world import InvariantBroken, Part, Poison

if TYPE_CHECKING:
    from support.simulation import DriverProcess, Run

PATIENCE = 12.0
"""Virtual seconds of waiting for news in each second of the real one: fewer reports that say nothing."""
POLICIES = tuple(
    ReplicaPolicy(spool_chunks=3, backlog_items=backlog, hungry_items=hungry, flush_s=4.0, leave_s=5.0)
    for backlog, hungry in ((2, 4), (8, 8), (32, 24))
)


class SimulatedReplica:
    """A process: runs items one lease after another, commits chunks, and answers its driver's calls."""

    def __init__(self, driver: DriverProcess, name: str, speed: float) -> None:
        self.driver = driver
        self.run: Run = driver.run
        self.name = name
        self.speed = speed
        self.state: ReplicaState = self.run.classes.replica_state(self.run.rng.choice(POLICIES))
        self.joined = False
        self.alive = True
        self.stuck = False
        """The engine makes no progress; the process goes on reporting."""
        self._hangs_soon = False
        self.frozen = False
        """The whole process stands still."""
        self.cut_off_until = 0.0
        self._leases: dict[int, Lease] = {}
        """Those that were opened, or are."""
        self._opened_until = 0.0
        self._waiting: deque[RunItems] = deque()
        self._running: RunItems | None = None
        self._committing = 0
        self._stopping = False
        self._tokens = 0
        self._repeat: tuple[Committed, ...] = ()

    @property
    def works(self) -> bool:
        """Whether the process does anything."""
        return self.alive and not self.frozen

    def exit(self) -> None:
        """The process ends."""
        self.alive = False

    def hang(self) -> None:
        """The engine hangs, now or with the next normal work: with a suspect, nothing could tell it from poison."""
        if self._running is None:
            self._hangs_soon = True
        else:
            self.stuck = True

    def load(self) -> None:
        """The engine is loaded."""
        self.joined = True
        self.happens(EngineLoaded(self.run.rng.choice((2, 8))))

    def send(self, event: Callable[[], None]) -> None:
        """Send a message from or to this replica; while it is cut off, messages wait."""
        blocked = max(0.0, self.cut_off_until - self.run.clock.now)
        self.run.clock.after(blocked + self.run.latency(), event)

    # -- what a replica's threads do ---------------------------------------------------------------------------------

    def on_order(self, order: Order, wait: float) -> None:
        """Take the driver's call."""
        if self.works:
            self.happens(OrderReceived(order, PATIENCE * wait))
            due_at = self.state.due_at
            if due_at < math.inf:
                # A sum of floats may fall short of the time by a hair.
                self.run.clock.after(max(0.0, due_at - self.run.clock.now) + 1e-6, self.answer_if_due)

    def drain(self) -> None:
        """The machine asks it to leave."""
        if self.works and self.joined:
            self.happens(DrainRequested())

    def happens(self, event: Event) -> None:
        """Let the state decide, do what it says, and answer the driver's call if that is due."""
        for action in self.state.handle(event, self.run.clock.now):
            match action:
                case OpenChunk(lease):
                    self._open(lease)
                case RunItems():
                    self._waiting.append(action)
                case DropChunk(lease_id):
                    self._drop(lease_id)
                case CommitChunk(lease_id):
                    self._committing += 1
                    self.run.clock.after(self.run.latency(), partial(self._commit, self._leases.pop(lease_id)))
                case StopEngine():
                    self._stop()
        if self._running is None and self._waiting:
            self._start_next()
        self.answer_if_due()

    def answer_if_due(self) -> None:
        """Report to the driver, if it waits and there is something to say."""
        if not self.alive or self.frozen or not self.state.due(self.run.clock.now):
            return
        busy = self._running is not None
        if busy and not self.stuck:
            self._tokens = max(self._tokens + 1, int(100 * self.run.clock.now))
        report = self.state.report(Vitals(tokens=self._tokens, busy=busy))
        if self._repeat:
            report = _with_commits(report, report.committed + self._repeat)
        self._repeat = report.committed if report.committed and self.run.rng.random() < 0.05 else ()
        self.send(partial(self.driver.fleet.hear, self, report))
        if self.state.leaving and not report.leaving:
            self.exit()

    # -- intake, engine, committer -----------------------------------------------------------------------------------

    def _open(self, lease: Lease) -> None:
        """Read a lease's items: at once, or after a while, one lease after another."""
        self._leases[lease.id] = lease
        now = self.run.clock.now
        if self.run.rng.random() < 0.1:
            self._opened_until = max(now, self._opened_until) + self.run.latency()
        if self._opened_until > now:
            self.run.clock.after(self._opened_until - now, partial(self._is_open, lease))
        else:
            self._is_open(lease)

    def _is_open(self, lease: Lease) -> None:
        if self.works:
            rows = tuple(range(lease.chunk.items))
            if lease.quarantined:
                rows = tuple(row for row in rows if row not in lease.quarantined)
            self.happens(ChunkOpened(lease.id, rows))

    def _drop(self, lease_id: int) -> None:
        if self.stuck:
            return  # an engine that hangs drops nothing either
        self._leases.pop(lease_id, None)
        if self._waiting:
            self._waiting = deque(one for one in self._waiting if one.lease != lease_id)
        if self._running is not None and self._running.lease == lease_id:
            self._running = None
        self.happens(ChunkDropped(lease_id))

    def _start_next(self) -> None:
        """Give the next items to the engine; a poison item does to it what it always does."""
        running = self._running = self._waiting.popleft()
        lease = self._leases[running.lease]
        if lease.isolated:
            self._check_that_the_driver_has_heard(running)
        elif self._hangs_soon:
            self.stuck = True
        if self.stuck:
            return
        seconds = lease.chunk.cost * len(running.rows) / lease.chunk.items / self.speed * self.run.rng.uniform(0.8, 1.2)
        poison = self.run.scenario.poison.get(lease.chunk.id)
        bad = None if poison is None else next((poison[row] for row in running.rows if row in poison), None)
        if bad is None:
            self.run.clock.after(seconds, partial(self._ran, running))
        else:
            self.run.clock.after(seconds * self.run.rng.random(), partial(self._poisoned, running, bad))

    def _check_that_the_driver_has_heard(self, running: RunItems) -> None:
        heard = self.driver.book.announced.get(self.name)
        if self.name in self.driver.book.granted and [heard] != [(running.lease, row) for row in running.rows]:
            raise InvariantBroken(f"isolation: {self.name} starts {running}, and the driver has heard of {heard}")

    def _ran(self, running: RunItems) -> None:
        if self.works and not self.stuck and self._running is running:
            self._running = None
            self.happens(ItemsEnded(tuple((running.lease, row) for row in running.rows)))

    def _poisoned(self, running: RunItems, kind: Poison) -> None:
        if not self.works or self.stuck or self._running is not running:
            return
        self.run.say(f"{self.name} runs a poison item: {kind}")
        match kind:
            case Poison.CRASH:
                self.exit()
                self.driver.fleet.depart(self, Departure.CRASHED, self.run.latency())
            case Poison.HANG:
                self.stuck = True
            case Poison.FREEZE:
                self.frozen = True

    def _commit(self, lease: Lease) -> None:
        """Create the part. Its answer may be lost with the replica, or come late; the part may be damaged."""
        if not self.works:
            return
        if set(self.run.scenario.poison.get(lease.chunk.id, ())) - set(lease.quarantined):
            raise InvariantBroken(f"the simulation let a poison item of {lease.chunk.id} pass")
        counts = self.run.scenario.counts(lease.chunk.id)
        torn = self.run.torn_writes_left > 0 and self.run.rng.random() < 0.1
        there = self.run.ledger.commit(lease.chunk, Part(counts, lease.chunk.digest, sound=not torn))
        if there is None:
            self.run.torn_writes_left -= torn
            self.run.created(lease.chunk.id)
        if self.run.rng.random() < 0.01:
            self.exit()
            self.driver.fleet.depart(self, Departure.LOST, 1.0)
            return
        committed = Committed(lease.id, lease.chunk.id, counts, there is None, 1, 1, 0.1)
        self.run.clock.after(self.run.latency(), partial(self._is_committed, committed))

    def _is_committed(self, committed: Committed) -> None:
        if self.works:
            self._committing -= 1
            self.happens(ChunkCommitted(committed))
            if self._stopping and not self._committing:
                self._stopped()

    def _stop(self) -> None:
        self._stopping = True
        self._waiting.clear()
        self._running = None
        wait = self.state.policy.flush_s if self._committing else 0.0
        self.run.clock.after(wait, self._stopped)

    def _stopped(self) -> None:
        if self.works and not self.state.stopped:
            self.happens(EngineStopped())


def _with_commits(report: Report, committed: tuple[Committed, ...]) -> Report:
    return Report(
        committed, report.returned, report.announced, report.tokens, report.steps, report.busy, report.wants,
        leaving=report.leaving,
    )  # fmt: skip
