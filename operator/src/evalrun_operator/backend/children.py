"""Jobs and pods of the API server, parsed once into plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from evalrun_api.base import KIND
from evalrun_api.wire.pods import LABEL_ATTEMPT, LABEL_COMPONENT, LABEL_RUN, Component
from evalrun_operator.backend import values as read
from evalrun_operator.kube.objects import JOBS, PODS, Manifest
from evalrun_operator.names import LABEL_QUEUE
from evalrun_operator.state.backend import Objects

TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
"""Finalizer that keeps a pod until its Job has counted it."""
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation with the index of a pod of an Indexed Job."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TrueCondition:
    """A condition whose status is True."""

    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Job:
    """A Job of a run."""

    name: str
    uid: str
    attempt: int
    component: Component
    deleting: bool
    suspended: bool
    queue: str
    """Kueue queue; '' without one."""
    parallelism: int
    completions: int
    closed: int
    """Number of completed indexes: a pod of theirs exited with 0, and no other pod follows."""
    failed_indexes: str
    """Indexes whose pods failed too often, as in ``1,3-5``."""
    ended_at: datetime | None
    conditions: Mapping[str, TrueCondition]
    """Conditions that are True, by type."""

    @property
    def complete(self) -> TrueCondition | None:
        """The condition of success; while the interim one is set, all of its pods have ended already."""
        return self.conditions.get("Complete") or self.conditions.get("SuccessCriteriaMet")

    @property
    def failed(self) -> TrueCondition | None:
        """The condition of failure, with all pods ended."""
        return self.conditions.get("Failed")

    @property
    def failing(self) -> TrueCondition | None:
        """The condition of failure, perhaps with pods that still terminate."""
        return self.failed or self.conditions.get("FailureTarget")


@dataclass(frozen=True, slots=True)
class Terminated:
    """End of a container."""

    exit_code: int | None
    reason: str
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a run; ``waiting``, ``running`` and ``terminated`` are those of its driver or replica container."""

    name: str
    uid: str
    job: str
    """Uid of its Job."""
    created: datetime
    deleting_at: datetime | None
    """Time at which it should have ended: deletionTimestamp includes the grace period."""
    phase: str
    node: str
    address: str
    finalizers: tuple[str, ...]
    index: int | None
    ready: bool
    disrupted: bool
    """Whether DisruptionTarget is True: preempted, drained, evicted, or lost with its node."""
    unschedulable: str
    """Why no node fits it."""
    note: str
    """Reason and message of the pod itself, as set by an eviction."""
    waiting: tuple[str, str]
    """Reason and message of a container that cannot start."""
    running: bool
    terminated: Terminated | None
    image_id: str
    """Image of a driver as its node reports it; '' before it has run, and for replicas."""

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def left_with_success(self) -> bool:
        """Whether its container exited with 0."""
        return self.phase == "Succeeded" or (self.terminated is not None and self.terminated.exit_code == 0)

    @property
    def active(self) -> bool:
        """Whether it holds, or waits for, its resources and is not being deleted."""
        return self.phase in {"Pending", "Running"} and self.deleting_at is None

    @property
    def ended_at(self) -> datetime:
        """Time at which its container ended; the creation time for a pod without one."""
        return (self.terminated.at if self.terminated else None) or self.created


@dataclass(frozen=True, slots=True)
class Children:
    """The Jobs of a run with their pods, oldest first."""

    jobs: tuple[Job, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    """Pods by the uid of their Job, also of Jobs that are deleted."""

    def of(self, job: Job) -> tuple[Pod, ...]:
        """Return the pods of a Job."""
        return self.pods.get(job.uid, ())


def children(objects: Objects) -> Children:
    """Parse every well-formed object."""
    pods: dict[str, list[Pod]] = {}
    for pod in filter(None, map(_pod, objects.of(PODS))):
        pods.setdefault(pod.job, []).append(pod)
    return Children(
        tuple(filter(None, map(_job, objects.of(JOBS)))),
        {job: tuple(sorted(each, key=lambda pod: (pod.created, pod.name))) for job, each in pods.items()},
    )


def _job(manifest: Manifest) -> Job | None:
    """Parse a Job; return None unless the run owns it: anybody can set labels, but not the owner."""
    metadata, spec, status = (read.mapping(manifest, part) for part in ("metadata", "spec", "status"))
    labels = read.mapping(metadata, "labels")
    attempt, component = read.count(read.text(labels, LABEL_ATTEMPT)), read.text(labels, LABEL_COMPONENT)
    name, uid = read.text(metadata, "name"), read.text(metadata, "uid")
    ours = _owner(metadata, KIND) == read.text(labels, LABEL_RUN) != ""
    if not (name and uid and ours and attempt and component in set(Component)):
        return None
    conditions = _true(read.mappings(status, "conditions"))
    failed = conditions.get("Failed")
    parallelism, completions = (read.integer(spec, size) for size in ("parallelism", "completions"))
    return Job(
        name=name,
        uid=uid,
        attempt=attempt,
        component=Component(component),
        deleting=bool(metadata.get("deletionTimestamp")),
        suspended=read.flag(spec, "suspend"),
        queue=read.text(labels, LABEL_QUEUE),
        parallelism=1 if parallelism is None else parallelism,
        completions=1 if completions is None else completions,
        closed=_indexes(read.text(status, "completedIndexes"), completions or 0),
        failed_indexes=read.text(status, "failedIndexes"),
        ended_at=read.moment(status, "completionTime") or (failed.since if failed else None),
        conditions=conditions,
    )


def _pod(manifest: Manifest) -> Pod | None:
    """Parse a pod of a Job."""
    metadata, status = read.mapping(manifest, "metadata"), read.mapping(manifest, "status")
    name, uid, job = read.text(metadata, "name"), read.text(metadata, "uid"), _owner(metadata, "Job")
    if not (name and uid and job):
        return None
    annotations = read.mapping(metadata, "annotations")
    conditions = read.mappings(status, "conditions")
    true = _true(conditions)
    # Other containers may have been injected into the pod, as service meshes do.
    container = next(
        (each for each in read.mappings(status, "containerStatuses") if read.text(each, "name") in set(Component)), {}
    )
    return Pod(
        name=name,
        uid=uid,
        job=job,
        created=read.moment(metadata, "creationTimestamp") or _LONG_AGO,
        deleting_at=read.moment(metadata, "deletionTimestamp"),
        phase=read.text(status, "phase"),
        node=read.text(manifest, "spec", "nodeName"),
        address=read.text(status, "podIP"),
        finalizers=tuple(read.texts(metadata, "finalizers")),
        index=read.count(read.text(annotations, COMPLETION_INDEX)),
        ready="Ready" in true,
        disrupted="DisruptionTarget" in true,
        unschedulable=_unschedulable(conditions),
        note=": ".join(filter(None, (read.text(status, "reason"), read.text(status, "message")))),
        waiting=(
            read.text(container, "state", "waiting", "reason"),
            read.text(container, "state", "waiting", "message"),
        ),
        running=bool(read.mapping(container, "state", "running")),
        terminated=_terminated(read.mapping(container, "state", "terminated")),
        image_id=read.text(container, "imageID") if read.text(container, "name") == Component.DRIVER else "",
    )


def _indexes(text: str, completions: int) -> int:
    """Count the indexes below ``completions`` that a text such as ``1,3-5`` names."""
    named = 0
    for interval in text.split(","):
        first, _, last = interval.partition("-")
        low, high = read.count(first), read.count(last or first)
        if low is not None and high is not None:
            named += max(0, min(high, completions - 1) - low + 1)
    return min(named, max(0, completions))


def _owner(metadata: Mapping[str, object], kind: str) -> str:
    """Return the uid of the object's controller if it is of this kind, else ''."""
    for owner in read.mappings(metadata, "ownerReferences"):
        if read.flag(owner, "controller") and read.text(owner, "kind") == kind:
            return read.text(owner, "uid")
    return ""


def _true(conditions: Iterable[Mapping[str, object]]) -> dict[str, TrueCondition]:
    return {
        read.text(each, "type"): TrueCondition(
            read.text(each, "reason"), read.text(each, "message"), read.moment(each, "lastTransitionTime")
        )
        for each in conditions
        if read.text(each, "status") == "True"
    }


def _unschedulable(conditions: Iterable[Mapping[str, object]]) -> str:
    for each in conditions:
        if read.text(each, "type") == "PodScheduled" and read.text(each, "reason") == "Unschedulable":
            return read.text(each, "message") or "no node fits it"
    return ""


def _terminated(state: Mapping[str, object]) -> Terminated | None:
    if not state:
        return None
    return Terminated(
        read.integer(state, "exitCode"),
        read.text(state, "reason"),
        read.text(state, "message"),
        read.moment(state, "finishedAt"),
    )
