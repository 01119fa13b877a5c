"""A simulated ``Fleet``: replicas that start, report, are lost and are killed, all in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined
from evalrun_runner.records.messages import Order, Report
from support.simulation_replica import SimulatedReplica
from support.simulation_world import FaultKind

if TYPE_CHECKING:
    from support.simulation import DriverProcess


class SimulatedFleet:
    """The replicas of one driver. It has heard of a replica's death when ``poll`` says so, and not before."""

    def __init__(self, driver: DriverProcess) -> None:
        self._driver = driver
        self._run = driver.run
        self._members: dict[str, SimulatedReplica] = {}
        """Started and, as far as the fleet knows, not departed."""
        self.by_name: dict[str, SimulatedReplica] = {}
        """All processes, those that were given up included."""
        self._events: list[FleetEvent] = []
        self._failing_starts = 0

    def start(self) -> SimulatedFleet:
        """Start the scenario's replicas."""
        for speed in self._run.scenario.speeds:
            self._start(speed)
        return self

    # -- as a Fleet --------------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Return what happened; nobody waits here."""
        events, self._events = self._events, []
        self._driver.book.heard(events)
        return events

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Send an order; one to a replica that was given up may yet reach it."""
        self._driver.book.ordered(replica, order)
        one = self.by_name[replica]
        one.send(partial(one.on_order, order, wait))

    def kill(self, replica: str) -> None:
        """Kill a replica; three in ten do not hear of it, and are zombies from then on."""
        if (member := self._members.get(replica)) is not None:
            if self._run.rng.random() < 0.7:
                member.exit()
            self.depart(member, Departure.KILLED_HUNG, 0.0)

    def release(self, replica: str) -> None:
        """Let a drained replica go; after a while a node comes in the place of its own."""
        if (member := self._members.pop(replica, None)) is not None:
            member.exit()
            self._run.clock.after(self._run.rng.uniform(0, 5), partial(self._start, member.speed))

    def add(self) -> None:
        """Start one more."""
        self._start(self._run.rng.choice(self._run.scenario.speeds))

    @property
    def size(self) -> int:
        """How many were started and have not departed."""
        return len(self._members)

    def shutdown(self) -> None:
        """The driver is gone; replicas notice after a while."""
        for replica in self.by_name.values():
            if replica.alive:
                self._run.clock.after(self._run.rng.uniform(0, 10), replica.exit)

    # -- what happens to it ------------------------------------------------------------------------------------------

    def _start(self, speed: float) -> None:
        if self._driver.alive:
            replica = SimulatedReplica(self._driver, f"e{self._driver.epoch}-r{len(self.by_name)}", speed)
            self._members[replica.name] = replica
            self.by_name[replica.name] = replica
            self._run.clock.after(self._run.rng.uniform(0.5, 3), partial(self._join, replica))

    def _join(self, replica: SimulatedReplica) -> None:
        if self._failing_starts:
            self._failing_starts -= 1
            replica.exit()
            self.depart(replica, Departure.CRASHED, 0.0)
        elif self._driver.alive and replica.alive:
            replica.load()
            self._happened(Joined(replica.name, {}))

    def hear(self, replica: SimulatedReplica, report: Report) -> None:
        """A report arrives, be it of a replica that was given up."""
        self._happened(Answered(replica.name, report))

    def depart(self, replica: SimulatedReplica, departure: Departure, delay: float) -> None:
        """Hear after ``delay`` seconds that a replica is gone."""
        self._run.clock.after(delay, partial(self._gone, replica, departure))

    def _gone(self, replica: SimulatedReplica, departure: Departure) -> None:
        if self._members.pop(replica.name, None) is not None:
            self._run.say(f"{replica.name} is gone: {departure}")
            self._happened(Departed(replica.name, departure, "gone", not replica.joined))

    def _happened(self, event: FleetEvent) -> None:
        if self._driver.alive:
            self._events.append(event)
            self._driver.step()

    def strike(self, kind: FaultKind) -> None:
        """A fault strikes one of the replicas."""
        rng = self._run.rng
        replicas = [one for one in self._members.values() if one.alive and one.joined]
        if kind is FaultKind.ADD_REPLICA:
            self._failing_starts += rng.choice((0, 0, 2, 9))
            self._start(50.0)
        elif replicas:
            self._strike(rng.choice(replicas), kind)

    def _strike(self, replica: SimulatedReplica, kind: FaultKind) -> None:
        rng = self._run.rng
        alone = self._driver.book.isolates(replica.name)
        if kind is FaultKind.DRAIN_REPLICA:
            replica.drain()
        elif kind is FaultKind.HANG_REPLICA and not alone:
            replica.hang()
        elif kind is FaultKind.PARTITION_REPLICA:
            replica.cut_off_until = self._run.clock.now + rng.uniform(5, 60)
            if alone or rng.random() < 0.5:
                self.depart(replica, Departure.LOST, rng.uniform(1, 8))
        else:
            replica.exit()
            cause = Departure.CRASHED if kind is FaultKind.CRASH_REPLICA and not alone else Departure.LOST
            # The driver may grant a suspect to a dead replica before it hears of the death: no item's fault either.
            self.depart(replica, cause, rng.uniform(0, 3))
