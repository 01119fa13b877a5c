"""Pods that do not start: their run says why, in conditions, an event and the column that people see."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRunStatus, Phase, Reason, RunProgress
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.plan.display import REASON_CHARACTERS
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
)
from support.evalruns import NOON, Builder, make_run

QUOTA = "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=0, limited: 4"


def started(count: int = 8) -> Builder:
    status = EvalRunStatus(phase=Phase.STARTING, attempt=1, charged_attempts=0, active_since=NOON)
    return make_run().with_replicas(count).with_status(status)


def decide(run: Builder, attempt: Attempt, progress: RunProgress | None = None) -> ReconcilePlan:
    observed = Observed(run.build(), {1: attempt}, progress, References())
    return plan(observed, OperatorSettings(), NOON)


def condition(status: EvalRunStatus, kind: ConditionType) -> Condition:
    return next(one for one in status.conditions if one.type == kind)


def column(status: EvalRunStatus) -> str | None:
    assert status.display is not None
    return status.display.reason


OBSTACLES = [Reason.PODS_REFUSED, Reason.VOLUME_NOT_MOUNTED, Reason.IMAGE_NOT_PULLED]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_driver_that_does_not_start_says_why(obstacle: Reason) -> None:
    decided = decide(started(), Attempt(ObservedDriver(DriverPhase.WAITING, obstacle=obstacle, detail=QUOTA)))
    complete = condition(decided.status, ConditionType.COMPLETE)
    assert (complete.status, complete.reason) == (ConditionStatus.FALSE, obstacle.value)
    assert QUOTA in complete.message
    assert condition(decided.status, ConditionType.REPLICAS_READY).reason == obstacle.value
    assert [(event.reason, event.warning) for event in decided.events] == [(obstacle.value, True)]
    assert column(decided.status) is not None and f"{obstacle}: exceeded quota: gpus" in str(column(decided.status))


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_replicas_that_do_not_start_say_why(obstacle: Reason) -> None:
    replicas = ObservedReplicas(8, active=2, running=2, obstacle=obstacle, detail=QUOTA)
    attempt = Attempt(ObservedDriver(DriverPhase.READY), replicas)
    decided = decide(started(), attempt, RunProgress(phase=Phase.STARTING, replicas_ready=1))
    ready = condition(decided.status, ConditionType.REPLICAS_READY)
    assert (ready.status, ready.reason) == (ConditionStatus.FALSE, obstacle.value)
    assert ready.message == f"{QUOTA}; 2 of 8 pods run, at least 8 are needed"
    assert condition(decided.status, ConditionType.COMPLETE).message == ready.message
    assert str(column(decided.status)).startswith(f"{obstacle}: exceeded quota: gpus")
    assert [(event.reason, event.warning) for event in decided.events] == [(obstacle.value, True)]


def test_enough_replicas_are_no_obstacle_but_the_message_names_it() -> None:
    replicas = ObservedReplicas(8, active=4, running=4, obstacle=Reason.PODS_REFUSED, detail=QUOTA)
    run = started().with_replicas(8, minCount=2)
    decided = decide(run, Attempt(ObservedDriver(DriverPhase.READY), replicas), answering(4))
    ready = condition(decided.status, ConditionType.REPLICAS_READY)
    assert (ready.status, ready.reason) == (ConditionStatus.TRUE, "Degraded")
    assert QUOTA in ready.message
    assert decided.status.phase is Phase.RUNNING
    assert column(decided.status) is None


def answering(ready: int) -> RunProgress:
    return RunProgress(phase=Phase.RUNNING, replicas_ready=ready)


def test_an_obstacle_is_reported_once() -> None:
    attempt = Attempt(ObservedDriver(DriverPhase.WAITING, obstacle=Reason.PODS_REFUSED, detail=QUOTA))
    first = decide(started(), attempt)
    again = decide(started().with_status(first.status), attempt)
    assert again.events == ()


@pytest.mark.parametrize(
    ("attempt", "shown"),
    [
        (
            {"driver": ObservedDriver(DriverPhase.STARTING)},
            "Preflight: store, model, tasks and engine arguments are being checked",
        ),
        (
            {"driver": ObservedDriver(DriverPhase.WAITING, detail="Unschedulable: 0/3 nodes")},
            "Preflight: waiting for the driver's pod: Unschedulable: 0/3 nodes",
        ),
    ],
)
def test_the_column_says_what_a_run_waits_for(attempt: dict[str, Any], shown: str) -> None:
    assert column(decide(started(), Attempt(**attempt)).status) == shown


def test_the_column_is_one_short_line() -> None:
    detail = "first line\nsecond line " + "x" * 500
    driver = ObservedDriver(DriverPhase.WAITING, obstacle=Reason.PODS_REFUSED, detail=detail)
    shown = str(column(decide(started(), Attempt(driver)).status))
    assert shown.startswith("PodsRefused: first line second line x")
    assert len(shown) == REASON_CHARACTERS and shown.endswith("…")


def test_the_column_is_empty_where_the_phase_says_it() -> None:
    replicas = ObservedReplicas(8, active=8, running=8)
    decided = decide(started(), Attempt(ObservedDriver(DriverPhase.READY), replicas), answering(8))
    assert column(decided.status) is None
