"""Policy of a replica's pod: its next act, as a pure function of what it observes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evalrun_api import Head
from evalrun_api.backoff import backoff
from evalrun_api.wire.pods import NO_HEAD_SECONDS, HeadState

MOST_STARTS = 5
"""Maximum number of Ray nodes in a row that end by themselves while their driver answers."""
LASTING_SECONDS = 300.0
"""Lifetime of a node, in seconds, after which the count starts again."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Act(StrEnum):
    """Next act of the pod."""

    WAIT = "wait"
    JOIN = "join"
    """Start a Ray node at the driver that answers."""
    DISCONNECT = "disconnect"
    """End the Ray node: it ended by itself, or its driver is not the one that answers."""
    LEAVE = "leave"
    """Exit with 0: the run is done, or no driver answers."""
    FAIL = "fail"
    """Exit with 1: Ray does not keep running in this pod."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the pod observes. Times are in seconds."""

    head: Head | None
    """Last answer of the driver; None if it did not answer."""
    silence: float
    """Time since a driver answered."""
    patience: float = NO_HEAD_SECONDS
    """Silence after which the pod leaves."""
    joined: str | None = None
    """Driver instance whose cluster this pod's Ray node belongs to; None without a node."""
    ended: bool = False
    """Whether the node ended by itself."""
    starts: int = 0
    """Number of nodes in a row that ended by themselves while this driver answered."""
    disconnected: float = 1e9
    """Time since the last node ended."""


def decide(seen: Observation) -> Act:
    """Decide the next act: the first rule that applies."""
    if seen.silence > seen.patience:
        return Act.LEAVE
    if seen.joined is not None and seen.ended:
        return Act.DISCONNECT
    if seen.head is None:
        return Act.WAIT
    if seen.head.state is HeadState.DONE:
        return Act.LEAVE
    if seen.joined is not None:
        return Act.WAIT if seen.joined == seen.head.instance else Act.DISCONNECT
    if seen.starts >= MOST_STARTS:
        return Act.FAIL
    if seen.head.state is HeadState.OPEN and seen.disconnected >= pause(seen.starts):
        return Act.JOIN
    return Act.WAIT


def pause(starts: int) -> float:
    """Return the seconds between the end of a node and the next one: none at first, then 1, 2, 4 and so on."""
    return backoff(starts, FIRST_PAUSE, LONGEST_PAUSE)
