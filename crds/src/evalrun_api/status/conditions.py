"""Phases, condition types and reasons of an EvalRun: the whole vocabulary of its status, each word explained."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evalrun_api.base import Reported


class Phase(StrEnum):
    """A summary for people; programs read conditions."""

    PENDING = "Pending"
    """The operator has not acted on the run yet."""
    QUEUED = "Queued"
    """The run waits for admission by Kueue."""
    STARTING = "Starting"
    """Preflight runs, or replicas load the model; no item is answered yet."""
    RUNNING = "Running"
    """Items are being answered."""
    SUSPENDED = "Suspended"
    """policy.suspend is true: no pods run, what is committed stays."""
    FINISHING = "Finishing"
    """Every item is finished; scores are being aggregated."""
    SUCCEEDED = "Succeeded"
    """Every planned item is finished or, with policy.stopEarly, skipped; failures are within the limit; results are
    written. Gates are conditions.
    """
    FAILED = "Failed"
    """The run ended without its results; what is committed stays."""
    INVALID = "Invalid"
    """The user's input is wrong; no retry helps."""
    CANCELLED = "Cancelled"
    """The user stopped the run for good."""

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self in {Phase.SUCCEEDED, Phase.FAILED, Phase.INVALID, Phase.CANCELLED}


class ConditionType(StrEnum):
    """Statements about a run that can be true or false."""

    ACCEPTED = "Accepted"
    """The spec is valid, and everything that it names exists."""
    ADMITTED = "Admitted"
    """The run may use its resources: Kueue admitted it, or it names no queue."""
    REPLICAS_READY = "ReplicasReady"
    """At least minCount replicas answer requests."""
    COMPLETE = "Complete"
    """Results are written and final."""
    FAILED = "Failed"
    """The run ended without its results."""
    SUSPENDED = "Suspended"
    """The run is stopped by policy.suspend and can resume."""
    STORAGE_DEGRADED = "StorageDegraded"
    """The store refuses or delays writes; the run waits or slows down."""
    GATE_PASSED = "GatePassed"
    """Every gate that counts passed (True), one failed (False), or the evidence is insufficient (Unknown)."""
    RECONCILING = "Reconciling"
    """kstatus: the run has no results and may get them; also while it is suspended."""
    STALLED = "Stalled"
    """kstatus: the run failed, or a gate failed or was not decided; nothing more happens by itself."""


class ConditionStatus(StrEnum):
    """The three values of a condition in Kubernetes."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition has its status, and why a run failed."""

    # in progress
    PENDING = "Pending"
    """Nothing has been tried yet."""
    ACCEPTED = "Accepted"
    """The spec is valid."""
    WAITING_FOR_ADMISSION = "WaitingForAdmission"
    """Kueue has not admitted the run yet."""
    ADMITTED = "Admitted"
    """Kueue admitted the run."""
    NO_QUEUE = "NoQueue"
    """The run's Jobs are in no queue; it starts at once."""
    MULTI_KUEUE_NOT_SUPPORTED = "MultiKueueNotSupported"
    """The run's queue sends Jobs to other clusters, where the rest of the run is not."""
    PREFLIGHT = "Preflight"
    """Store, model, tasks and engine arguments are being checked, before any GPU is requested."""
    WAITING_FOR_REPLICAS = "WaitingForReplicas"
    """Fewer than minCount replicas exist: no capacity, preempted, or not scheduled."""
    PODS_REFUSED = "PodsRefused"
    """The API server refuses the run's pods: a quota, a policy, a webhook, or something that they name is missing."""
    VOLUME_NOT_MOUNTED = "VolumeNotMounted"
    """A volume of the run's pods cannot be attached or mounted."""
    IMAGE_NOT_PULLED = "ImageNotPulled"
    """The image of the run's pods cannot be pulled."""
    LOADING_MODEL = "LoadingModel"
    """Replicas fetch and load the weights."""
    READY = "Ready"
    """All replicas answer requests."""
    DEGRADED = "Degraded"
    """Some replicas answer requests, but fewer than desired."""
    CHILD_REFUSED = "ChildRefused"
    """The API server, a quota or a policy refuses an object that the run needs; it is tried again."""
    RUNNING = "Running"
    """Items are being answered."""
    RETRYING = "Retrying"
    """An attempt failed, or what it needs could not be read; it is tried again, from what is committed."""
    AGGREGATING = "Aggregating"
    """Scores are being computed from the committed parts."""
    SUSPENDED_BY_USER = "SuspendedByUser"
    """policy.suspend is true."""
    RESUMED = "Resumed"
    """policy.suspend is false again."""

    # success
    SUCCEEDED = "Succeeded"
    """All results are written."""
    STOPPED_EARLY = "StoppedEarly"
    """All results are written; policy.stopEarly ended the run before every planned item was evaluated."""
    GATES_PASSED = "GatesPassed"
    """Every gate passed."""
    NO_GATES = "NoGates"
    """The run has no gates."""

    # gates
    GATE_FAILED = "GateFailed"
    """A score misses its bound, beyond chance."""
    INCONCLUSIVE = "Inconclusive"
    """The evidence is insufficient: too few items to tell, or items without a score, here or in the baseline."""
    BASELINE_MISSING = "BaselineMissing"
    """The run to compare with has no results, or none for this score."""
    SCORE_MISSING = "ScoreMissing"
    """The run has no score of this task, metric and filter, or it could not be computed."""

    # the user's input
    INVALID_SPEC = "InvalidSpec"
    """The spec breaks a rule that the API server could not check."""
    ANOTHER_VERSION = "AnotherVersion"
    """The spec is for another version of EvalRun than the operator's: the run is left as it is."""
    NOT_FOUND = "NotFound"
    """An object or run that the spec names does not exist."""
    SECRET_NOT_ALLOWED = "SecretNotAllowed"  # noqa: S105 (a reason, no password)
    """A Secret that the spec names lacks the label evalrun.dev/use: storage."""
    NOT_ALLOWED = "NotAllowed"
    """A ConfigMap or claim that the spec names lacks the label evalrun.dev/use: storage."""
    FORBIDDEN = "Forbidden"
    """The operator may not read an object that the spec names: nothing is known about it, and the run waits."""
    TASK_INVALID = "TaskInvalid"
    """A task is unknown, its data is missing or empty, or it contains code that is not allowed."""
    SANDBOX_UNAVAILABLE = "SandboxUnavailable"
    """A benchmark runs code that the model writes, and the pod's node can set up no sandbox for it."""
    MODEL_INVALID = "ModelInvalid"
    """The model does not exist, is damaged, has another digest, or the engine cannot load it."""
    ENGINE_ARGUMENTS_INVALID = "EngineArgumentsInvalid"
    """The engine refused its arguments."""
    NUMERICS_NOT_STRICT = "NumericsNotStrict"
    """With numerics: strict, answers of the engine changed with the batch that they were computed in."""
    ADAPTER_HAS_NO_EFFECT = "AdapterHasNoEffect"
    """With an adapter, the engine's log-probabilities were those of the model without it."""
    PLAN_MISMATCH = "PlanMismatch"
    """The output, or the run of resumeFrom, was made from another plan."""

    # storage
    STORAGE_OK = "StorageOk"
    """Writes succeed."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """The store does not answer or answers 5xx; it is retried."""
    STORAGE_DENIED = "StorageDenied"
    """The store refuses the credentials, or the bucket does not exist."""
    STORAGE_FULL = "StorageFull"
    """No space is left where the run writes."""
    STORAGE_UNSAFE = "StorageUnsafe"
    """The store lets two writers create one object, so that results could be lost."""
    LEDGER_CORRUPT = "LedgerCorrupt"
    """An object of the run that cannot be created again fails its checksum."""

    # failure
    TOO_MANY_FAILED_ITEMS = "TooManyFailedItems"
    """More items failed or were quarantined than policy.maxFailedItems allows."""
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    """policy.maxAttempts attempts failed."""
    DISRUPTIONS_EXHAUSTED = "DisruptionsExhausted"
    """The driver was disrupted more than policy.maxDisruptions times in a row, and no item was finished in between."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """policy.activeDeadlineSeconds has passed."""
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    """policy.startDeadlineSeconds has passed, and the attempt answered no item."""
    OUT_OF_MEMORY = "OutOfMemory"
    """The memory of the host or GPU was insufficient, even with a smaller batch."""
    REPLICAS_FAILED = "ReplicasFailed"
    """Replicas died repeatedly."""
    DRIVER_FAILED = "DriverFailed"
    """The driver died without a result message."""
    SUPERSEDED = "Superseded"
    """A later driver took over the run."""
    INTERRUPTED = "Interrupted"
    """The run was asked to stop; the same command resumes it."""
    CANCELLED = "Cancelled"
    """The user stopped the run for good."""
    INTERNAL_ERROR = "InternalError"
    """A defect of EvalRun; please report it."""


class Condition(Reported):
    """One condition, in Kubernetes' form."""

    type: Annotated[str, Field(max_length=316)]
    """What is true or false: one of ConditionType."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, as one word: one of Reason."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, as a sentence for people."""
    last_transition_time: datetime
    """Time at which status last changed."""
    observed_generation: Annotated[int | None, Field(ge=0)] = None
    """Generation of the spec that this is about."""
