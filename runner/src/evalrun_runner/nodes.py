"""Which of a cluster's nodes has a replica, and which is to have one: pure bookkeeping.

One replica per node with the resource. A node that appears gets one at once; one whose replica crashed waits until the
driver asks for a replacement; one whose replica was drained or lost gets none any more: it is on its way out, and when
its pod comes back, it comes as another node.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A living Ray node. ``address`` and ``port`` are those of its raylet."""

    id: str
    address: str
    port: int

    def answers(self) -> bool:
        """Whether its raylet still accepts connections: Ray itself takes 13 s and more to find out."""
        try:
            socket.create_connection((self.address, self.port), PROBE_SECONDS).close()
        except OSError:
            return False
        return True


@dataclass(slots=True)
class Nodes:
    """The nodes that were seen last, each with what became of its replica."""

    _alive: dict[str, Node] = field(default_factory=dict)
    _replicas: dict[str, str] = field(default_factory=dict)
    """Node -> its replica."""
    _leaving: set[str] = field(default_factory=set)
    """Nodes that get no replica any more."""

    def see(self, alive: Iterable[Node]) -> tuple[list[Node], list[str]]:
        """Take in which nodes are alive; returns the new ones and the replicas of those that are gone."""
        now = {node.id: node for node in alive}
        new = [node for node in now.values() if node.id not in self._alive]
        lost = [replica for node, replica in self._replicas.items() if node not in now]
        self._replicas = {node: replica for node, replica in self._replicas.items() if node in now}
        self._leaving &= now.keys()
        self._alive = now
        return new, lost

    def place(self, node: Node, replica: str) -> None:
        """The node has a replica."""
        self._replicas[node.id] = replica

    def of(self, replica: str) -> Node | None:
        """The node of a replica, None if it has left."""
        return next((self._alive[node] for node, there in self._replicas.items() if there == replica), None)

    def vacate(self, replica: str, *, for_good: bool) -> None:
        """The replica is gone; ``for_good``: its node is not to have another one."""
        node = self.of(replica)
        if node is not None:
            del self._replicas[node.id]
            if for_good:
                self._leaving.add(node.id)

    def vacant(self) -> Node | None:
        """A node that may have a replica and has none."""
        free = (node for node in self._alive.values() if node.id not in self._replicas and node.id not in self._leaving)
        return next(free, None)
