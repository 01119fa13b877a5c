"""Who holds what: leases by id, by replica and by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)
class Holding:
    """A lease that is out."""

    id: int
    index: int
    """The chunk's index in the table."""
    replica: str
    since: float
    """When it was granted, seconds."""
    items: int
    cost: float
    isolated: bool


class LeaseBook:
    """All leases that are out. Ids count up from 1 and are never used again."""

    def __init__(self) -> None:
        self._last_id = 0
        self._by_id: dict[int, Holding] = {}
        self._by_chunk: dict[int, list[Holding]] = {}
        self._by_replica: dict[str, dict[int, Holding]] = {}

    @property
    def last_id(self) -> int:
        """The highest id that was given out."""
        return self._last_id

    def grant(self, index: int, replica: str, now: float, *, items: int, cost: float, isolated: bool) -> Holding:
        """Write down a new lease."""
        self._last_id += 1
        holding = Holding(self._last_id, index, replica, now, items, cost, isolated)
        self._by_id[holding.id] = holding
        self._by_chunk.setdefault(index, []).append(holding)
        self._by_replica.setdefault(replica, {})[holding.id] = holding
        return holding

    def end(self, holding: Holding) -> bool:
        """Strike a lease out; returns whether nobody holds the chunk any more."""
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
        """The lease, if this replica holds it."""
        holding = self._by_id.get(lease_id)
        return holding if holding is not None and holding.replica == replica else None

    def of_replica(self, replica: str) -> tuple[Holding, ...]:
        """What a replica holds, oldest first."""
        return tuple(self._by_replica.get(replica, {}).values())

    def of_chunk(self, index: int) -> tuple[Holding, ...]:
        """Who holds a chunk, oldest first."""
        return tuple(self._by_chunk.get(index, ()))

    def copies(self, index: int) -> int:
        """How many replicas hold a chunk."""
        return len(self._by_chunk.get(index, ()))

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
