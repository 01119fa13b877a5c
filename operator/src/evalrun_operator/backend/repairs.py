"""Repairs of what a cluster does not repair by itself, or only after minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from evalrun_operator.backend.children import TRACKING_FINALIZER
from evalrun_operator.kube.objects import PODS, Change, Delete, Patch
from evalrun_operator.state.children import Children, Job, Pod

LOST_AFTER = timedelta(seconds=60)
"""Time past its grace period after which a pod on an unresponsive node is given up."""
QUICK_REPLACEMENTS = 3
"""Disrupted pods of one replica, or of the driver, that are replaced without a delay. With more of them there, as where
a kubelet evicts each one for its disk, the Job's own delay grows between them.
"""


def repairs(seen: Children, lost_nodes: frozenset[str], now: datetime) -> Iterator[Change]:
    """Compute the repairs: first of what blocks replacements forever, then of what delays them."""
    for pods in seen.pods.values():
        for pod in pods:
            if _is_lost(pod, lost_nodes, now):
                yield from _give_up(pod)
    for job in seen.jobs:
        if not (job.over or job.suspended):
            disruptions = Counter(pod.index for pod in seen.of(job) if pod.disrupted and pod.deleting_at is None)
            for pod in seen.of(job):
                if disruptions[pod.index] > QUICK_REPLACEMENTS:
                    continue
                if _delays_its_replacement(pod, job) and not _is_lost(pod, lost_nodes, now):
                    yield _uncounted(pod)


def _is_lost(pod: Pod, lost_nodes: frozenset[str], now: datetime) -> bool:
    return pod.deleting_at is not None and pod.node in lost_nodes and now - pod.deleting_at >= LOST_AFTER


def _give_up(pod: Pod) -> Iterator[Change]:
    """Delete a pod without confirmation by its node.

    Its Job would keep it: with a podFailurePolicy a Job counts and replaces a pod only when it has ended, which nobody
    will ever report for this one. Without the Job's finalizer the pod is removed at once, and it can be replaced.
    """
    if TRACKING_FINALIZER in pod.finalizers:
        yield _uncounted(pod)
    yield Delete(PODS, pod.name, pod.uid, grace_seconds=0)


def _delays_its_replacement(pod: Pod, job: Job) -> bool:
    """Check whether a pod was told to leave and its Job would delay the replacement for that.

    The Job controller doubles a delay of 10 s with each consecutive end and counts disruptions, too: its
    podFailurePolicy only keeps them from failing the Job. It does not wait for what it never counts: measured on 1.34,
    replacements of a pod that is deleted again and again come after 11, 21, 41 and 81 s, and after 2 s each without the
    finalizer.
    """
    if TRACKING_FINALIZER not in pod.finalizers or pod.phase == "Succeeded":
        return False
    if pod.index is not None and pod.index >= job.completions:
        return False  # the Job itself is removing it
    return pod.deleting_at is not None or (pod.phase == "Failed" and pod.disrupted)


def _uncounted(pod: Pod) -> Change:
    """Remove the Job's finalizer, from exactly the version that was read.

    The patch replaces the whole list: on a version with a finalizer that another controller added meanwhile it would
    remove that one, too.
    """
    others = [each for each in pod.finalizers if each != TRACKING_FINALIZER]
    return Patch(PODS, pod.name, pod.uid, {"metadata": {"resourceVersion": pod.version, "finalizers": others}})
