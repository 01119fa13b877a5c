"""Jobs and pods of a run as plain values, of which thousands fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from evalrun_api.wire.pods import Component

HARMLESS = frozenset({"ContainerCreating", "PodInitializing", ""})
"""Reasons for which containers wait normally."""


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
    created: datetime | None
    deleting: bool
    suspended: bool
    queue: str
    """Kueue queue; '' without one."""
    deadline: int | None
    """activeDeadlineSeconds."""
    spent: int | None
    """Seconds of the run's deadline that were used up when it was made; None where it does not say."""
    parallelism: int
    completions: int
    closed: int
    """Number of completed indexes: a pod of theirs exited with 0, and no other pod follows."""
    failed_indexes: str
    """Indexes whose pods failed too often, as in ``1,3-5``."""
    given_up: int
    """Number of these indexes: no pod of theirs follows."""
    managed_by: str
    """Controller that the Job was handed to; '' for Kubernetes' own."""
    ended_at: datetime | None
    conditions: Mapping[str, TrueCondition]
    """Conditions that are True, by type."""

    @property
    def ending(self) -> bool:
        """Whether it is being deleted, or a condition says something about its end."""
        return self.deleting or bool(self.conditions)

    @property
    def over(self) -> bool:
        """Whether no pod of it is needed any more."""
        return bool(self.deleting or self.complete or self.failing)

    @property
    def wanted(self) -> int:
        """Number of pods that should exist while it is not suspended."""
        return max(0, min(self.parallelism, self.completions - self.closed - self.given_up))

    @property
    def count(self) -> int:
        """Number of replicas that it stands for: indexes that are completed were replaced by further ones."""
        return max(0, self.parallelism - self.closed)

    @property
    def suspended_since(self) -> datetime | None:
        """Time at which its controller saw that it is suspended; None before that."""
        seen = self.conditions.get("Suspended")
        return seen.since if self.suspended and seen is not None else None

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
    version: str = field(compare=False)
    """Its resourceVersion, which tells nothing by itself."""
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
    def ending(self) -> bool:
        """Whether it is being deleted, or it or its container has ended."""
        return self.deleting_at is not None or self.over or self.terminated is not None or self.disrupted

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def prepared(self) -> bool:
        """Whether its node prepares it: volumes, network, image; nothing of it runs, and nothing is wrong yet."""
        return bool(self.phase == "Pending" and self.node and self.active and self.waiting[0] in HARMLESS)

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
    """The Jobs of a run with their pods, oldest first: all that is kept of what the API server sent."""

    jobs: tuple[Job, ...] = ()
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    """Pods by the uid of their Job, also of Jobs that are deleted."""

    def of(self, job: Job) -> tuple[Pod, ...]:
        """Return the pods of a Job."""
        return self.pods.get(job.uid, ())

    @classmethod
    def of_objects(cls, objects: Iterable[Job | Pod | None]) -> Self:
        """Sort parsed objects; None stands for one that belongs to no run."""
        jobs: list[Job] = []
        pods: dict[str, list[Pod]] = {}
        for one in objects:
            match one:
                case Job():
                    jobs.append(one)
                case Pod():
                    pods.setdefault(one.job, []).append(one)
        return cls(
            tuple(jobs),
            {job: tuple(sorted(each, key=lambda pod: (pod.created, pod.name))) for job, each in pods.items()},
        )

    @property
    def running(self) -> bool:
        """Whether any pod runs, will run, or is being deleted."""
        return any(pod.deleting_at is not None or not pod.over for pods in self.pods.values() for pod in pods)

    def nodes_of_stuck(self, now: datetime) -> frozenset[str]:
        """Return the nodes of pods that should have ended by now."""
        every = (pod for pods in self.pods.values() for pod in pods)
        return frozenset(
            pod.node for pod in every if pod.node and pod.deleting_at is not None and pod.deleting_at < now
        )
