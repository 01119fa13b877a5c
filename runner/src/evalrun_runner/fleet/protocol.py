"""What the driver needs of a set of replicas, whoever runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.errors import EvalRunError
from evalrun_runner.records.messages import Order, Report


@dataclass(frozen=True, slots=True)
class Joined:
    """A replica has loaded its engine and can take leases."""

    replica: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answered:
    """A replica's report; it waits for an order."""

    replica: str
    report: Report


@dataclass(frozen=True, slots=True)
class Gone:
    """A replica has left: it crashed, was killed, or its node went. ``before_joining``: it never took a lease."""

    replica: str
    departure: Departure
    detail: str
    before_joining: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A replica says why it cannot work: its model does not load, its store refuses. No replacement mends that."""

    replica: str
    error: EvalRunError


FleetEvent = Joined | Answered | Gone | Refused


class Fleet(Protocol):
    """Replicas. One that leaves is not replaced by itself: the driver decides."""

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """What happened, waiting at most ``timeout`` seconds for something."""

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Answer a replica; it reports again within ``wait`` seconds."""

    def kill(self, replica: str) -> None:
        """End a replica that is silent or hangs; comes back as ``Gone``."""

    def release(self, replica: str) -> None:
        """Let a replica go that has reported for the last time: its machine asked it to leave."""

    def add(self) -> None:
        """Start one more, if there is a place for it."""

    @property
    def size(self) -> int:
        """Replicas that were started and have not left, ready or not."""

    def shutdown(self) -> None:
        """End all replicas and free what they hold."""
