"""Jobs and pods of the API server, parsed once into plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from sys import intern

from evalrun_api.base import KIND
from evalrun_api.wire.pods import LABEL_ATTEMPT, LABEL_COMPONENT, LABEL_RUN, Component
from evalrun_operator.backend import values as read
from evalrun_operator.kube.objects import JOBS, PODS, Kind, Manifest
from evalrun_operator.names import LABEL_QUEUE
from evalrun_operator.state.children import Job, Pod, Terminated, TrueCondition

TRACKING_FINALIZER = "batch.kubernetes.io/job-tracking"
"""Finalizer that keeps a pod until its Job has counted it."""
ANNOTATION_SPENT = "evalrun.dev/seconds-spent"
"""Annotation of a driver's Job: what was used up of policy.activeDeadlineSeconds when it was made; absent: nothing."""
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation with the index of a pod of an Indexed Job."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

OWN_CONTROLLER = "kubernetes.io/job-controller"
"""Value of a Job's managedBy that stands for Kubernetes' own controller."""


def parse(kind: Kind, manifest: Manifest) -> Job | Pod | None:
    """Parse a Job or a pod; return None for one that is malformed, or belongs to nobody.

    Texts that many objects share are kept once.
    """
    return {JOBS: _job, PODS: _pod}[kind](manifest)


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
    managed_by = read.text(spec, "managedBy")
    return Job(
        name=name,
        uid=uid,
        attempt=attempt,
        component=Component(component),
        created=read.moment(metadata, "creationTimestamp"),
        deleting=bool(metadata.get("deletionTimestamp")),
        suspended=read.flag(spec, "suspend"),
        queue=read.text(labels, LABEL_QUEUE),
        deadline=read.integer(spec, "activeDeadlineSeconds"),
        spent=read.count(read.text(metadata, "annotations", ANNOTATION_SPENT)),
        parallelism=1 if parallelism is None else parallelism,
        completions=1 if completions is None else completions,
        closed=_indexes(read.text(status, "completedIndexes"), completions or 0),
        failed_indexes=read.text(status, "failedIndexes"),
        given_up=_indexes(read.text(status, "failedIndexes"), completions or 0),
        managed_by=managed_by if managed_by != OWN_CONTROLLER else "",
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
        version=read.text(metadata, "resourceVersion"),
        job=intern(job),
        created=read.moment(metadata, "creationTimestamp") or _LONG_AGO,
        deleting_at=read.moment(metadata, "deletionTimestamp"),
        phase=intern(read.text(status, "phase")),
        node=intern(read.text(manifest, "spec", "nodeName")),
        address=read.text(status, "podIP"),
        finalizers=tuple(map(intern, read.texts(metadata, "finalizers"))),
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
        image_id=intern(read.text(container, "imageID")) if read.text(container, "name") == Component.DRIVER else "",
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
        intern(read.text(each, "type")): TrueCondition(
            intern(read.text(each, "reason")), read.text(each, "message"), read.moment(each, "lastTransitionTime")
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
