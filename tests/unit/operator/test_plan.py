"""The operator's decisions, one sentence each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from evalrun_api import (
    ConditionStatus,
    ConditionType,
    Counts,
    EvalRunStatus,
    Failure,
    GateResult,
    Phase,
    Reason,
    RunProgress,
    RunResult,
    Score,
    ScoreInterval,
    Verdict,
)
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.plan.ending import wait_before
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Missing,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
    SpecProblem,
)
from support.evalruns import NOON, Builder, make_run

SETTINGS = OperatorSettings()
IMAGE = SETTINGS.image.reference
INTERVAL = ScoreInterval(low=0.6575, high=0.7076, confidence=0.95, method="wilson")
GOOD = RunResult(
    phase=Phase.SUCCEEDED,
    engine="vllm",
    counts=Counts(planned=1319, ok=1319),
    scores=(
        Score(
            task="gsm8k",
            metric="exact_match",
            filter="strict-match",
            value=0.6831,
            stderr=0.0128,
            n=1319,
            interval=INTERVAL,
        ),
    ),
    results_uri="s3://evals/team/nightly-0f3c9a52/",
)


def bad(reason: Reason, message: str = "it broke", phase: Phase = Phase.FAILED) -> RunResult:
    return RunResult(phase=phase, failure=Failure(reason=reason, message=message))


def gate(verdict: Verdict, message: str = "0.61 is below 0.62") -> RunResult:
    result = GateResult(
        task="gsm8k",
        metric="exact_match",
        filter="strict-match",
        min=0.62,
        verdict=verdict,
        reason=Reason.GATE_FAILED,
        message=message,
        value=0.61,
    )
    return GOOD.model_copy(update={"verdict": verdict, "gates": (result,)})


def decide(run: Builder, now: datetime = NOON, **observed: Any) -> ReconcilePlan:
    return plan(Observed(run.build(), **observed), SETTINGS, now)


def after(run: Builder, number: int = 1, now: datetime = NOON, **attempt: Any) -> ReconcilePlan:
    """Plan with one existing attempt."""
    return decide(run, now, attempts={number: Attempt(**attempt)}, references=References())


def condition(status: EvalRunStatus, kind: ConditionType) -> tuple[ConditionStatus, str]:
    found = next(one for one in status.conditions if one.type == kind)
    return found.status, found.reason


def started(run: Builder, **fields: Any) -> Builder:
    """Set the status of a started run."""
    return run.with_status(
        EvalRunStatus(phase=Phase.STARTING, attempt=1, charged_attempts=0, active_since=NOON, **fields)
    )


TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def test_new_run_gets_a_driver_without_replicas() -> None:
    decided = decide(make_run().with_replicas(4), references=References())
    assert decided.desired == DesiredState(1, Desired.RUNNING, Desired.UNCHANGED, image=IMAGE, count=4)
    assert decided.status.phase is Phase.STARTING
    assert decided.status.attempt == 1
    assert condition(decided.status, ConditionType.REPLICAS_READY) == (FALSE, "Preflight")
    assert decided.status.display and decided.status.display.replicas == "0/4"
    assert [event.reason for event in decided.events] == ["AttemptStarted"]


def test_driver_in_preflight_holds_no_gpu() -> None:
    for phase in (DriverPhase.WAITING, DriverPhase.STARTING):
        decided = after(started(make_run()), driver=ObservedDriver(phase, detail="0/3 nodes are available"))
        assert decided.desired is not None and decided.desired.replicas is Desired.UNCHANGED
        assert decided.status.phase is Phase.STARTING


def test_ready_driver_gets_replicas() -> None:
    decided = after(started(make_run().with_replicas(4)), driver=ObservedDriver(DriverPhase.READY))
    assert decided.desired == DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, image=IMAGE, count=4)
    assert condition(decided.status, ConditionType.REPLICAS_READY) == (FALSE, "WaitingForReplicas")


def test_progress_is_shown() -> None:
    progress = RunProgress(
        phase=Phase.RUNNING,
        counts=Counts(planned=1319, ok=1200, failed=4),
        items_per_second=12.3456,
        eta=NOON + timedelta(minutes=12),
        replicas_ready=3,
    )
    decided = decide(
        started(make_run().with_replicas(4, minCount=2)),
        attempts={1: Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(4, active=4, running=4))},
        progress=progress,
    )
    status = decided.status
    assert status.phase is Phase.RUNNING
    assert condition(status, ConditionType.REPLICAS_READY) == (TRUE, "Degraded")
    assert status.progress and (status.progress.percent, status.progress.items_per_second) == (91, 12.3)
    assert status.display and status.display.model_dump() == {
        "model": "tiny",
        "progress": "1,204/1,319",
        "score": None,
        "gate": None,
        "replicas": "3/4",
        "eta": "12m",
        "reason": None,
    }
    again = decide(
        make_run().with_replicas(4, minCount=2).with_status(status),
        NOON + timedelta(seconds=5),
        attempts={1: Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(4, active=4, running=4))},
        progress=progress.model_copy(update={"eta": NOON + timedelta(minutes=12, seconds=5)}),
    )
    assert again.status.conditions == status.conditions
    assert again.events == ()


def test_count_may_change_during_a_run() -> None:
    ready = Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(1, active=1))
    decided = decide(
        started(make_run().with_replicas(3)), attempts={1: ready}, progress=RunProgress(phase=Phase.RUNNING)
    )
    assert decided.desired is not None and (decided.desired.replicas, decided.desired.count) == (Desired.RUNNING, 3)


@pytest.mark.parametrize("progress", [None, RunProgress(phase=Phase.FINISHING), RunProgress(phase=Phase.SUCCEEDED)])
def test_replicas_that_left_at_the_end_are_not_created_again(progress: RunProgress | None) -> None:
    left = Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(2, ended=True))
    decided = decide(started(make_run().with_replicas(2)), attempts={1: left}, progress=progress)
    assert decided.desired is not None and decided.desired.replicas is Desired.UNCHANGED


def test_driver_of_a_queued_run_has_no_deadline() -> None:
    run = started(make_run().in_queue("gpu-eval").with_policy(activeDeadlineSeconds=600))
    queued = Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(1, queued=True))
    decided = decide(run, NOON + timedelta(seconds=60), attempts={1: queued})
    assert decided.status.phase is Phase.QUEUED
    assert condition(decided.status, ConditionType.ADMITTED) == (FALSE, "WaitingForAdmission")
    assert decided.status.active_since is None and decided.status.active_seconds == 60
    assert decided.desired is not None and decided.desired.seconds_left is None


# The end ----------------------------------------------------------------------------------------------------------


def test_a_result_ends_the_run() -> None:
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0))
    status = decided.status
    assert status.phase is Phase.SUCCEEDED and status.finished_at == NOON
    assert condition(status, ConditionType.COMPLETE) == (TRUE, "Succeeded")
    assert condition(status, ConditionType.GATE_PASSED) == (TRUE, "NoGates")
    assert condition(status, ConditionType.RECONCILING)[0] is FALSE
    assert condition(status, ConditionType.STALLED)[0] is FALSE
    assert status.scores == GOOD.scores
    assert status.display and status.display.score == "0.6831[0.6575,0.7076]"
    assert status.display.progress == "1,319/1,319"
    assert status.active_since is None


def test_score_of_a_gate_by_the_name_of_a_benchmark_is_shown() -> None:
    other = Score(task="first", metric="acc", value=0.1, n=5)
    meant = Score(task="gsm8k", metric="exact_match", filter="strict-match", value=0.5, n=5)
    named = gate(Verdict.PASSED).gates[0].model_copy(update={"task": "nightly", "stands_for": "gsm8k"})
    result = GOOD.model_copy(update={"scores": (other, meant), "gates": (named,), "verdict": Verdict.PASSED})
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, result, 0))
    assert decided.status.display is not None
    assert decided.status.display.score == "0.5000"


def test_result_counts_even_if_suspended_or_late() -> None:
    run = started(make_run().suspended().with_policy(activeDeadlineSeconds=1))
    decided = after(run, now=NOON + timedelta(hours=1), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0))
    assert decided.status.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("verdict", "status", "stalled"),
    [(Verdict.PASSED, TRUE, FALSE), (Verdict.FAILED, FALSE, TRUE), (Verdict.INCONCLUSIVE, UNKNOWN, TRUE)],
)
def test_gates_are_conditions(verdict: Verdict, status: ConditionStatus, stalled: ConditionStatus) -> None:
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, gate(verdict), 0))
    assert decided.status.phase is Phase.SUCCEEDED
    assert condition(decided.status, ConditionType.GATE_PASSED)[0] is status
    assert condition(decided.status, ConditionType.STALLED)[0] is stalled
    assert decided.status.display and decided.status.display.gate == verdict.value


def test_gate_that_decided_speaks_in_condition_and_event_and_an_advisory_one_does_not() -> None:
    said = {
        Verdict.PASSED: ("every gate passed; 0.98: at least 0.91", False),
        Verdict.FAILED: ("0.98: at least 0.91", True),
        Verdict.INCONCLUSIVE: ("0.98: at least 0.91", True),
    }
    for verdict, (message, warning) in said.items():
        result = gate(verdict, "0.98: at least 0.91")
        advisory = result.gates[0].model_copy(update={"advisory": True, "message": "only reported"})
        result = result.model_copy(update={"gates": (advisory, *result.gates)})
        decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, result, 0))
        found = decided.status.condition(ConditionType.GATE_PASSED)
        assert found is not None
        assert found.message == message
        assert [(event.message, event.warning) for event in decided.events if event.reason == found.reason] == [
            (message, warning)
        ]


def test_run_without_gates_reports_no_event_of_them() -> None:
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0))
    assert not [event for event in decided.events if event.reason in {"NoGates", "GatesPassed", "Inconclusive"}]


def test_mock_answers_are_marked() -> None:
    mock = GOOD.model_copy(update={"engine": "mock"})
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, mock, 0))
    complete = next(one for one in decided.status.conditions if one.type == "Complete")
    assert "MADE-UP" in complete.message


def test_a_run_that_stopped_early_has_succeeded_and_says_what_it_skipped() -> None:
    why = "every gate was decided at look 2 of 5"
    stopped = GOOD.model_copy(update={"counts": Counts(planned=1319, ok=528, skipped=791), "stopped": why})
    status = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, stopped, 0)).status
    complete = status.condition(ConditionType.COMPLETE)
    assert complete is not None and status.progress is not None and status.display is not None
    assert (status.phase, complete.status, complete.reason) == (
        Phase.SUCCEEDED,
        ConditionStatus.TRUE,
        Reason.STOPPED_EARLY,
    )
    assert complete.message.startswith(f"528 of 1,319 items are scored, 791 were skipped: {why}")
    assert (status.progress.skipped, status.display.progress) == (791, "528/1,319")
    assert (status.display.reason or "").startswith("StoppedEarly: 528 of 1,319 items")


def test_finished_run_is_never_started_again() -> None:
    finished = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0)).status
    for attempts in (
        {},
        {1: Attempt(ObservedDriver(DriverPhase.FAILED))},
        {2: Attempt(ObservedDriver(DriverPhase.FAILED))},
    ):
        decided = decide(make_run().with_status(finished), attempts=attempts, references=References())
        assert decided.desired is None or Desired.RUNNING not in {decided.desired.driver, decided.desired.replicas}
        assert decided.status.model_copy(update={"cleaned_up": None}) == finished


def test_remaining_replicas_are_deleted_after_a_while() -> None:
    finished = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0)).status
    there = {1: Attempt(ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0), ObservedReplicas(2, active=2))}
    soon = decide(make_run().with_status(finished), NOON + timedelta(seconds=10), attempts=there)
    assert soon.desired is None and soon.requeue_after == 20
    late = decide(make_run().with_status(finished), NOON + timedelta(seconds=31), attempts=there)
    assert late.desired is not None and (late.desired.driver, late.desired.replicas) == (
        Desired.UNCHANGED,
        Desired.ABSENT,
    )


def test_ttl_deletes_the_run() -> None:
    finished = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0)).status
    run = make_run().with_policy(ttlSecondsAfterFinished=60).with_status(finished)
    assert not decide(run, NOON + timedelta(seconds=59)).delete_run
    assert decide(run, NOON + timedelta(seconds=59)).requeue_after == 1
    assert decide(run, NOON + timedelta(seconds=60)).delete_run
    assert not decide(make_run().with_status(finished), NOON + timedelta(days=900)).delete_run


# Failure ----------------------------------------------------------------------------------------------------------


def test_failed_driver_frees_gpus_and_next_attempt_starts_at_once() -> None:
    failed = ObservedDriver(DriverPhase.FAILED, bad(Reason.REPLICAS_FAILED), 1, ended_at=NOON)
    decided = after(started(make_run().with_replicas(2)), driver=failed, replicas=ObservedReplicas(2, active=2))
    assert decided.desired == DesiredState(2, Desired.RUNNING, Desired.UNCHANGED, image=IMAGE, count=2)
    assert (decided.status.attempt, decided.status.charged_attempts) == (2, 1)
    assert next((event.reason, event.warning) for event in decided.events) == ("AttemptStarted", True)


def test_later_retries_wait_longer() -> None:
    assert [wait_before(charged) for charged in (1, 2, 3, 4, 20)] == [0, 10, 20, 40, 300]
    run = make_run().with_policy(maxAttempts=5)
    run.with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=2, charged_attempts=1))
    failed = Attempt(ObservedDriver(DriverPhase.FAILED, None, 137, ended_at=NOON))
    soon = decide(run, NOON + timedelta(seconds=4), attempts={2: failed}, references=References())
    assert soon.desired is not None and (soon.desired.attempt, soon.desired.replicas) == (2, Desired.ABSENT)
    assert soon.requeue_after == 6 and soon.status.charged_attempts == 1
    late = decide(run, NOON + timedelta(seconds=10), attempts={2: failed}, references=References())
    assert late.desired is not None and late.desired.attempt == 3 and late.status.charged_attempts == 2


def test_unrecorded_attempt_is_charged_once() -> None:
    run = started(make_run())
    attempts = {
        1: Attempt(ObservedDriver(DriverPhase.FAILED, bad(Reason.REPLICAS_FAILED), 1)),
        2: Attempt(ObservedDriver(DriverPhase.STARTING)),
    }
    decided = decide(run, attempts=attempts)
    assert (decided.status.attempt, decided.status.charged_attempts) == (2, 1)
    again = decide(make_run().with_status(decided.status), attempts=attempts)
    assert (again.status.attempt, again.status.charged_attempts) == (2, 1)


def test_attempts_are_bounded() -> None:
    run = make_run().with_policy(maxAttempts=2)
    run.with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=5, charged_attempts=1))
    decided = after(run, 5, driver=ObservedDriver(DriverPhase.FAILED, bad(Reason.REPLICAS_FAILED, "no GPU answers"), 1))
    assert decided.status.phase is Phase.FAILED
    assert condition(decided.status, ConditionType.FAILED) == (TRUE, "AttemptsExhausted")
    assert condition(decided.status, ConditionType.STALLED)[0] is TRUE
    message = next(one.message for one in decided.status.conditions if one.type == "Failed")
    assert "2 of 2" in message and "no GPU answers" in message
    assert decided.status.charged_attempts == 2


@pytest.mark.parametrize(
    ("driver", "phase", "reason"),
    [
        (
            ObservedDriver(DriverPhase.FAILED, bad(Reason.TASK_INVALID, "", Phase.INVALID), 2),
            Phase.INVALID,
            "TaskInvalid",
        ),
        (ObservedDriver(DriverPhase.FAILED, None, 2), Phase.INVALID, "DriverFailed"),
        (ObservedDriver(DriverPhase.FAILED, bad(Reason.TOO_MANY_FAILED_ITEMS), 3), Phase.FAILED, "TooManyFailedItems"),
    ],
)
def test_unrecoverable_failure_ends_the_run(driver: ObservedDriver, phase: Phase, reason: str) -> None:
    decided = after(started(make_run()), driver=driver, replicas=ObservedReplicas(1, active=1))
    assert decided.status.phase is phase
    assert condition(decided.status, ConditionType.FAILED) == (TRUE, reason)
    assert decided.desired is not None and (decided.desired.driver, decided.desired.replicas) == (
        Desired.UNCHANGED,
        Desired.ABSENT,
    )
    accepted = condition(decided.status, ConditionType.ACCEPTED)[0]
    assert accepted is (FALSE if phase is Phase.INVALID else TRUE)


@pytest.mark.parametrize(("code", "disrupted"), [(75, False), (143, True), (137, True), (None, True)])
def test_disrupted_or_superseded_attempts_are_not_charged(code: int | None, disrupted: bool) -> None:
    ended = ObservedDriver(DriverPhase.FAILED, None, code, disrupted=disrupted)
    decided = after(started(make_run()), driver=ended)
    assert decided.desired is not None and decided.desired.attempt == 2
    assert decided.status.charged_attempts == 0


def test_lost_result_is_read_by_another_attempt() -> None:
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED))
    assert decided.desired is not None and decided.desired.attempt == 2 and decided.status.charged_attempts == 0
    silent = after(
        started(make_run().with_policy(maxAttempts=1)), driver=ObservedDriver(DriverPhase.SUCCEEDED, None, 0)
    )
    assert silent.status.phase is Phase.FAILED  # it would say nothing again: no loop


def test_manually_deleted_children_return_uncharged() -> None:
    decided = decide(started(make_run()), references=References())
    assert decided.desired is not None and decided.desired.attempt == 2
    assert decided.status.charged_attempts == 0


# Suspension and deadline ------------------------------------------------------------------------------------------


def test_suspension_frees_resources_and_stops_the_clock() -> None:
    run = started(make_run().suspended())
    there: dict[str, Any] = {"driver": ObservedDriver(DriverPhase.READY), "replicas": ObservedReplicas(1, active=1)}
    decided = after(run, now=NOON + timedelta(seconds=90), **there)
    assert decided.desired is not None and (decided.desired.driver, decided.desired.replicas) == (
        Desired.ABSENT,
        Desired.ABSENT,
    )
    assert decided.status.phase is Phase.SUSPENDED
    assert condition(decided.status, ConditionType.SUSPENDED) == (TRUE, "SuspendedByUser")
    assert (decided.status.active_seconds, decided.status.active_since) == (90, None)
    resumed = decide(make_run().with_status(decided.status), NOON + timedelta(hours=9), references=References())
    assert resumed.desired is not None and (resumed.desired.attempt, resumed.desired.driver) == (2, Desired.RUNNING)
    assert resumed.status.charged_attempts == 0
    assert resumed.status.active_seconds == 90


def test_run_created_suspended_waits() -> None:
    decided = decide(make_run().suspended(), references=References())
    assert decided.status.phase is Phase.SUSPENDED and decided.status.attempt is None


def test_the_deadline_ends_the_run() -> None:
    run = started(make_run().with_policy(activeDeadlineSeconds=100), active_seconds=60)
    there: dict[str, Any] = {"driver": ObservedDriver(DriverPhase.READY), "replicas": ObservedReplicas(1, active=1)}
    before = after(run, now=NOON + timedelta(seconds=39), **there)
    assert before.status.phase is Phase.STARTING and before.requeue_after == 1
    assert before.desired is not None and before.desired.seconds_left == 1
    late = after(run, now=NOON + timedelta(seconds=40), **there)
    assert condition(late.status, ConditionType.FAILED) == (TRUE, "DeadlineExceeded")
    assert late.desired is not None and (late.desired.driver, late.desired.replicas) == (Desired.ABSENT, Desired.ABSENT)


def test_raised_deadline_overrides_the_jobs_deadline() -> None:
    run = started(make_run().with_policy(activeDeadlineSeconds=1000))
    killed = ObservedDriver(DriverPhase.FAILED, reason=Reason.DEADLINE_EXCEEDED)
    decided = after(run, now=NOON + timedelta(seconds=100), driver=killed)
    assert decided.desired is not None and decided.desired.attempt == 2 and decided.status.charged_attempts == 0


# What the spec names ----------------------------------------------------------------------------------------------


def test_missing_references_are_awaited_for_a_limited_time() -> None:
    missing = Missing("spec.output.storage.credentialsSecretRef.name", Reason.NOT_FOUND, "the Secret s3 is not there")
    refs = References(problems=(missing,))
    early = decide(make_run(), NOON + timedelta(seconds=30), references=refs)
    assert early.status.phase is Phase.PENDING and early.requeue_after == 10
    assert [event.reason for event in early.events] == ["NotFound"]
    assert condition(early.status, ConditionType.ACCEPTED) == (FALSE, "NotFound")
    assert early.desired is not None and early.desired.driver is Desired.UNCHANGED
    last = decide(make_run().with_status(early.status), NOON + timedelta(seconds=149), references=refs)
    assert last.status.phase is Phase.PENDING and last.requeue_after == 1, "counted from when it was found missing"
    late = decide(make_run().with_status(last.status), NOON + timedelta(seconds=150), references=refs)
    assert late.status.phase is Phase.INVALID
    assert condition(late.status, ConditionType.FAILED) == (TRUE, "NotFound")


def test_broken_rule_is_invalid_at_once() -> None:
    decided = decide(make_run(), invalid=SpecProblem("spec.benchmarks: names are unique"), references=References())
    assert decided.status.phase is Phase.INVALID
    assert decided.desired is not None and decided.desired.driver is Desired.UNCHANGED


def test_run_keeps_its_image_and_reports_its_results_uri_from_the_start() -> None:
    first = decide(make_run(), references=References()).status
    assert first.runner_image == SETTINGS.image.reference
    assert first.results_uri == "s3://evals/team/nightly-0f3c9a52/"
    upgraded = OperatorSettings.model_validate({"image": {"reference": "runner:next"}})
    there = Observed(make_run().with_status(first).build(), {1: Attempt(ObservedDriver(DriverPhase.READY))})
    assert plan(there, upgraded, NOON).status.runner_image == SETTINGS.image.reference


def test_status_stays_small_whatever_a_driver_reports() -> None:
    scores = tuple(Score(task=f"t{n}", metric="acc", value=0.5, n=10) for n in range(500))
    loud = GOOD.model_copy(update={"scores": scores, "gates": gate(Verdict.PASSED, "x" * 1000).gates * 200})
    decided = after(started(make_run()), driver=ObservedDriver(DriverPhase.SUCCEEDED, loud, 0))
    assert len(decided.status.scores) == 50 and len(decided.status.gates) == 100
    failed = after(
        started(make_run()), driver=ObservedDriver(DriverPhase.FAILED, bad(Reason.TASK_INVALID, "x" * 99999), 2)
    )
    assert len(failed.status.to_json()) < 32 << 10
