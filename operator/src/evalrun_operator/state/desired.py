"""The desired state of an attempt, as the planner hands it to a backend, independent of a cluster's terms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Desired(StrEnum):
    """The desired state of one part of an attempt."""

    RUNNING = "running"
    """Created if it does not exist."""
    UNCHANGED = "unchanged"
    """Left as it is, existing or not."""
    ABSENT = "absent"
    """Deleted."""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The desired children of one attempt.

    Earlier attempts are cleared: their replicas are deleted, a driver that ended stays.
    """

    attempt: int
    driver: Desired = Desired.UNCHANGED
    replicas: Desired = Desired.UNCHANGED
    image: str | None = None
    """Image of new pods; None: that of the settings."""
    others: Desired = Desired.UNCHANGED
    """What only pods read. What a living attempt lacks is made again; ABSENT: that of all attempts is deleted."""
    count: int = 0
    """Number of replicas, where ``replicas`` is RUNNING."""
    queue: str | None = None
    """Queue that admits the replicas, so that their driver may come after them; None without one."""
    seconds_left: int | None = None
    """Rest of policy.activeDeadlineSeconds: a limit that holds while the operator is down."""
    seconds_spent: int = 0
    """What of policy.activeDeadlineSeconds is used up."""
