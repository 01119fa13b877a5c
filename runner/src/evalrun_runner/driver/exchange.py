"""The driver's side of the conversation with its replicas: the fleet's events to the dispatcher, its orders back.

It decides nothing by itself: ``dispatch`` says who runs what, who is killed and who is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from evalrun_api import Reason
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.restarts import GiveUp, Reached, Replace, Restarts, StopReplacing
from evalrun_runner.driver.reporter import Reporter
from evalrun_runner.errors import RunFailed
from evalrun_runner.fleet.protocol import Answered, Departed, Fleet, FleetEvent, Joined, Refused, Staged
from evalrun_runner.records.messages import Order, Report

POLL_SECONDS = 0.1
"""Maximum time in seconds that a turn waits for reports."""
REPORT_SECONDS = 0.5
"""Maximum time in seconds that a replica may delay a report without news."""


@dataclass
class Exchange:
    """The conversation of one driver with its fleet, in the loop's thread: nothing here is touched by another one."""

    dispatcher: Dispatcher
    start_fleet: Callable[[], Fleet]
    """Called when the first chunk is there to be leased."""
    reporter: Reporter
    restarts: Restarts = field(default_factory=Restarts)
    wanted: int = 0
    """Replicas that are started again when they leave, for people; 0 where they come and go with a cluster's nodes."""
    clock: Callable[[], float] = time.monotonic
    fleet: Fleet | None = None
    ready: set[str] = field(default_factory=set)
    """Number of replicas that have joined and not departed."""
    facts: dict[str, dict[str, object]] = field(default_factory=dict)
    """Facts that each replica reported when it joined."""
    was_ready: bool = False
    """Whether a replica was ever ready."""
    _resting: set[str] = field(default_factory=set)
    """Replicas with no order, since all is committed: they stay, as a part may yet be found damaged."""

    @property
    def size(self) -> int:
        """Number of started replicas that have not departed, ready or not."""
        return 0 if self.fleet is None else self.fleet.size

    @property
    def stages(self) -> tuple[str, ...]:
        """What each replica that is not ready does, in words for people."""
        return self.fleet.stages if isinstance(self.fleet, Staged) else ()

    @property
    def working(self) -> set[str]:
        """Replicas that have an order, and may hold leases."""
        return self.ready - self._resting

    def ensure_fleet(self) -> None:
        """Start the fleet if there was nothing to lease so far."""
        if self.fleet is None:
            self.fleet = self.start_fleet()
            self._count()

    def wake(self) -> None:
        """Give orders again to the replicas that rest: they hold nothing, and their silence was the driver's."""
        for replica in self._resting:
            self.dispatcher.join(replica, self.clock())
            self.send(replica, Order(), REPORT_SECONDS)
        self._resting.clear()

    def answer(self) -> None:
        """Process the replicas' events, waiting briefly for the first one, and answer each replica with an order."""
        for event in self.poll():
            self._handle(event)

    def replace(self) -> None:
        """Start replacements whose pause is over."""
        for _ in range(self.restarts.take_due(self.clock())):
            self._present.add()

    def kill(self) -> None:
        """Kill replicas that are silent or hang."""
        for order in self.dispatcher.tick(self.clock()):
            self.reporter.log(f"replica {order.replica} is killed: {order.reason}")
            self._present.kill(order.replica)
        self._count()

    def end(self) -> None:
        """End all replicas."""
        self._present.shutdown()
        self.ready.clear()
        self.reporter.telemetry.ended(self.clock())

    def poll(self) -> list[FleetEvent]:
        """Return new events of the fleet, waiting briefly for the first one."""
        return list(self._present.poll(POLL_SECONDS))

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Send a replica its order; it reports again within ``wait`` seconds."""
        self._present.send(replica, order, wait)

    def report(self, replica: str, report: Report) -> Order:
        """Process a report, and return the replica's next order."""
        self.reporter.telemetry.answered(replica, report)
        return self.dispatcher.report(replica, report, self.clock())

    def _handle(self, event: FleetEvent) -> None:
        match event:
            case Joined(replica, facts):
                self.ready.add(replica)
                self.was_ready = True
                self.facts[replica] = dict(facts)
                self.dispatcher.join(replica, self.clock())
                self.reporter.telemetry.joined(replica, str(facts.get("host", "")))
                # It says at once what it wants: there is work, or there would be no fleet.
                self.send(replica, Order(), 0.0)
            case Answered(replica, report):
                if report.committed:
                    self.restarts.committed()
                order = self.report(replica, report)
                if report.leaving:
                    self._drained(replica, report)
                elif self.dispatcher.finished:
                    self._resting.add(replica)
                else:
                    self.send(replica, order, REPORT_SECONDS)
            case Departed():
                self._gone(event)
            case Refused(_, error):
                raise error

    def _drained(self, replica: str, report: Report) -> None:
        self._leave(replica, Departure.DRAINED)
        self._present.release(replica)
        self.reporter.log(
            f"replica {replica} was asked to leave by its machine; {len(report.returned)} chunks come back"
        )

    def _gone(self, gone: Departed) -> None:
        self._leave(gone.replica, gone.departure)
        what = "before it was ready" if gone.before_joining else f"({gone.departure})"
        self.reporter.log(f"replica {gone.replica} is gone {what}: {gone.detail}")
        if gone.output and gone.before_joining:
            self.reporter.log("\n".join(f"  | {line[:300]}" for line in gone.output.splitlines()))
        decision = self.restarts.left(
            gone.departure,
            gone.detail,
            self.clock(),
            reached=_reached(gone),
            working=len(self.ready),
            quarantined=len(self.dispatcher.quarantined),
        )
        match decision:
            case GiveUp(message):
                raise RunFailed(message, reason=Reason.REPLICAS_FAILED)
            case StopReplacing(working):
                self.wanted = working
                self.reporter.log(f"no more replicas are started: the run goes on with {working}")
            case Replace():
                pass  # ``replace`` does, when the pause is over

    def _leave(self, replica: str, departure: Departure) -> None:
        self.ready.discard(replica)
        self._resting.discard(replica)
        self.reporter.telemetry.left(replica, departure, work=not self.dispatcher.finished)
        self.dispatcher.leave(replica, departure, self.clock())

    def _count(self) -> None:
        # A fleet may know that a replica is gone before it says so.
        loading = max(0, self.size - len(self.ready))
        self.reporter.telemetry.count(loading, len(self.ready), self.clock())

    @property
    def _present(self) -> Fleet:
        assert self.fleet is not None, "there is a fleet once there was something to lease"
        return self.fleet


def _reached(gone: Departed) -> Reached:
    if not gone.before_joining:
        return Reached.ENGINE
    return Reached.NOTHING if gone.unstarted else Reached.PROCESS
