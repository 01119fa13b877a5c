"""Which of a cluster's nodes has a replica, and which is to have one: pure bookkeeping.

One replica per node with the resource. A node that appears gets one at once; one whose replica crashed waits until the
driver asks for a replacement; one whose replica was lost waits until the node is heard of again (mostly it is gone, and
when its pod comes back, it comes as another node); one whose replica was drained gets none any more.
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
    _silent: set[str] = field(default_factory=set)
    """Nodes whose replica was lost."""
    _leaving: set[str] = field(default_factory=set)
    """Nodes whose replica was drained."""

    def see(self, alive: Iterable[Node]) -> tuple[list[Node], list[str]]:
        """Take in which nodes are alive; returns the new ones and the replicas of those that are gone."""
        now = {node.id: node for node in alive}
        new = [node for node in now.values() if node.id not in self._alive]
        lost = [replica for node, replica in self._replicas.items() if node not in now]
        self._replicas = {node: replica for node, replica in self._replicas.items() if node in now}
        self._silent &= now.keys()
        self._leaving &= now.keys()
        self._alive = now
        return new, lost

    def place(self, node: Node, replica: str) -> None:
        """The node has a replica."""
        self._silent.discard(node.id)
        self._replicas[node.id] = replica

    def of(self, replica: str) -> Node | None:
        """The node of a replica, None if it has left."""
        return next((self._alive[node] for node, there in self._replicas.items() if there == replica), None)

    def vacate(self, replica: str) -> None:
        """The replica is gone, its node may have another one."""
        self._remove(replica)

    def lose(self, replica: str) -> None:
        """The replica is gone, and so is its node, or it will be heard of again."""
        if (node := self._remove(replica)) is not None:
            self._silent.add(node.id)

    def release(self, replica: str) -> None:
        """The replica is gone, its node is to follow."""
        if (node := self._remove(replica)) is not None:
            self._leaving.add(node.id)

    def _remove(self, replica: str) -> Node | None:
        node = self.of(replica)
        if node is not None:
            del self._replicas[node.id]
        return node

    def vacant(self) -> Node | None:
        """A node that may have a replica and has none."""
        taken = self._replicas.keys() | self._silent | self._leaving
        return next((node for node in self._alive.values() if node.id not in taken), None)

    def silent(self) -> list[Node]:
        """Nodes that Ray takes to be alive though their replica was lost."""
        return [self._alive[node] for node in sorted(self._silent)]
