"""Fleet of replicas as Ray actors.

Actors never restart by themselves (``max_restarts=0``) and calls run at most once: the ledger, not Ray, decides whether
a chunk is done. Nothing large passes through Ray: orders and reports are small, and results go to the store.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.errors import InputError, LedgerCorrupt, StoreError, first_line
from evalrun_runner.fleet.actor import ReplicaActor
from evalrun_runner.fleet.nodes import Node, Nodes
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined, Refused
from evalrun_runner.fleet.ray_start import RaySettings, start_ray
from evalrun_runner.records.messages import Order
from evalrun_runner.replica.settings import ReplicaSettings

LOAD_SECONDS = 1800.0
"""Maximum time for a replica to load its engine, in seconds; then it is killed."""
NO_REPLACEMENT_MENDS = (InputError, StoreError, LedgerCorrupt)
"""Errors that every replacement would repeat; any other error may be due to one replica's GPU or machine."""
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
    joined: bool = False
    killed: bool = False
    pid: int | None = None


class RayFleet:
    """``Fleet`` of Ray actors.

    Args:
        count: Number of replicas to start on a Ray of this process's own. In a cluster there is one replica on each
            node with the resource ``replica``, as nodes come and go, and it has the node and its GPUs to itself.
        settings: The replicas' settings.
        ray_settings: Ray's settings.
        writer: Prefix of the replicas' names, unique among all drivers of a run.

    Raises:
        InputError: The machine has too few GPUs.
        RunFailed: Ray could not be started.
    """

    def __init__(self, count: int, settings: ReplicaSettings, ray_settings: RaySettings, *, writer: str) -> None:
        self._ray = start_ray(ray_settings, count)
        self._settings = settings
        self._ray_settings = ray_settings
        self._writer = writer
        self._started = 0
        self._members: dict[str, _Member] = {}
        self._calls: dict[Any, str] = {}
        self._nodes = None if ray_settings.address is None else Nodes()
        self._next_look = self._next_probe = 0.0
        self._lost: list[Departed] = []
        """Replicas that were found to have departed before Ray reports it."""
        self._actor = self._ray.remote(ReplicaActor)
        if self._nodes is None:
            for _ in range(count):
                self.add()

    @property
    def size(self) -> int:
        """Number of started replicas that have not departed, ready or not."""
        return len(self._members)

    def add(self) -> None:
        """Start one more replica; in a cluster, only if a node waits for one."""
        if self._nodes is None:
            self._start(num_gpus=self._ray_settings.gpus_per_replica)
        elif (node := self._nodes.vacant()) is not None:
            self._start_on(node, self._nodes)

    def _start_on(self, node: Node, nodes: Nodes) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        affinity = NodeAffinitySchedulingStrategy(node.id, soft=False)
        name = self._start(num_gpus=0, resources={REPLICA_RESOURCE: 1}, scheduling_strategy=affinity)
        nodes.assign(node, name)

    def _start(self, **options: Any) -> str:
        name = f"{self._writer}-r{self._started}"
        self._started += 1
        actor = self._actor.options(
            name=name,
            num_cpus=0,
            max_restarts=0,
            max_task_retries=0,
            **options,
        ).remote(name, self._settings)
        self._members[name] = _Member(actor, time.monotonic())
        self._calls[actor.load.remote()] = name
        return name

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Return new events, waiting at most ``timeout`` seconds for the first one."""
        self._kill_those_that_never_load()
        if self._nodes is not None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + NODES_SECONDS
            self._follow(self._nodes)
        lost, self._lost = self._lost, []
        return [*lost, *self._answers(0.0 if lost else timeout)]

    def _answers(self, timeout: float) -> list[FleetEvent]:
        if not self._calls:
            if self._nodes is not None:
                time.sleep(timeout)  # wait for nodes
            return []
        calls = list(self._calls)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [self._event(call, self._calls.pop(call)) for call in ready]

    def _follow(self, nodes: Nodes) -> None:
        """Start a replica on each new node, and count the replicas of departed nodes as departed."""
        alive = [
            Node(node["NodeID"], node["NodeManagerAddress"], node["NodeManagerPort"])
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get(REPLICA_RESOURCE)
        ]
        new, lost = nodes.update(alive)
        for name in lost:
            self._lose(name)
        if time.monotonic() >= self._next_probe:
            self._next_probe = time.monotonic() + SILENT_SECONDS
            new += [node for node in nodes.silent() if node.answers()]
        for node in new:
            self._start_on(node, nodes)

    def _lose(self, name: str) -> None:
        """Count a replica as departed although its calls have not failed yet."""
        if (member := self._members.get(name)) is None:
            return
        self._lost.append(Departed(name, Departure.LOST, "its node is gone", not member.joined))
        self._calls = {call: replica for call, replica in self._calls.items() if replica != name}
        self._forget(name, Departure.LOST)

    def _kill_those_that_never_load(self) -> None:
        for name, member in list(self._members.items()):
            if not member.joined and not member.killed and time.monotonic() - member.started > LOAD_SECONDS:
                self.kill(name)

    def _event(self, call: Any, name: str) -> FleetEvent:
        errors = self._ray.exceptions
        member = self._members[name]
        try:
            answer = self._ray.get(call)
        except errors.RayTaskError as error:
            self._forget(name)
            cause = error.cause
            if isinstance(cause, NO_REPLACEMENT_MENDS):
                return Refused(name, cause)
            return Departed(name, Departure.CRASHED, f"{type(cause).__name__}: {first_line(cause)}", not member.joined)
        except errors.RayError as error:
            node = None if self._nodes is None else self._nodes.of(name)
            departure = _departure(member, error, node)
            self._forget(name, departure)
            return Departed(name, departure, _detail(error), not member.joined)
        if not member.joined:
            member.joined = True
            member.pid = answer["pid"]
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
        node = None if self._nodes is None else self._nodes.of(replica)
        if node is not None and not node.answers():
            self._lose(replica)
            return
        member.killed = True
        self._ray.kill(member.actor, no_restart=True)
        if self._ray_settings.address is None and member.pid is not None:
            # A stopped or hung process does not react to Ray's request to exit.
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)

    def release(self, replica: str) -> None:
        """Release a replica that has sent its last report; its node gets no other one."""
        if replica in self._members:
            self._forget(replica, Departure.DRAINED)

    def _forget(self, name: str, departure: Departure = Departure.CRASHED) -> None:
        member = self._members.pop(name)
        if self._nodes is not None:
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
        """End all replicas, and all of Ray if this process started it."""
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
