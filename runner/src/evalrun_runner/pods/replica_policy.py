"""What a replica's pod is to do, from what it sees: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evalrun_api.wire.pods import NO_HEAD_SECONDS, HeadState
from evalrun_api.wire.runprogress import Head

MOST_STARTS = 5
"""Ray nodes that may end by themselves, one after the other, beside a driver that is there."""
LASTING_SECONDS = 300.0
"""A node that was there for so long starts the count anew."""
LONGEST_PAUSE = 30.0


class Act(StrEnum):
    """What to do next."""

    WAIT = "wait"
    JOIN = "join"
    """Start a Ray node at the driver that answers."""
    PART = "part"
    """End the Ray node: it ended by itself, or its driver is not the one that answers."""
    LEAVE = "leave"
    """Exit 0: nothing more will be asked, or nobody is there to ask."""
    FAIL = "fail"
    """Exit 1: Ray does not stay up in this pod."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the pod sees. Times are seconds."""

    head: Head | None
    """The driver's last answer; None where it did not answer."""
    silence: float
    """Since a driver answered."""
    joined: str | None = None
    """The instance whose cluster this pod's Ray node belongs to; None without one."""
    ended: bool = False
    """The node ended by itself."""
    starts: int = 0
    """Nodes in a row that ended by themselves beside the driver that answers."""
    parted: float = 1e9
    """Since the last node ended."""


def decide(seen: Seen) -> Act:
    """The first of these that holds."""
    if seen.silence > NO_HEAD_SECONDS:
        return Act.LEAVE
    if seen.joined is not None and seen.ended:
        return Act.PART
    if seen.head is None:
        return Act.WAIT
    if seen.head.state is HeadState.DONE:
        return Act.LEAVE
    if seen.joined is not None:
        return Act.WAIT if seen.joined == seen.head.instance else Act.PART
    if seen.starts >= MOST_STARTS:
        return Act.FAIL
    if seen.head.state is HeadState.OPEN and seen.parted >= pause(seen.starts):
        return Act.JOIN
    return Act.WAIT


def pause(starts: int) -> float:
    """Seconds between the end of a node and the next one: none at first, then 1, 2, 4 and so on."""
    return 0.0 if not starts else min(LONGEST_PAUSE, 2.0 ** (starts - 1))
