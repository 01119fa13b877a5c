"""What would go on for ever has a budget: disruptions that are not charged, and attempts that never start."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import Counts, Disruptions, EvalRunStatus, Phase, Progress, Reason, RunProgress, RunResult
from evalrun_operator.kube.errors import ChildRefused, Forbidden
from evalrun_operator.plan import ReconcilePlan, plan, with_refusals
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.observed import (
    Admission,
    Attempt,
    DriverPhase,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
)
from support.evalruns import NOON, Builder, make_run

SETTINGS = OperatorSettings()
READY = ObservedDriver(DriverPhase.READY, pod="p1")
STARTING = ObservedDriver(DriverPhase.STARTING, pod="p1")
DELETED: dict[int, Attempt] = {}


def decide(run: Builder, seconds: float, attempts: dict[int, Attempt], done: int | None = None) -> ReconcilePlan:
    """Plan ``seconds`` after noon, and record the status; ``done`` are the items that the driver reports."""
    progress = None if done is None else RunProgress(phase=Phase.RUNNING, counts=Counts(planned=100, ok=done))
    observed = Observed(run.build(), attempts, progress, References())
    decided = plan(observed, SETTINGS, NOON + timedelta(seconds=seconds))
    run.with_status(decided.status)
    return decided


def message(decided: ReconcilePlan, kind: str = "Complete") -> str:
    return next(one.message for one in decided.status.conditions if one.type == kind)


def reason(decided: ReconcilePlan, kind: str = "Failed") -> str:
    return next(one.reason for one in decided.status.conditions if one.type == kind)


def begun(**policy: Any) -> Builder:
    """Return a run whose first attempt was created at noon."""
    run = make_run().with_policy(**policy)
    decide(run, 0, {})
    return run


def attempts_in(run: Builder, seconds: int, end: ObservedDriver | None) -> int:
    """Return the attempts that are made when each one ends like this at once."""
    for second in range(1, seconds):
        number = run.status.attempt if run.status else None
        there = DELETED if end is None or number is None else {number: Attempt(end)}
        decide(run, second, there)
    return (run.status and run.status.attempt) or 0


# Disruptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        None,
        ObservedDriver(DriverPhase.FAILED, exit_code=75),
        ObservedDriver(DriverPhase.FAILED, exit_code=143, disrupted=True),
        ObservedDriver(DriverPhase.FAILED, reason=Reason.DEADLINE_EXCEEDED),
        ObservedDriver(DriverPhase.SUCCEEDED),
    ],
    ids=["its Job is deleted", "superseded", "its pod is deleted", "by an old deadline", "its result is lost"],
)
def test_c09_uncharged_ends_are_followed_by_growing_waits_and_have_an_end(end: ObservedDriver | None) -> None:
    run = begun()
    assert attempts_in(run, 500, end) == 7, "at once, after 10, 20, 40, 80 and 160 s"
    assert run.status is not None
    assert run.status.charged_attempts == 0
    attempts = attempts_in(run, 7200, end)
    assert run.status.phase is Phase.FAILED
    assert attempts == 21, "the first, and one after each of 20 disruptions"
    failed = next(one for one in run.status.conditions if one.type == "Failed")
    assert failed.reason == "DisruptionsExhausted"
    assert "21 times in a row" in failed.message and "policy.maxDisruptions is 20" in failed.message


def test_c09_a_driver_killed_by_its_liveness_probe_is_charged() -> None:
    run = begun()
    killed = ObservedDriver(DriverPhase.FAILED, exit_code=143, ended_at=NOON)
    assert attempts_in(run, 500, killed) == 3
    assert run.status is not None
    assert (run.status.phase, run.status.charged_attempts) == (Phase.FAILED, 3)
    failed = next(one for one in run.status.conditions if one.type == "Failed")
    assert failed.reason == "AttemptsExhausted"
    assert "liveness probe" in failed.message


def test_the_first_disruption_is_followed_at_once_and_says_so() -> None:
    decided = decide(begun(), 60, DELETED)
    assert decided.desired is not None
    assert (decided.desired.attempt, decided.desired.driver) == (2, Desired.RUNNING)
    assert decided.status.disruptions == Disruptions(count=1, last_at=NOON + timedelta(seconds=60))
    assert reason(decided, "Complete") == "Retrying"
    assert "its Job was deleted" in message(decided)


def test_a_wait_counts_from_the_disruption_before() -> None:
    run = begun()
    decide(run, 60, DELETED)
    soon = decide(run, 63, DELETED)
    assert soon.desired is not None
    assert (soon.desired.attempt, soon.desired.driver, soon.desired.replicas) == (2, Desired.UNCHANGED, Desired.ABSENT)
    assert soon.requeue_after == 7
    assert "for time 2 in a row" in message(soon)
    late = decide(run, 70, DELETED)
    assert late.desired is not None and late.desired.attempt == 3
    lasted = decide(run, 3600, DELETED)
    assert lasted.desired is not None and lasted.desired.attempt == 4


def test_a_finished_item_begins_the_count_again() -> None:
    run = begun(maxDisruptions=1)
    decide(run, 60, DELETED)
    decide(run, 70, {2: Attempt(READY)}, done=0)
    assert run.status is not None and run.status.disruptions is not None
    decide(run, 80, {2: Attempt(READY)}, done=1)
    assert run.status.disruptions is None
    again = decide(run, 90, DELETED)
    assert again.status.phase is Phase.STARTING and again.status.attempt == 3
    assert again.status.disruptions == Disruptions(count=1, last_at=NOON + timedelta(seconds=90), done=1)


def test_items_that_a_driver_reports_at_its_end_count_as_well() -> None:
    run = begun(maxDisruptions=0)
    left = ObservedDriver(
        DriverPhase.FAILED, RunResult(phase=Phase.SUSPENDED, counts=Counts(planned=9, ok=5)), 143, disrupted=True
    )
    assert decide(run, 60, {1: Attempt(left)}).status.phase is Phase.FAILED


def test_items_kept_from_before_a_disruption_are_no_progress() -> None:
    run = begun(maxDisruptions=2)
    decide(run, 10, {1: Attempt(READY)}, done=40)
    decide(run, 60, DELETED)
    decide(run, 70, {2: Attempt(READY)}, done=0)
    decide(run, 71, DELETED)
    decide(run, 80, {3: Attempt(READY)}, done=40)
    assert decide(run, 200, DELETED).status.phase is Phase.FAILED


def test_no_disruption_is_tolerated_with_a_budget_of_none() -> None:
    assert decide(begun(maxDisruptions=0), 60, DELETED).status.phase is Phase.FAILED


def test_a_suspension_is_no_disruption_and_begins_the_count_again() -> None:
    run = begun(maxDisruptions=1)
    decide(run, 60, DELETED)
    run.with_policy(suspend=True)
    assert decide(run, 70, DELETED).status.disruptions is None
    run.with_policy(suspend=False)
    resumed = decide(run, 80, DELETED)
    assert resumed.desired is not None and resumed.desired.attempt == 3
    assert resumed.status.disruptions is None


def test_a_disruption_is_counted_once_whenever_the_operator_died() -> None:
    run = begun()
    before = run.status
    decide(run, 60, DELETED)
    counted = run.status
    run.with_status(before)
    created = decide(run, 61, {2: Attempt(STARTING)})
    assert counted is not None and counted.disruptions is not None and created.status.disruptions is not None
    assert created.status.disruptions.count == counted.disruptions.count == 1
    again = decide(run, 62, {2: Attempt(STARTING)})
    assert again.status.disruptions == created.status.disruptions


def test_c09_pods_that_the_job_replaces_by_itself_count_as_disruptions() -> None:
    run = begun(maxDisruptions=2)
    for number in range(4):
        seen = {1: Attempt(ObservedDriver(DriverPhase.STARTING, pod=f"p{number}"))}
        decided = decide(run, 10 + number, seen)
        assert decide(run, 10 + number, seen).status == decided.status or decided.status.phase is Phase.FAILED
        assert (decided.status.disruptions.count if decided.status.disruptions else 0) == number
    assert (decided.status.phase, reason(decided)) == (Phase.FAILED, "DisruptionsExhausted")
    assert decided.desired is not None
    assert (decided.desired.driver, decided.desired.replicas) == (Desired.ABSENT, Desired.ABSENT)


def test_the_pod_of_another_attempt_is_no_disruption() -> None:
    run = begun()
    decide(run, 10, {1: Attempt(STARTING)})
    failed = ObservedDriver(DriverPhase.FAILED, exit_code=1, ended_at=NOON, pod="p1")
    decide(run, 20, {1: Attempt(failed)})
    assert decide(run, 30, {2: Attempt(ObservedDriver(DriverPhase.STARTING, pod="p2"))}).status.disruptions is None


def test_a_status_without_disruptions_is_read_as_none() -> None:
    run = make_run().with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=1, active_since=NOON))
    decided = decide(run, 60, {1: Attempt(READY)}, done=3)
    assert (decided.status.disruptions, decided.status.driver_pod) == (None, "p1")


# Queues -----------------------------------------------------------------------------------------------------------

QUEUE = Admission("gpu-eval", since=NOON)
QUEUED = ObservedReplicas(3, queued=True, admission=QUEUE)
ADMITTED = ObservedReplicas(3, active=3, admission=Admission("gpu-eval"))
LEAVING = ObservedDriver(DriverPhase.LEAVING, pod="p1")


def in_queue(**policy: Any) -> Builder:
    """Return a run whose driver was told to leave until its replicas are admitted."""
    run = make_run().in_queue("gpu-eval").with_policy(**policy)
    decide(run, 0, {})
    decide(run, 10, {1: Attempt(READY)})
    decided = decide(run, 70, {1: Attempt(READY, QUEUED)})
    assert decided.desired is not None and decided.desired.driver is Desired.ABSENT
    return run


@pytest.mark.parametrize("admitted_at", ["once", "while the driver leaves", "after hours"])
def test_a_driver_that_leaves_for_a_queue_is_not_disrupted_and_has_all_its_time_to_start(admitted_at: str) -> None:
    run = in_queue(maxDisruptions=0, startDeadlineSeconds=600)
    if admitted_at != "once":
        decide(run, 72, {1: Attempt(LEAVING, ADMITTED if admitted_at == "while the driver leaves" else QUEUED)})
    if admitted_at == "after hours":
        assert decide(run, 80, {1: Attempt(None, QUEUED)}).status.phase is Phase.QUEUED
    back = decide(run, 9000, {1: Attempt(None, ADMITTED)})
    assert back.desired is not None
    assert (back.desired.attempt, back.desired.driver) == (1, Desired.RUNNING)
    again = {1: Attempt(ObservedDriver(DriverPhase.STARTING, pod="p2"), ADMITTED)}
    assert decide(run, 9599, again).status.phase is Phase.STARTING
    assert run.status is not None and (run.status.attempt, run.status.disruptions) == (1, None)
    assert reason(decide(run, 9600, again)) == "StartDeadlineExceeded"


def test_a_driver_deleted_beside_admitted_replicas_is_disrupted_and_they_stay() -> None:
    run = in_queue(maxDisruptions=1)
    decide(run, 80, {1: Attempt(None, ADMITTED)})
    decide(run, 90, {1: Attempt(ObservedDriver(DriverPhase.READY, pod="p2"), ADMITTED)}, done=0)
    first = decide(run, 100, {1: Attempt(None, ADMITTED)})
    assert first.desired is not None
    assert (first.desired.attempt, first.desired.driver, first.desired.replicas) == (
        1,
        Desired.RUNNING,
        Desired.UNCHANGED,
    )
    assert first.status.disruptions is not None and first.status.disruptions.count == 1
    seen = {1: Attempt(ObservedDriver(DriverPhase.READY, pod="p3"), ADMITTED)}
    counted = decide(run, 110, seen, done=0).status.disruptions
    assert counted is not None and counted.count == 1, "once"
    assert reason(decide(run, 200, {1: Attempt(None, ADMITTED)})) == "DisruptionsExhausted"


def test_pods_that_a_queue_takes_from_a_driver_are_no_disruptions() -> None:
    run = begun(maxDisruptions=0)
    decide(run, 10, {1: Attempt(READY)})
    for number in range(2, 5):
        decide(run, 10 * number, {1: Attempt(ObservedDriver(DriverPhase.WAITING, queued=True, admission=QUEUE))})
        there = {1: Attempt(ObservedDriver(DriverPhase.STARTING, pod=f"p{number}"))}
        assert decide(run, 10 * number + 5, there).status.phase is Phase.STARTING


def test_a_run_resumed_while_its_driver_still_leaves_is_not_disrupted() -> None:
    run = begun(maxDisruptions=0)
    decide(run, 10, {1: Attempt(READY)})
    run.with_policy(suspend=True, maxDisruptions=0)
    decide(run, 20, {1: Attempt(READY)})
    run.with_policy(suspend=False, maxDisruptions=0)
    decide(run, 30, {1: Attempt(LEAVING)})
    resumed = decide(run, 40, DELETED)
    assert resumed.desired is not None and resumed.desired.attempt == 2
    assert resumed.status.disruptions is None


def test_a_disruption_is_counted_once_when_the_next_attempt_is_refused() -> None:
    run = begun(maxDisruptions=5)
    for second in range(3):
        decided = decide(run, 60 + second, DELETED)
        refused = ChildRefused("Job", "x", Forbidden("create", "quota", status=403))
        told = with_refusals(decided, run.build(), [refused], created=False).status
        run.with_status(told.model_copy(update={"attempt": 1}))
        assert told.phase is Phase.PENDING
        assert told.disruptions is not None and told.disruptions.count == 1


# The start --------------------------------------------------------------------------------------------------------


def test_what_never_starts_ends_with_the_last_that_is_known() -> None:
    run = begun(startDeadlineSeconds=600)
    stuck = {1: Attempt(ObservedDriver(DriverPhase.WAITING, detail="ErrImagePull: no such image"))}
    assert decide(run, 590, stuck).requeue_after == 10
    decided = decide(run, 600, stuck)
    assert (decided.status.phase, reason(decided)) == (Phase.FAILED, "StartDeadlineExceeded")
    assert "policy.startDeadlineSeconds (600)" in message(decided, "Failed")
    assert "ErrImagePull: no such image" in message(decided, "Failed")
    assert decided.desired is not None
    assert (decided.desired.driver, decided.desired.replicas) == (Desired.ABSENT, Desired.ABSENT)


def test_replicas_that_never_load_are_no_start() -> None:
    run = begun(startDeadlineSeconds=600)
    idle = ObservedReplicas(3, active=3, detail="3 of 3 cannot start: Unschedulable: no GPU is free")
    seen = {1: Attempt(READY, idle)}
    assert decide(run, 599, seen).status.phase is Phase.STARTING
    decided = decide(run, 600, seen)
    assert decided.status.phase is Phase.FAILED
    assert "no GPU is free" in message(decided, "Failed")


def test_a_run_that_answers_items_has_started_and_a_new_attempt_starts_anew() -> None:
    run = begun(startDeadlineSeconds=600)
    decide(run, 500, {1: Attempt(READY)}, done=1)
    assert decide(run, 5000, {1: Attempt(READY)}, done=2).status.phase is Phase.RUNNING
    decide(run, 5010, {1: Attempt(STARTING)})
    assert decide(run, 5600, {1: Attempt(STARTING)}).status.phase is Phase.STARTING
    failed = ObservedDriver(DriverPhase.FAILED, exit_code=1, ended_at=NOON + timedelta(seconds=5600))
    decide(run, 5601, {1: Attempt(failed)})
    assert decide(run, 6200, {2: Attempt(STARTING)}).status.phase is Phase.STARTING
    assert decide(run, 6201, {2: Attempt(STARTING)}).status.phase is Phase.FAILED


def test_waiting_in_a_queue_is_not_counted() -> None:
    run = make_run().in_queue("gpu-eval").with_policy(startDeadlineSeconds=600)
    decide(run, 0, {})
    queued, admitted = ObservedReplicas(3, queued=True), ObservedReplicas(3, active=3)
    decide(run, 300, {1: Attempt(READY, queued)})
    assert decide(run, 9000, {1: Attempt(READY, queued)}).status.phase is Phase.QUEUED
    assert decide(run, 9001, {1: Attempt(READY, admitted)}).status.phase is Phase.STARTING
    assert decide(run, 9600, {1: Attempt(READY, admitted)}).status.phase is Phase.STARTING
    assert decide(run, 9601, {1: Attempt(READY, admitted)}).status.phase is Phase.FAILED


def test_no_start_is_awaited_for_ever_unless_asked() -> None:
    assert decide(begun(), 10**7, {1: Attempt(STARTING)}).status.phase is Phase.STARTING


def test_progress_of_before_is_kept_beside_the_count() -> None:
    run = begun()
    decide(run, 10, {1: Attempt(READY)}, done=40)
    status = decide(run, 60, DELETED).status
    assert status.progress is not None and status.progress == Progress(planned=100, ok=40, percent=40)
    assert status.disruptions is not None and status.disruptions.done == 40
