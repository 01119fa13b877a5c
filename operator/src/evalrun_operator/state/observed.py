"""The state of one run at one moment, as plain values: made by ``observe``, read by ``plan``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from evalrun_api import EvalRun, Phase, Reason, RunLocation, RunProgress, RunResult


class DriverPhase(StrEnum):
    """Progress of the driver of an attempt."""

    WAITING = "waiting"
    """No pod of it runs: unscheduled, pulling its image, or being replaced after a disruption."""
    STARTING = "starting"
    """Its pod runs, preflight has not passed."""
    READY = "ready"
    """Preflight has passed: replicas are worth their GPUs."""
    SUCCEEDED = "succeeded"
    """It ended with COMPLETE in the store."""
    FAILED = "failed"
    """It ended without COMPLETE in the store."""
    LEAVING = "leaving"
    """It is being deleted."""

    @property
    def ended(self) -> bool:
        """Whether it does nothing more."""
        return self in {DriverPhase.SUCCEEDED, DriverPhase.FAILED}

    @property
    def lives(self) -> bool:
        """Whether it works, or will."""
        return not self.ended and self is not DriverPhase.LEAVING


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known of a Job's queue."""

    queue: str = ""
    """Kueue's queue that the Job's label names, whoever set it; '' without one."""
    since: datetime | None = None
    """Time at which the Job was suspended; None if it is not, or nobody has seen it yet."""
    message: str = ""
    """Why the Job waits, in Kueue's words; '' if it does not, or they are not known yet."""
    elsewhere: bool = False
    """Whether MultiKueue runs the Job in another cluster."""


@dataclass(frozen=True, slots=True)
class ObservedDriver:
    """The driver of one attempt."""

    phase: DriverPhase
    result: RunResult | None = None
    """Its RunResult; None while it has not ended, or if it died without one."""
    exit_code: int | None = None
    """Exit code of its container that ended last."""
    reason: Reason | None = None
    """What the cluster knows about its end: DeadlineExceeded, OutOfMemory."""
    obstacle: Reason | None = None
    """Why its pod does not start: PodsRefused, VolumeNotMounted, ImageNotPulled; None if nothing stands in its way."""
    detail: str = ""
    """For people: why it waits, or what it died of."""
    queued: bool = False
    """Whether its Job is suspended: it waits for admission by a queue."""
    admission: Admission = Admission()
    """The queue of its Job."""
    image_id: str = ""
    """The image that it runs, as its node reports it; '' while that is not known."""
    address: str | None = None
    """IP address of its pod, while it answers."""
    pod: str | None = field(default=None, compare=False)
    """Uid of its newest pod, while it has not ended. A new one is no news: what became of the one before it is."""
    disrupted: bool = False
    """Whether its pod was told to leave: deleted, drained, preempted, evicted, or lost with its node."""
    ended_at: datetime | None = None
    """Time of its end."""

    @property
    def done(self) -> bool:
        """Whether it brought the run's results."""
        return self.phase is DriverPhase.SUCCEEDED and self.result is not None and self.result.phase is Phase.SUCCEEDED


@dataclass(frozen=True, slots=True)
class ObservedReplicas:
    """The replica pods of one attempt."""

    count: int
    """Desired number of pods."""
    active: int = 0
    """Pods that are pending or running: they hold, or will hold, GPUs."""
    running: int = 0
    """Pods that run and are ready."""
    ended: bool = False
    """Whether nothing more of it will run: all of its pods exited with 0, or it failed."""
    queued: bool = False
    """Whether its Job is suspended: it waits for admission by a queue."""
    admission: Admission = Admission()
    """The queue of its Job."""
    leaving: bool = False
    """Whether it is being deleted."""
    obstacle: Reason | None = None
    """Why pods do not start: PodsRefused, VolumeNotMounted, ImageNotPulled; None if nothing stands in their way."""
    detail: str = ""
    """For people: why pods do not run, or what the last ones died of."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The existing children of one attempt."""

    driver: ObservedDriver | None = None
    replicas: ObservedReplicas | None = None
    created_at: datetime | None = None
    """Creation time of its driver."""
    pod_waits: bool = False
    """Whether a pod of it cannot start for want of something that it reads."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An object named by the spec that cannot be used."""

    field: str
    """Field of the spec, such as spec.output.storage.credentialsSecretRef."""
    reason: Reason
    """NotFound, SecretNotAllowed, NotAllowed or InvalidSpec; Forbidden or Retrying where it is not known whether it can
    be used.
    """
    message: str
    """What is wrong, what is expected, what to do."""

    @property
    def unread(self) -> bool:
        """Whether it could not be read: it may be as it should be."""
        return self.reason in {Reason.FORBIDDEN, Reason.RETRYING}


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """Why this version of the operator cannot use a spec that the API server let through."""

    message: str
    """What is wrong and where, for people."""
    unknown: bool = False
    """Whether there are fields, or words, that this version does not know. The API server knew them, so its definition,
    and with it the spec, is another version's.
    """
    engine_only: bool = False
    """Whether it is about engine arguments alone: only the runner reads them, no child is made from them."""


@dataclass(frozen=True, slots=True)
class References:
    """The objects that the names in a spec stand for; all of them exist if ``problems`` is empty."""

    problems: tuple[Missing, ...] = ()
    runs: Mapping[str, RunLocation] = field(default_factory=dict)
    """Results of other runs, by the name of the run."""
    first_config: Mapping[str, Any] | None = None
    """RunConfig of the first attempt as it was written, perhaps by another version; None: there is none."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One run with everything known about it."""

    run: EvalRun
    """The EvalRun; metadata.name, namespace and uid are always set."""
    attempts: Mapping[int, Attempt] = field(default_factory=dict)
    """Attempts of which something exists, by number."""
    progress: RunProgress | None = None
    """Answer of the present driver; None if it does not answer."""
    references: References | None = None
    """None where they are not needed: an attempt is in progress, or the run is finished."""
    invalid: SpecProblem | None = None
    """Why the spec cannot be used as it is; ``run.spec`` then holds only what could be read. None if it can."""
    token_lost: bool = False
    """Whether a pod of the present attempt waits for the run's Secret, which is gone: a new one has another token."""

    @property
    def last_attempt(self) -> int:
        """Highest attempt that is recorded or exists; 0 before the first."""
        recorded = self.run.status.attempt if self.run.status else None
        return max([recorded or 0, *self.attempts])

    def attempt(self, number: int) -> Attempt:
        """Return the existing children of an attempt."""
        return self.attempts.get(number, Attempt())

    @property
    def present(self) -> Attempt:
        """The existing children of the last attempt."""
        return self.attempt(self.last_attempt)

    @property
    def count(self) -> int:
        """Desired number of replicas: the recorded one where the spec may not be readable."""
        recorded = self.run.status.replicas if self.run.status else None
        if self.invalid is not None and recorded is not None:
            return recorded.desired
        return self.run.spec.replicas.count

    @property
    def unusable(self) -> SpecProblem | None:
        """The problem that keeps children from being made; None if they can be.

        A spec is judged once. When a run has begun, another version of the operator has accepted its engine arguments,
        and every attempt gets the input of the first.
        """
        settled = self.invalid is not None and self.invalid.engine_only and self.last_attempt > 0
        return None if settled else self.invalid
