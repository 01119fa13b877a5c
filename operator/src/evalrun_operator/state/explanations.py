"""What waits in a cluster, and what the cluster says about it elsewhere than in the object that waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MULTIKUEUE = "MultiKueue"
"""Reason of an explanation: another cluster runs the Job."""


class ExplanationSource(StrEnum):
    """Where a cluster says why something waits."""

    JOB_EVENTS = "events of the Job"
    """The Job controller's: the API server refused its pods."""
    POD_EVENTS = "events of the pod"
    """The kubelet's and the attacher's: a volume, the network."""
    WORKLOAD = "Workload of the Job"
    """Kueue's record: why a queue has not admitted the Job."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that waits."""

    uid: str
    source: ExplanationSource


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the cluster says about an object that waits."""

    reason: str
    """As one word: FailedCreate, FailedMount, QuotaReserved; '' if the cluster gives none."""
    message: str
    at: datetime | None = None
    """Time at which it was said last."""
