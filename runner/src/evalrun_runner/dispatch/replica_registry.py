"""Registry of the present replicas, with the sums that each grant needs, and the history of all replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.replicas import ReplicaHealth


@dataclass(slots=True)
class ReplicaProgress:
    """History of one replica's name, over all its lives."""

    departures: int = 0
    chunks: int = 0
    """Number of committed chunks."""
    items: int = 0
    """Number of committed items."""
    leased_chunks: int = 0
    """Number of chunks that it holds now."""
    leased_items: int = 0
    """Number of items that it holds now."""
    alive: bool = False
    degraded: str | None = None
    """Problem of its store, if there is one."""


class ReplicaRegistry:
    """Replicas by name, with incrementally updated sums of speed and pace, so that a grant need not visit them all."""

    def __init__(self, half_life_s: float) -> None:
        self._half_life = half_life_s
        self._here: dict[str, ReplicaHealth] = {}
        self._history: dict[str, ReplicaProgress] = {}
        self._measured = 0
        """Number of replicas with a speed and a pace."""
        self._speeds = 0.0
        self._paces = 0.0

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Iterator[ReplicaHealth]:
        return iter(self._here.values())

    def get(self, name: str) -> ReplicaHealth | None:
        """Return the replica if it is present."""
        return self._here.get(name)

    def __getitem__(self, name: str) -> ReplicaHealth:
        return self._here[name]

    def join(self, name: str, now: float) -> None:
        """Add a replica."""
        self._here[name] = ReplicaHealth(name, reported=now, progressed=now, measured=now)
        history = self._history.setdefault(name, ReplicaProgress())
        history.alive = True

    def leave(self, replica: ReplicaHealth) -> None:
        """Remove a replica that no longer holds leases."""
        del self._here[replica.name]
        if replica.speed is not None and replica.pace is not None:
            self._measured -= 1
            self._speeds -= replica.speed
            self._paces -= replica.pace
        history = self._history[replica.name]
        history.alive = False
        history.departures += 1

    def take(self, holding: Holding, now: float) -> None:
        """Record that a lease was granted."""
        replica = self._here[holding.replica]
        replica.advance(now, self._half_life)
        if not replica.held_chunks:
            replica.progressed = now
        replica.held_chunks += 1
        replica.held_items += holding.items
        replica.held_cost += holding.cost

    def put(self, holding: Holding, now: float) -> None:
        """Record that a lease ended for any reason."""
        replica = self._here[holding.replica]
        replica.advance(now, self._half_life)
        replica.held_chunks -= 1
        replica.held_items -= holding.items
        replica.held_cost = replica.held_cost - holding.cost if replica.held_chunks else 0.0

    def worked(self, holding: Holding, now: float) -> None:
        """Record that a replica committed a lease that it still holds."""
        replica = self._here[holding.replica]
        if replica.speed is not None and replica.pace is not None:
            self._measured -= 1
            self._speeds -= replica.speed
            self._paces -= replica.pace
        replica.worked(holding.cost, holding.since, now, self._half_life)
        if replica.speed is not None and replica.pace is not None:
            self._measured += 1
            self._speeds += replica.speed
            self._paces += replica.pace

    def committed(self, name: str, items: int) -> None:
        """Credit a committed chunk to a replica, present or not."""
        history = self._history.setdefault(name, ReplicaProgress())
        history.chunks += 1
        history.items += items

    def part_of(self, replica: ReplicaHealth) -> float:
        """Return the replica's part of the total speed, 0 to 1. Unknown speeds count as the mean."""
        if not self._measured or self._speeds <= 0:
            return 1 / len(self._here)
        mean = self._speeds / self._measured
        own = mean if replica.speed is None else replica.speed
        return own / (mean * len(self._here))

    @property
    def pace(self) -> float | None:
        """Mean seconds from lease to commit per unit of cost; None before the first commit."""
        return self._paces / self._measured if self._measured else None

    def history(self) -> Mapping[str, ReplicaProgress]:
        """Return the current history of every replica that ever joined."""
        for name, history in self._history.items():
            here = self._here.get(name)
            history.leased_chunks = here.held_chunks if here else 0
            history.leased_items = here.held_items if here else 0
            history.degraded = here.degraded if here else None
        return self._history
