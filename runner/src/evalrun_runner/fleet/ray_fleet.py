"""Fleet of replicas as Ray actors, one on each node of a cluster.

Actors never restart by themselves (``max_restarts=0``) and calls run at most once: the ledger, not Ray, decides whether
a chunk is done. Nothing large passes through Ray: orders and reports are small, and results go to the store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.errors import first_line
from evalrun_runner.fleet.actor import ReplicaActor
from evalrun_runner.fleet.nodes import Node, Nodes
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined, Refused, is_final
from evalrun_runner.fleet.ray_start import connect_ray
from evalrun_runner.records.messages import Order
from evalrun_runner.replica.settings import ReplicaSettings

START_SECONDS = 300.0
"""Maximum time for Ray to start a replica's process, in seconds; then the replica counts as crashed."""
LOAD_SECONDS = 1800.0
"""Maximum time for a replica to load its engine, in seconds; then it is killed."""
REPLICA_RESOURCE = "replica"
"""Ray resource of nodes that are meant for a replica; the head does not have it."""
NODES_SECONDS = 1.0
"""Interval in seconds between listings of a cluster's nodes."""
SILENT_SECONDS = 20.0
"""Interval in seconds between checks whether nodes whose replica was lost answer after all."""


@dataclass(slots=True)
class _Member:
    actor: Any
    started: float
    spoke: bool = False
    """Whether its process runs."""
    joined: bool = False
    killed: bool = False


class RayFleet:
    """``Fleet`` of Ray actors: one on each node with the resource ``replica``, as nodes come and go.

    A replica has its node and the node's GPUs to itself.

    Args:
        address: Address of Ray's head.
        settings: The replicas' settings.
        writer: Prefix of the replicas' names, unique among all drivers of a run.

    Raises:
        RunFailed: Ray could not be connected to.
    """

    def __init__(self, address: str, settings: ReplicaSettings, *, writer: str) -> None:
        self._ray = connect_ray(address)
        self._settings = settings
        self._writer = writer
        self._started = 0
        self._members: dict[str, _Member] = {}
        self._calls: dict[Any, str] = {}
        self._nodes = Nodes()
        self._next_look = self._next_probe = 0.0
        self._departed: list[Departed] = []
        """Replicas that were found to have departed before Ray reports it."""
        self._actor = self._ray.remote(ReplicaActor)

    @property
    def size(self) -> int:
        """Number of started replicas that have not departed, ready or not."""
        return len(self._members)

    @property
    def stages(self) -> tuple[str, ...]:
        """What each replica that is not ready does, in words for people."""
        now = time.monotonic()
        waiting = {name: member for name, member in self._members.items() if not member.joined}
        return tuple(f"{name} loads its engine for {now - member.started:.0f} s" for name, member in waiting.items())

    def add(self) -> None:
        """Start one more replica if a node waits for one."""
        if (node := self._nodes.vacant()) is not None:
            self._start_on(node)

    def _start_on(self, node: Node) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        name = f"{self._writer}-r{self._started}"
        self._started += 1
        actor = self._actor.options(
            name=name,
            num_cpus=0,
            num_gpus=0,
            resources={REPLICA_RESOURCE: 1},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            max_restarts=0,
            max_task_retries=0,
        ).remote(name, self._settings)
        self._members[name] = _Member(actor, time.monotonic())
        self._calls[actor.hello.remote()] = name
        self._nodes.assign(node, name)

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Return new events, waiting at most ``timeout`` seconds for the first one."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + NODES_SECONDS
            self._follow()
        answers = self._answers(0.0 if self._departed else timeout)
        self._end_late()
        departed, self._departed = self._departed, []
        return [*departed, *answers]

    def _answers(self, timeout: float) -> list[FleetEvent]:
        if not self._calls:
            time.sleep(timeout)  # wait for nodes
            return []
        calls = list(self._calls)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        events = [self._event(call, self._calls.pop(call)) for call in ready]
        return [event for event in events if event is not None]

    def _follow(self) -> None:
        """Start a replica on each new node, and count the replicas of departed nodes as departed."""
        alive = [
            Node(node["NodeID"], node["NodeManagerAddress"], node["NodeManagerPort"])
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get(REPLICA_RESOURCE)
        ]
        new, lost = self._nodes.update(alive)
        for name in lost:
            self._depart(name, Departure.LOST, "its node is gone")
        if time.monotonic() >= self._next_probe:
            self._next_probe = time.monotonic() + SILENT_SECONDS
            new += [node for node in self._nodes.silent() if node.answers()]
        for node in new:
            self._start_on(node)

    def _depart(self, name: str, departure: Departure, detail: str) -> None:
        """Count a replica as departed although its calls have not failed yet."""
        if (member := self._members.get(name)) is None:
            return
        self._departed.append(Departed(name, departure, detail, not member.joined))
        self._calls = {call: replica for call, replica in self._calls.items() if replica != name}
        self._forget(name, departure)

    def _end_late(self) -> None:
        now = time.monotonic()
        for name, member in list(self._members.items()):
            if member.joined or member.killed:
                continue
            if not member.spoke and now - member.started > START_SECONDS:
                # Ray tries again and again without a word, and reports nothing of a process that it never had.
                node = self._nodes.of(name)
                where = "" if node is None else f" on node {node.address}"
                why = f"Ray has not started its process{where} within {START_SECONDS:g} s; its logs there say why"
                self._depart(name, Departure.CRASHED, why)
            elif now - member.started > LOAD_SECONDS:
                self.kill(name)

    def _event(self, call: Any, name: str) -> FleetEvent | None:
        errors = self._ray.exceptions
        member = self._members[name]
        try:
            answer = self._ray.get(call)
        except errors.RayTaskError as error:
            self._forget(name)
            cause = error.cause
            if is_final(cause):
                return Refused(name, cause)
            return Departed(name, Departure.CRASHED, f"{type(cause).__name__}: {first_line(cause)}", not member.joined)
        except errors.RayError as error:
            departure = _departure(member, error, self._nodes.of(name))
            self._forget(name, departure)
            return Departed(name, departure, _detail(error), not member.joined)
        if not member.spoke:
            member.spoke = True
            self._calls[member.actor.load.remote()] = name
            return None
        if not member.joined:
            member.joined = True
            return Joined(name, answer)
        return Answered(name, answer)

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Answer a replica; it reports again within ``wait`` seconds."""
        if (member := self._members.get(replica)) is not None:
            self._calls[member.actor.exchange.remote(order, wait)] = replica

    def kill(self, replica: str) -> None:
        """Kill a replica that is silent or hangs; its departure follows as an event."""
        if (member := self._members.get(replica)) is None:
            return
        node = self._nodes.of(replica)
        if node is not None and not node.answers():
            self._depart(replica, Departure.LOST, "its node is gone")
            return
        member.killed = True
        self._ray.kill(member.actor, no_restart=True)

    def release(self, replica: str) -> None:
        """Release a replica that has sent its last report; its node gets no other one."""
        if replica in self._members:
            self._forget(replica, Departure.DRAINED)

    def _forget(self, name: str, departure: Departure = Departure.CRASHED) -> None:
        member = self._members.pop(name)
        match departure:
            case Departure.LOST:
                self._nodes.lose(name)
            case Departure.DRAINED:
                self._nodes.release(name)
            case _:
                self._nodes.vacate(name)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.actor, no_restart=True)

    def shutdown(self) -> None:
        """End all replicas."""
        for name in list(self._members):
            self._forget(name)
        self._calls.clear()
        self._ray.shutdown()


def _departure(member: _Member, error: Exception, node: Node | None) -> Departure:
    # Every message about a dead actor mentions nodes; only these phrases mean that the node was the cause.
    text = str(error)
    node_died = "node has died" in text or "actor's node was" in text
    if node_died or (node is not None and not node.answers()):
        return Departure.LOST
    return Departure.KILLED_HUNG if member.killed else Departure.CRASHED


def _detail(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "exit" in line.lower() or "died" in line.lower() or "killed" in line.lower()]
    line = telling[-1] if telling else lines[0] if lines else type(error).__name__
    return line.partition(" Some common causes")[0][:400]
