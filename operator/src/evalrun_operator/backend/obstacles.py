"""Why pods of a Job do not start: what their status says, and what the cluster says elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from evalrun_api import Reason
from evalrun_operator.state.children import HARMLESS, Job, Pod
from evalrun_operator.state.explanations import MULTIKUEUE, Explanation
from evalrun_operator.state.observed import Admission

MULTIKUEUE_CONTROLLER = "kueue.x-k8s.io/multikueue"
"""Value of a Job's managedBy by which MultiKueue takes it over."""
WORDS_CHARACTERS = 600
"""Characters of a cluster's words that are shown; their beginning says which quota, policy or volume it is."""

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
"""The kubelet's reasons for a container without its image."""
_VOLUME = {"FailedMount", "FailedAttachVolume", "FailedMapVolume"}
"""Reasons of events of pods without their volumes."""
# The names of refused pods are random: with them the words would differ at each try.
_PREFIX = re.compile(r'^(\(combined from similar events\): )?(Error creating: )?(pods "[^"]*" is forbidden: )?')
_SKEW = timedelta(seconds=5)


class Obstacle(NamedTuple):
    """What keeps a pod from starting."""

    reason: Reason | None
    """PodsRefused, VolumeNotMounted, ImageNotPulled; None for anything else."""
    text: str


def refusal(job: Job, pods: Sequence[Pod], explanations: Mapping[str, Explanation]) -> Obstacle | None:
    """Return why the API server refuses the pods of a Job that lacks some."""
    told = explanations.get(job.uid)
    active = sum(pod.active for pod in pods)
    if told is None or job.suspended or active >= job.wanted:
        return None
    # What was said before the newest pod was created may be over: a pod was accepted since.
    newest = max((pod.created for pod in pods), default=None)
    if newest is not None and told.at is not None and told.at < newest - _SKEW:
        return None
    return Obstacle(Reason.PODS_REFUSED, words(told.message))


def obstacle(pod: Pod, explanations: Mapping[str, Explanation]) -> Obstacle | None:
    """Return why a pod that should run does not; None if it runs, or nothing is known to be wrong."""
    if pod.unschedulable:
        return Obstacle(None, f"Unschedulable: {words(pod.unschedulable)}")
    reason, message = pod.waiting
    if reason not in HARMLESS:
        said = f"{reason}: {words(message)}" if message else reason
        return Obstacle(Reason.IMAGE_NOT_PULLED if reason in _IMAGE else None, said)
    told = explanations.get(pod.uid)
    if told is None or not pod.prepared:
        return None
    known = Reason.VOLUME_NOT_MOUNTED if told.reason in _VOLUME else None
    return Obstacle(known, f"{told.reason}: {words(told.message)}")


def admission(job: Job, explanations: Mapping[str, Explanation]) -> Admission:
    """Return what is known of a Job's queue."""
    told = explanations.get(job.uid) if job.suspended else None
    return Admission(
        job.queue,
        since=job.suspended_since,
        message="" if told is None else words(told.message),
        elsewhere=job.managed_by == MULTIKUEUE_CONTROLLER or (told is not None and told.reason == MULTIKUEUE),
    )


def words(text: str) -> str:
    """Return the cluster's words without what differs from try to try, as one line."""
    text = _PREFIX.sub("", " ".join(text.split()), count=1)
    return text if len(text) <= WORDS_CHARACTERS else f"{text[:WORDS_CHARACTERS]}…"
