"""Interface between the driver and a set of replicas, whoever runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.errors import EvalRunError, InputError, LedgerCorrupt, StoreError
from evalrun_runner.records.messages import Order, Report

if TYPE_CHECKING:
    from evalrun_runner.replica.settings import ReplicaSettings


@dataclass(frozen=True, slots=True)
class Joined:
    """Event: a replica has loaded its engine and can take leases."""

    replica: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answered:
    """Event: a replica has reported and waits for an order."""

    replica: str
    report: Report


@dataclass(frozen=True, slots=True)
class Departed:
    """Event: a replica has departed, because it crashed, was killed, or its node failed."""

    replica: str
    departure: Departure
    detail: str
    before_joining: bool
    """Whether it never took a lease."""
    unstarted: bool = False
    """Whether its process ended, or was given up, before it said a word: no model was loaded and no item seen."""
    output: str = ""
    """The last lines of its output, for people; empty where they are on another machine."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Event: a replica cannot work, and no replacement can (its model does not load, its store refuses)."""

    replica: str
    error: EvalRunError


def is_final(error: BaseException) -> bool:
    """Return whether every replacement would meet this error too; any other may be due to one's GPU or machine."""
    return isinstance(error, InputError | StoreError | LedgerCorrupt)


FleetEvent = Joined | Answered | Departed | Refused


class Fleet(Protocol):
    """Set of replicas. A departed replica is not replaced automatically: the driver decides."""

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Return new events, waiting at most ``timeout`` seconds for the first one."""

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Answer a replica; it reports again within ``wait`` seconds."""

    def kill(self, replica: str) -> None:
        """Kill a replica that is silent or hangs; its departure follows as an event."""

    def release(self, replica: str) -> None:
        """Release a replica that has sent its last report because its machine asked it to leave."""

    def add(self) -> None:
        """Start one more replica, if there is a free slot for it."""

    @property
    def size(self) -> int:
        """Number of started replicas that have not departed, ready or not."""

    def shutdown(self) -> None:
        """End all replicas and free their resources."""


class StartFleet(Protocol):
    """The last step of a fleet's start: the preflight has passed, and engines may be loaded."""

    def __call__(self, settings: ReplicaSettings, *, writer: str) -> Fleet:
        """Start the replicas; ``writer`` prefixes their names and is unique among all drivers of a run.

        Raises:
            RunFailed: They cannot be started.
        """


@runtime_checkable
class Staged(Protocol):
    """Fleet that knows what its replicas do before they are ready."""

    @property
    def stages(self) -> tuple[str, ...]:
        """What each replica that is not ready does, in words for people, as ``e1-r0 loads its engine for 35 s``."""
