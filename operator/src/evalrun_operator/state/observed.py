"""What the operator knows of one run at one moment. Plain values: made by ``observe``, read by ``plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from evalrun_api import EvalRun, Reason, RunProgress, RunResult
from evalrun_api.wire.runconfig import RunLocation


class DriverPhase(StrEnum):
    """How far the driver of an attempt is."""

    WAITING = "waiting"
    """No pod of it runs: not scheduled, its image is being pulled, or it is being replaced after a disruption."""
    STARTING = "starting"
    """Its pod runs, preflight has not passed."""
    READY = "ready"
    """Preflight has passed: replicas are worth their GPUs."""
    SUCCEEDED = "succeeded"
    """It ended with COMPLETE in the store."""
    FAILED = "failed"
    """It ended without."""
    LEAVING = "leaving"
    """It is being deleted."""

    @property
    def ended(self) -> bool:
        """Whether it will do nothing more."""
        return self in {DriverPhase.SUCCEEDED, DriverPhase.FAILED}


@dataclass(frozen=True, slots=True)
class ObservedDriver:
    """The driver of one attempt."""

    phase: DriverPhase
    result: RunResult | None = None
    """Its last words; None where it is not at its end or died without."""
    exit_code: int | None = None
    """Of its container that ended last."""
    reason: Reason | None = None
    """What the cluster knows of its end: DeadlineExceeded, OutOfMemory."""
    detail: str = ""
    """For people: why it waits, or what it died of."""
    address: str | None = None
    """IP of its pod, where it answers."""
    ended_at: datetime | None = None
    """When it ended."""


@dataclass(frozen=True, slots=True)
class ObservedReplicas:
    """The replicas' pods of one attempt."""

    count: int
    """Pods asked for."""
    active: int = 0
    """Pods that are pending or running: they hold, or will hold, GPUs."""
    running: int = 0
    """Pods that run."""
    ended: bool = False
    """Nothing more of it will run: all of its pods left with 0, or it failed."""
    queued: bool = False
    """Waits for admission by a queue."""
    leaving: bool = False
    """It is being deleted."""
    detail: str = ""
    """For people: why pods do not run, or what the last ones died of."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is there of one attempt."""

    driver: ObservedDriver | None = None
    replicas: ObservedReplicas | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """Something the spec names that cannot be used."""

    field: str
    """spec.output.storage.credentialsSecretRef"""
    reason: Reason
    """NotFound, SecretNotAllowed, InvalidSpec."""
    message: str
    """What was wrong, what is expected, what to do."""


@dataclass(frozen=True, slots=True)
class References:
    """What the names in a spec stand for. ``problems`` empty: everything is there."""

    problems: tuple[Missing, ...] = ()
    runs: Mapping[str, RunLocation] = field(default_factory=dict)
    """Results of other runs, by the run's name."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One run and everything about it."""

    run: EvalRun
    """metadata.name, namespace and uid are always there."""
    attempts: Mapping[int, Attempt] = field(default_factory=dict)
    """By number, those of which something is there."""
    progress: RunProgress | None = None
    """What the present driver says; None where it does not answer."""
    references: References | None = None
    """None where nobody needed them: an attempt is on its way, or the run is finished."""
    invalid: str | None = None
    """Why the spec breaks a rule that the API server let through."""

    @property
    def last_attempt(self) -> int:
        """The highest attempt that is recorded or there; 0 before the first."""
        recorded = self.run.status.attempt if self.run.status else None
        return max([recorded or 0, *self.attempts])
