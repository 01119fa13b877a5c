"""A second book of who holds what, kept from what passes between a driver and its replicas, to check the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined
from evalrun_runner.records.messages import Lease, Order, Report
from support.simulation_world import ChunkId, InvariantBroken, Scenario


class Book:
    """The leases of one driver's replicas, by its orders and their reports."""

    def __init__(self, scenario: Scenario, policy: DispatchPolicy, dispatcher: Dispatcher, seen: Counter[str]) -> None:
        self._scenario = scenario
        self._policy = policy
        self._dispatcher = dispatcher
        self._seen = seen
        self.granted: dict[str, dict[int, Lease]] = {}
        self._departing: set[str] = set()
        """What each replica that is here holds."""
        self.announced: dict[str, tuple[int, int] | None] = {}
        """By each replica's last report that the driver has."""
        self.failures = 0
        """Replicas that crashed or were killed one after another with nothing committed in between."""
        self._wants: dict[str, int] = {}
        self._lost_items = 0
        """Bound of I4: items in flight on what died, or set aside."""
        self._last_lease = 0
        self._reopened: dict[ChunkId, int] = {}
        """chunk -> the last lease before its part was set aside"""
        self._something_lost = False

    def isolates(self, replica: str) -> bool:
        """Whether the replica runs a suspect, as far as the driver knows."""
        return any(lease.isolated for lease in self.granted.get(replica, {}).values())

    def heard(self, events: Sequence[FleetEvent]) -> None:
        """Write down what the driver is about to hear at once; it answers a replica before it hears of its end."""
        self._departing.clear()
        for event in events:
            self._happened(event)

    def _happened(self, event: FleetEvent) -> None:
        match event:
            case Joined(replica):
                self.granted[replica] = {}
            case Answered(replica, report):
                self._answered(replica, report)
            case Departed(replica, departure, _, before_joining):
                self._seen["failed start"] += before_joining
                self.failures += departure.suspicious
                self._something_lost = True
                self._lost_items += sum(lease.chunk.items for lease in self.granted.pop(replica, {}).values())
                self._departing.add(replica)

    def _answered(self, replica: str, report: Report) -> None:
        if report.committed:
            self.failures = 0
            over = {one.chunk for one in report.committed if one.lease > self._reopened.get(one.chunk, 0)}
            for leases in self.granted.values():
                for lease in [one for one in leases.values() if one.chunk.id in over]:
                    del leases[lease.id]
        held = self.granted.get(replica)
        if held is None:
            return
        for lease_id in report.returned:
            held.pop(lease_id, None)
        self.announced[replica] = report.announced
        self._wants[replica] = report.wants
        if report.leaving:
            self._seen["drained"] += 1
            self._seen["returned"] += len(report.returned)
            if held:
                raise InvariantBroken(f"drain: {replica} has left and did not give back {list(held.values())}")
            del self.granted[replica]

    def set_aside(self, chunk: ChunkId) -> None:
        """Write down that a part was found corrupt, and its chunk is to be run again."""
        self._something_lost = True
        self._lost_items += self._scenario.by_id[chunk].items
        self._reopened[chunk] = self._last_lease

    def ordered(self, replica: str, order: Order) -> None:
        """Write an order down and hold it against the rules."""
        held = self.granted.get(replica)
        if held is None:
            if order.leases and replica not in self._departing:
                raise InvariantBroken(f"leases for {replica}, which is not here")
            self._lost_items += sum(lease.chunk.items for lease in order.leases)
            return
        for lease_id in order.cancel:
            held.pop(lease_id, None)
            self._seen["cancelled"] += 1
        if not order.leases:
            return
        for lease in order.leases:
            held[lease.id] = lease
            self._last_lease = max(self._last_lease, lease.id)
        wants = self._wants.get(replica, 0)
        if sum(lease.chunk.items for lease in order.leases[:-1]) > wants:
            raise InvariantBroken(f"{replica} wanted {wants} items and was given {order.leases}")
        every = [one.chunk.id for leases in self.granted.values() for one in leases.values()]
        for lease in order.leases:
            holders = every.count(lease.chunk.id)
            if holders > (1 if lease.isolated else self._policy.max_copies):
                raise InvariantBroken(f"{holders} replicas hold {lease}")
        if len(held) > 1 and any(lease.isolated for lease in held.values()):
            raise InvariantBroken(f"{replica} runs a suspect, but not alone: {list(held.values())}")
        if order.leases[0].isolated:
            self._seen["isolated"] += 1
            self._check_that_normal_work_goes_on()

    def _check_that_normal_work_goes_on(self) -> None:
        alone = sum(any(lease.isolated for lease in leases.values()) for leases in self.granted.values())
        if 1 < len(self.granted) == alone:
            pending = self._dispatcher.progress(0.0).pending_chunks
            if pending:
                raise InvariantBroken(f"all {alone} replicas run suspects while {pending} normal chunks wait")

    def check_lost(self) -> None:
        """I4, and that none but poison items were quarantined; after anything was lost."""
        if not self._something_lost:
            return
        self._something_lost = False
        redone = self._dispatcher.progress(0.0).redone
        if redone > self._lost_items:
            raise InvariantBroken(f"I4: {redone} items redone, but only {self._lost_items} were in flight on what died")
        for found in self._dispatcher.quarantined:
            if found.row not in self._scenario.poison.get(found.chunk, {}):
                raise InvariantBroken(f"I1: quarantined {found}, which is no poison")
