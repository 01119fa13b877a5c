"""What a cluster does not mend by itself, or only after minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from evalrun_api.pods import Component, ExitCode
from evalrun_operator.backend.children import (
    FAILURE_COUNT,
    IGNORED_FAILURE_COUNT,
    TRACKING_FINALIZER,
    Children,
    Job,
    Pod,
)
from evalrun_operator.changes import PODS, Change, Delete, Patch

LOST_AFTER = timedelta(seconds=60)
"""Past its grace period a pod on a node that does not answer is given up."""


def repairs(seen: Children, lost_nodes: frozenset[str], now: datetime) -> Iterator[Change]:
    """First what blocks replacements for ever, then what delays them."""
    for pods in seen.pods.values():
        for pod in pods:
            if _is_lost(pod, lost_nodes, now):
                yield from _give_up(pod)
    for job in seen.jobs:
        if job.component is Component.REPLICA and not (job.deleting or job.suspended or job.complete or job.failing):
            for pod in seen.of(job):
                if _waits_for_nothing(pod, job, seen.of(job)):
                    yield _without_back_off(pod)


def _is_lost(pod: Pod, lost_nodes: frozenset[str], now: datetime) -> bool:
    return pod.deleting_at is not None and pod.node in lost_nodes and now - pod.deleting_at >= LOST_AFTER


def _give_up(pod: Pod) -> Iterator[Change]:
    """Delete a pod without its node's word.

    Its Job would keep it: with a podFailurePolicy a Job counts, and replaces, a pod only when it is over, which nobody
    will ever say of this one. Without the Job's finalizer the pod is gone at once and its index is free.
    """
    if TRACKING_FINALIZER in pod.finalizers:
        others = [each for each in pod.finalizers if each != TRACKING_FINALIZER]
        yield Patch(PODS, pod.name, pod.uid, {"metadata": {"finalizers": others}})
    yield Delete(PODS, pod.name, pod.uid, grace_seconds=0)


def _waits_for_nothing(pod: Pod, job: Job, pods: tuple[Pod, ...]) -> bool:
    """Whether a disrupted replica's replacement is delayed beyond the least, 10 s, by disruptions before it.

    The Job controller doubles the delay with every failure of an index in a row and counts disruptions, too.
    """
    if pod.phase != "Failed" or pod.failures == 0 or TRACKING_FINALIZER not in pod.finalizers:
        return False
    if pod.index is None or pod.index >= job.completions:
        return False
    if any(other.index == pod.index and not other.over for other in pods):
        return False
    return pod.disrupted or (pod.terminated is not None and pod.terminated.exit_code == ExitCode.STOPPED)


def _without_back_off(pod: Pod) -> Change:
    """A replica that worked until it was disrupted starts anew, as after a success."""
    counts = {FAILURE_COUNT: "0", IGNORED_FAILURE_COUNT: "0"}
    return Patch(PODS, pod.name, pod.uid, {"metadata": {"annotations": counts}})
