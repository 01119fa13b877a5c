"""What should be there: the planner's word to a backend, in no cluster's terms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Desired(StrEnum):
    """What becomes of a part of an attempt."""

    RUNNING = "running"
    """Made if it is not there."""
    UNCHANGED = "unchanged"
    """Left as it is, there or not."""
    ABSENT = "absent"
    """Deleted."""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The children of one attempt. Attempts before it are cleared: their replicas go, a driver that ended stays."""

    attempt: int
    driver: Desired = Desired.UNCHANGED
    replicas: Desired = Desired.UNCHANGED
    count: int = 0
    """Replicas, where ``replicas`` is RUN."""
    seconds_left: int | None = None
    """Of policy.activeDeadlineSeconds: a backstop for the time in which the operator is away."""
