"""Assignment of replicas to a cluster's nodes: pure bookkeeping.

Each node with the resource has one replica. A new node gets a replica immediately. After a crash, the node waits until
the driver asks for a replacement. After a loss, it waits until the node answers again (usually the node is gone, and
its pod returns as another node). After a drain, the node gets no replica any more.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """Living Ray node, with the address and port of its raylet."""

    id: str
    address: str
    port: int

    def answers(self) -> bool:
        """Return whether its raylet still accepts connections; Ray itself takes 13 s or more to find out."""
        try:
            socket.create_connection((self.address, self.port), PROBE_SECONDS).close()
        except OSError:
            return False
        return True


@dataclass(slots=True)
class Nodes:
    """Nodes of the last listing, each with the state of its replica."""

    _alive: dict[str, Node] = field(default_factory=dict)
    _replicas: dict[str, str] = field(default_factory=dict)
    """Map from node id to its replica."""
    _silent: set[str] = field(default_factory=set)
    """Nodes whose replica was lost."""
    _leaving: set[str] = field(default_factory=set)
    """Nodes whose replica was drained."""

    def update(self, alive: Iterable[Node]) -> tuple[list[Node], list[str]]:
        """Update the living nodes, and return the new nodes and the replicas of departed nodes."""
        now = {node.id: node for node in alive}
        new = [node for node in now.values() if node.id not in self._alive]
        lost = [replica for node, replica in self._replicas.items() if node not in now]
        self._replicas = {node: replica for node, replica in self._replicas.items() if node in now}
        self._silent &= now.keys()
        self._leaving &= now.keys()
        self._alive = now
        return new, lost

    def assign(self, node: Node, replica: str) -> None:
        """Assign a replica to a node."""
        self._silent.discard(node.id)
        self._replicas[node.id] = replica

    def of(self, replica: str) -> Node | None:
        """Return the node of a replica, None if either departed."""
        return next((self._alive[node] for node, there in self._replicas.items() if there == replica), None)

    def vacate(self, replica: str) -> None:
        """Remove a departed replica whose node may get another one."""
        self._remove(replica)

    def lose(self, replica: str) -> None:
        """Remove a departed replica whose node failed, or has to answer again before it gets another replica."""
        if (node := self._remove(replica)) is not None:
            self._silent.add(node.id)

    def release(self, replica: str) -> None:
        """Remove a departed replica whose node is about to leave."""
        if (node := self._remove(replica)) is not None:
            self._leaving.add(node.id)

    def _remove(self, replica: str) -> Node | None:
        node = self.of(replica)
        if node is not None:
            del self._replicas[node.id]
        return node

    def vacant(self) -> Node | None:
        """Return a node without a replica that may have one."""
        taken = self._replicas.keys() | self._silent | self._leaving
        return next((node for node in self._alive.values() if node.id not in taken), None)

    def silent(self) -> list[Node]:
        """Return the nodes that Ray considers alive although their replica was lost."""
        return [self._alive[node] for node in sorted(self._silent)]
