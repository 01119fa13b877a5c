"""The dispatch loop: fleet events to the policy, its orders back; nothing is decided here but when to give up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from evalrun_api import Phase, Reason
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.leadership import Leadership
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.driver.telemetry import RunTelemetry, TelemetrySnapshot
from evalrun_runner.errors import Interrupted, RunFailed, Superseded
from evalrun_runner.fleet.protocol import Answered, Fleet, FleetEvent, Gone, Joined, Refused
from evalrun_runner.planning.planning import Planned, Planning
from evalrun_runner.records.messages import Order, Report, StoreStats

POLL_SECONDS = 0.1
VIEW_SECONDS = 0.25
REPORT_SECONDS = 0.5
"""How long a replica may wait with a report that brings no news."""
FLUSH_SECONDS = 30.0
"""For replicas to commit what is complete when the run is stopped."""
LONGEST_PAUSE = 60.0
"""Seconds between a crash and its replacement, at most."""
WAITING = "waiting for replicas"
"""The note of a run without any replica: no capacity, or all were preempted. It waits."""
CRASHES_IN_A_ROW = 5
"""Replicas that may leave one after another with nothing committed in between before the run gives up."""


@dataclass
class Loop:
    """One driver's dispatching. ``start_fleet`` is called when the first chunk is there to be leased."""

    dispatcher: Dispatcher
    planning: Planning
    leadership: Leadership
    wanted: int
    """Replicas that are started again when they leave; 0 where they come and go with a cluster's nodes."""
    start_fleet: Callable[[], Fleet]
    watcher: Watcher
    stop: threading.Event
    trouble: Callable[[], str | None] = lambda: None
    """Why the driver's own calls to the store wait, if they do."""
    check: Callable[[], None] = lambda: None
    """Raises what ends the run from outside: the cluster under the fleet is gone."""
    telemetry: RunTelemetry = field(default_factory=RunTelemetry)
    """Told of commits by the dispatcher, of all else here."""
    store_stats: Callable[[], StoreStats] = StoreStats
    """The driver's own calls to the store."""
    clock: Callable[[], float] = time.monotonic
    fleet: Fleet | None = None
    ready: set[str] = field(default_factory=set)
    facts: dict[str, dict[str, object]] = field(default_factory=dict)
    """What each replica said of itself, for the provenance."""
    _resting: set[str] = field(default_factory=set)
    """Replicas with no order, since all is committed: they stay, as a part may yet be found damaged."""
    _failures: int = 0
    """Replicas that left one after another with nothing committed in between."""
    _failed_starts: int = 0
    """Replicas that could not be started while others work."""
    _due: list[float] = field(default_factory=list)
    """When replacements are to be started."""
    _next_view: float = 0.0
    _ran: bool = False
    """Whether a replica was ever ready: the run is then running, though it may have to wait for others."""

    def run(self) -> None:
        """Until every chunk is committed. Raises ``RunFailed``, ``Superseded``, ``Interrupted``.

        May be called again after chunks were reopened: no replica has been told to leave.
        """
        self._wake()
        try:
            self._dispatch()
        finally:
            # Whoever looks from here on sees the end, the last commits included.
            self._show()

    def _dispatch(self) -> None:
        try:
            while not self.dispatcher.finished and not self.stop.is_set():
                self._plan()
                self._serve()
                self._judge()
                if self.clock() >= self._next_view:
                    self._show()
        except Superseded:
            raise
        except RunFailed:
            # What is complete is worth keeping, whatever ends the run.
            self._flush()
            raise
        if self.stop.is_set() and not self.dispatcher.finished:
            self._flush()
            raise Interrupted(
                f"stopped; {self.dispatcher.counts.total:,} items are committed. The same command goes on from there"
            )

    def ensure_fleet(self) -> None:
        """Start the fleet if there was nothing to lease so far."""
        if self.fleet is None:
            self.fleet = self.start_fleet()
            self._count(self.fleet)

    def end_fleet(self) -> None:
        """End all replicas; whoever looks sees that none are left."""
        if self.fleet is not None:
            self.fleet.shutdown()
            self.ready.clear()
            self.telemetry.ended(self.clock())
            self.show_busy(Phase.FINISHING if self.dispatcher.finished else self._phase, "the replicas have ended")

    def show_busy(self, phase: Phase, note: str) -> None:
        """What the driver does while nothing is dispatched."""
        now = self.clock()
        self.watcher.show(View(phase, note, telemetry=self._telemetry(self.dispatcher.progress(now), now)))

    def _wake(self) -> None:
        """Give orders again to those that rest; they hold nothing, and their silence was ours."""
        for replica in self._resting:
            assert self.fleet is not None
            self.dispatcher.join(replica, self.clock())
            self.fleet.send(replica, Order(), REPORT_SECONDS)
        self._resting.clear()

    def _plan(self) -> None:
        for planned in self.planning.take():
            self._add(planned)
        if self.planning.done:
            self.dispatcher.planning_done()

    def _add(self, planned: Planned) -> None:
        self.dispatcher.add_chunks(planned.chunks, planned.committed)
        self.telemetry.kept(planned.scores)
        for note in planned.notes:
            self.watcher.log(note)
        if planned.set_aside:
            self.watcher.log(
                f"{planned.set_aside} damaged parts were set aside under corrupt/; their chunks are redone"
            )
        if len(planned.committed) < len(planned.chunks):
            self.ensure_fleet()

    def _serve(self) -> None:
        if self.fleet is None:
            self.stop.wait(POLL_SECONDS)
            return
        for event in self.fleet.poll(POLL_SECONDS):
            self._handle(self.fleet, event)
        self._replace_due(self.fleet)
        for verdict in self.dispatcher.tick(self.clock()):
            self.watcher.log(f"replica {verdict.replica} is killed: {verdict.reason}")
            self.fleet.kill(verdict.replica)
        self._count(self.fleet)

    def _count(self, fleet: Fleet) -> None:
        # A fleet may know that a replica is gone before it says so.
        self.telemetry.count(max(0, fleet.size - len(self.ready)), len(self.ready), self.clock())

    def _handle(self, fleet: Fleet, event: FleetEvent) -> None:
        now = self.clock()
        match event:
            case Joined(replica, facts):
                self.ready.add(replica)
                self._ran = True
                self.facts[replica] = dict(facts)
                self.dispatcher.join(replica, now)
                self.telemetry.joined(replica, str(facts.get("host", "")))
                # It says at once what it wants: there is work, or there would be no fleet.
                fleet.send(replica, Order(), 0.0)
            case Answered(replica, report):
                if report.committed:
                    self._failures = 0
                self.telemetry.answered(replica, report)
                order = self.dispatcher.report(replica, report, now)
                if report.leaving:
                    self._drained(fleet, replica, report, now)
                elif self.dispatcher.finished:
                    self._resting.add(replica)
                else:
                    fleet.send(replica, order, REPORT_SECONDS)
            case Gone():
                self._gone(event, now)
            case Refused(_, error):
                raise error

    def _drained(self, fleet: Fleet, replica: str, report: Report, now: float) -> None:
        self.ready.discard(replica)
        self.telemetry.left(replica, Departure.DRAINED, work=not self.dispatcher.finished)
        self.dispatcher.leave(replica, Departure.DRAINED, now)
        fleet.release(replica)
        self.watcher.log(
            f"replica {replica} was asked to leave by its machine; {len(report.returned)} chunks come back"
        )

    def _gone(self, gone: Gone, now: float) -> None:
        self.ready.discard(gone.replica)
        self._resting.discard(gone.replica)
        self.telemetry.left(gone.replica, gone.departure, work=not self.dispatcher.finished)
        self.dispatcher.leave(gone.replica, gone.departure, now)
        what = "before it was ready" if gone.before_joining else f"({gone.departure})"
        self.watcher.log(f"replica {gone.replica} is gone {what}: {gone.detail}")
        # A node that is lost or preempted is nobody's fault, however often.
        if gone.before_joining and self.ready:
            self._failed_starts += gone.departure.suspicious
            if self._failed_starts > CRASHES_IN_A_ROW:
                # Those that work go on, and are still replaced when they leave: a run without replicas would stand.
                self.wanted = len(self.ready)
                self.watcher.log(f"no more replicas are started: the run goes on with {self.wanted}")
                return
        else:
            self._failures += gone.departure.suspicious
        if self._failures > CRASHES_IN_A_ROW + len(self.dispatcher.quarantined):
            raise RunFailed(
                f"{self._failures} replicas in a row left with nothing committed in between; the last: {gone.detail}",
                reason=Reason.REPLICAS_FAILED,
            )
        # At once the first time; later ones wait, as what they lack (memory, a device) may be on its way back.
        tries = self._failures + self._failed_starts
        self._due.append(now + (min(LONGEST_PAUSE, 5.0 * 2 ** (tries - 2)) if tries > 1 else 0.0))

    def _replace_due(self, fleet: Fleet) -> None:
        now = self.clock()
        due = [moment for moment in self._due if moment <= now]
        self._due = [moment for moment in self._due if moment > now]
        for _ in due:
            fleet.add()

    def _judge(self) -> None:
        if self.dispatcher.fatal is not None:
            raise RunFailed(self.dispatcher.fatal, reason=Reason.REPLICAS_FAILED)
        self.leadership.check()
        self.check()
        counts = self.dispatcher.counts
        lost = counts.failed + counts.quarantined
        # A run that mostly fails is not worth its GPUs; one that fails here and there is finished, then judged.
        if self.dispatcher.over_cap and lost >= 50 and 2 * lost > counts.total:
            raise RunFailed(
                f"{lost:,} of the first {counts.total:,} items failed: the run was given up",
                reason=Reason.TOO_MANY_FAILED_ITEMS,
            )

    def _flush(self) -> None:
        """Tell every replica to commit what is complete and leave."""
        if self.fleet is None:
            return
        deadline, staying, told = self.clock() + FLUSH_SECONDS, self.ready - self._resting, set[str]()
        while staying and self.clock() < deadline:
            for event in self.fleet.poll(POLL_SECONDS):
                match event:
                    case Answered(replica, report):
                        self.telemetry.answered(replica, report)
                        self.dispatcher.report(replica, report, self.clock())
                        if replica in told or report.leaving:
                            staying.discard(replica)
                        else:
                            self.fleet.send(replica, Order(done=True), 0.0)
                            told.add(replica)
                    case Gone(replica) | Refused(replica):
                        staying.discard(replica)
                    case Joined():
                        pass  # it holds nothing, and is given nothing

    @property
    def _phase(self) -> Phase:
        return Phase.RUNNING if self._ran else Phase.STARTING

    def _show(self) -> None:
        now = self.clock()
        self._next_view = now + VIEW_SECONDS
        progress = self.dispatcher.progress(now)
        size = 0 if self.fleet is None else self.fleet.size
        self.watcher.show(
            View(
                phase=self._phase,
                note="" if self.ready or self.dispatcher.finished else "loading the model" if size else WAITING,
                progress=progress,
                replicas_ready=len(self.ready),
                replicas_wanted=max(self.wanted, size),
                degraded=self.trouble()
                or next((one.degraded for one in progress.replicas.values() if one.degraded), None),
                telemetry=self._telemetry(progress, now),
            )
        )

    def _telemetry(self, progress: ProgressSnapshot, now: float) -> TelemetrySnapshot:
        return self.telemetry.snapshot(now, self.store_stats(), progress.replicas)
