"""Outstanding leases by id, by replica and by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Holding:
    """Outstanding lease."""

    id: int
    index: int
    """Index of the chunk in the table."""
    replica: str
    since: float
    """Time of the grant in seconds."""
    items: int
    cost: float
    isolated: bool
    answered: int = 0
    """Number of items that its replica has reported an outcome for."""


class LeaseBook:
    """All outstanding leases. Ids count up from 1 and are never reused."""

    def __init__(self) -> None:
        self._last_id = 0
        self._by_id: dict[int, Holding] = {}
        self._by_chunk: dict[int, list[Holding]] = {}
        self._by_replica: dict[str, dict[int, Holding]] = {}

    @property
    def last_id(self) -> int:
        """Highest id that was assigned."""
        return self._last_id

    def grant(self, index: int, replica: str, now: float, *, items: int, cost: float, isolated: bool) -> Holding:
        """Record a new lease."""
        self._last_id += 1
        holding = Holding(self._last_id, index, replica, now, items, cost, isolated)
        self._by_id[holding.id] = holding
        self._by_chunk.setdefault(index, []).append(holding)
        self._by_replica.setdefault(replica, {})[holding.id] = holding
        return holding

    def end(self, holding: Holding) -> bool:
        """Remove a lease, and return whether no replica holds the chunk any more."""
        del self._by_id[holding.id]
        held = self._by_replica[holding.replica]
        del held[holding.id]
        if not held:
            del self._by_replica[holding.replica]
        holders = self._by_chunk[holding.index]
        holders.remove(holding)
        if holders:
            return False
        del self._by_chunk[holding.index]
        return True

    def get(self, lease_id: int, replica: str) -> Holding | None:
        """Return the lease if this replica holds it."""
        holding = self._by_id.get(lease_id)
        return holding if holding is not None and holding.replica == replica else None

    def of_replica(self, replica: str) -> tuple[Holding, ...]:
        """Return a replica's leases, oldest first."""
        return tuple(self._by_replica.get(replica, {}).values())

    def of_chunk(self, index: int) -> tuple[Holding, ...]:
        """Return a chunk's leases, oldest first."""
        return tuple(self._by_chunk.get(index, ()))

    def answered(self, index: int) -> int:
        """Return how many of a chunk's items have an outcome at the replica that is ahead."""
        return max((holding.answered for holding in self.of_chunk(index)), default=0)

    def copies(self, index: int) -> int:
        """Return the number of replicas that hold a chunk."""
        return len(self._by_chunk.get(index, ()))

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
