"""What a replica's pod does, read as its policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalrun_api import Head
from evalrun_api.wire.pods import FIRST_HEAD_SECONDS, NO_HEAD_SECONDS, HeadState
from evalrun_runner.pods.replica_policy import LONGEST_PAUSE, MOST_STARTS, Act, Observation, decide, pause


def head(state: HeadState, instance: str = "one") -> Head:
    return Head(instance=instance, state=state)


STARTING, OPEN, DONE = head(HeadState.STARTING), head(HeadState.OPEN), head(HeadState.DONE)
ALONE = Observation(head=None, silence=1.0)
JOINED = Observation(head=OPEN, silence=1.0, joined="one")


@pytest.mark.parametrize(
    ("seen", "act"),
    {
        "nobody answers yet": (ALONE, Act.WAIT),
        "nobody answers for too long": (replace(ALONE, silence=NO_HEAD_SECONDS + 1), Act.LEAVE),
        "the first driver may come late": (
            replace(ALONE, silence=FIRST_HEAD_SECONDS - 1.0, patience=FIRST_HEAD_SECONDS),
            Act.WAIT,
        ),
        "the first driver does not come": (
            replace(ALONE, silence=FIRST_HEAD_SECONDS + 1.0, patience=FIRST_HEAD_SECONDS),
            Act.LEAVE,
        ),
        "the driver is in its preflight": (replace(ALONE, head=STARTING), Act.WAIT),
        "the driver lets replicas in": (replace(ALONE, head=OPEN), Act.JOIN),
        "the driver was done before we came": (replace(ALONE, head=DONE), Act.LEAVE),
        "all is well": (JOINED, Act.WAIT),
        "the driver is done": (replace(JOINED, head=DONE), Act.LEAVE),
        "the driver is silent for a moment": (replace(JOINED, head=None, silence=20.0), Act.WAIT),
        "the driver is gone": (replace(JOINED, head=None, silence=NO_HEAD_SECONDS + 1), Act.LEAVE),
        "another driver is in its preflight": (replace(JOINED, head=head(HeadState.STARTING, "two")), Act.DISCONNECT),
        "another driver lets replicas in": (replace(JOINED, head=head(HeadState.OPEN, "two")), Act.DISCONNECT),
        "Ray ended with its driver": (replace(JOINED, head=None, ended=True), Act.DISCONNECT),
        "Ray ended beside its driver": (replace(JOINED, ended=True), Act.DISCONNECT),
        "Ray ended once, a moment ago": (replace(ALONE, head=OPEN, starts=1, disconnected=0.5), Act.WAIT),
        "Ray ended once, a while ago": (replace(ALONE, head=OPEN, starts=1, disconnected=1.5), Act.JOIN),
        "Ray does not stay up": (replace(ALONE, head=OPEN, starts=MOST_STARTS), Act.FAIL),
        "Ray did not stay up, and all is done": (replace(ALONE, head=DONE, starts=MOST_STARTS), Act.LEAVE),
    }.values(),
)
def test_the_first_rule_that_applies_decides(seen: Observation, act: Act) -> None:
    assert decide(seen) is act


def test_pauses_grow_up_to_a_limit() -> None:
    assert [pause(starts) for starts in (0, 1, 2, 3, 20)] == [0.0, 1.0, 2.0, 4.0, LONGEST_PAUSE]
