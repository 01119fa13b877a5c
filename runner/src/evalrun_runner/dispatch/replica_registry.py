"""The replicas that are here, with the sums over them that each grant needs, and what became of those that left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.replicas import ReplicaHealth


@dataclass(slots=True)
class ReplicaProgress:
    """What became of one replica's name, over all its lives."""

    joins: int = 0
    crashes: int = 0
    """Departures that cast suspicion (crashed, or killed as hung)."""
    departures: int = 0
    chunks: int = 0
    """Committed."""
    items: int = 0
    """Committed."""
    leased_chunks: int = 0
    """Held now."""
    leased_items: int = 0
    """Held now."""
    alive: bool = False
    degraded: str | None = None
    """Why its store is in trouble, if it is."""


class ReplicaRegistry:
    """Replicas by name. Sums of speed and pace are kept as they change, so that a grant does not look at them all."""

    def __init__(self, half_life_s: float) -> None:
        self._half_life = half_life_s
        self._here: dict[str, ReplicaHealth] = {}
        self._history: dict[str, ReplicaProgress] = {}
        self._measured = 0
        """How many replicas have a speed and a pace."""
        self._speeds = 0.0
        self._paces = 0.0

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Iterator[ReplicaHealth]:
        return iter(self._here.values())

    def get(self, name: str) -> ReplicaHealth | None:
        """The replica, if it is here."""
        return self._here.get(name)

    def __getitem__(self, name: str) -> ReplicaHealth:
        return self._here[name]

    def join(self, name: str, now: float) -> None:
        """Welcome a replica."""
        self._here[name] = ReplicaHealth(name, heard=now, progressed=now, measured=now)
        history = self._history.setdefault(name, ReplicaProgress())
        history.joins += 1
        history.alive = True

    def leave(self, replica: ReplicaHealth, cause: Departure) -> None:
        """Strike a replica out; it holds nothing any more."""
        del self._here[replica.name]
        if replica.speed is not None and replica.pace is not None:
            self._measured -= 1
            self._speeds -= replica.speed
            self._paces -= replica.pace
        history = self._history[replica.name]
        history.alive = False
        history.departures += 1
        history.crashes += cause.suspicious

    def take(self, holding: Holding, now: float) -> None:
        """A lease was granted."""
        replica = self._here[holding.replica]
        replica.advance(now, self._half_life)
        if not replica.held_chunks:
            replica.progressed = now
        replica.held_chunks += 1
        replica.held_items += holding.items
        replica.held_cost += holding.cost

    def put(self, holding: Holding, now: float) -> None:
        """A lease ended, one way or the other."""
        replica = self._here[holding.replica]
        replica.advance(now, self._half_life)
        replica.held_chunks -= 1
        replica.held_items -= holding.items
        replica.held_cost = replica.held_cost - holding.cost if replica.held_chunks else 0.0

    def worked(self, holding: Holding, now: float) -> None:
        """A lease that is still out was committed by its replica."""
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
        """Credit a chunk to a replica, here or not."""
        history = self._history.setdefault(name, ReplicaProgress())
        history.chunks += 1
        history.items += items

    def part_of(self, replica: ReplicaHealth) -> float:
        """The replica's part, by speed, of what all replicas do together: 0 to 1. Unknown speeds count as the mean."""
        if not self._measured or self._speeds <= 0:
            return 1 / len(self._here)
        mean = self._speeds / self._measured
        own = mean if replica.speed is None else replica.speed
        return own / (mean * len(self._here))

    @property
    def pace(self) -> float | None:
        """Seconds from lease to commit per unit of cost, over all; None before the first commit."""
        return self._paces / self._measured if self._measured else None

    def history(self) -> Mapping[str, ReplicaProgress]:
        """What became of every replica that ever joined, brought up to date."""
        for name, history in self._history.items():
            here = self._here.get(name)
            history.leased_chunks = here.held_chunks if here else 0
            history.leased_items = here.held_items if here else 0
            history.degraded = here.degraded if here else None
        return self._history
