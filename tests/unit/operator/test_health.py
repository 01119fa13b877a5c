"""What tools that read nothing but kstatus are told of a run: promotions wait for its results and its gates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import (
    Condition,
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
    Verdict,
)
from evalrun_api.schema.crd import crd
from evalrun_operator.plan import plan
from evalrun_operator.settings import OperatorSettings
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
from support.kstatus import Health, answers, kstatus

SETTINGS = OperatorSettings()
LATER = NOON + timedelta(seconds=60)
READY = ObservedDriver(DriverPhase.READY, address="10.0.0.1")
WORKING = Attempt(READY, ObservedReplicas(1, active=1, running=1))
GOOD = RunResult(
    phase=Phase.SUCCEEDED, counts=Counts(planned=10, ok=10), results_uri="s3://evals/team/nightly-0f3c9a52/"
)
BROKEN = RunResult(phase=Phase.FAILED, failure=Failure(reason=Reason.TOO_MANY_FAILED_ITEMS, message="3 of 10"))


@pytest.mark.parametrize("recorded", answers(), ids=lambda recorded: recorded["case"])
def test_the_port_answers_as_the_library_did(recorded: Mapping[str, Any]) -> None:
    assert kstatus(recorded) == recorded["answer"]


def judged(verdict: Verdict) -> RunResult:
    gate = GateResult(task="gsm8k", metric="acc", min=0.6, verdict=verdict, reason=Reason.GATE_FAILED, message="0.58")
    return GOOD.model_copy(update={"verdict": verdict, "gates": (gate,)})


def succeeded(result: RunResult) -> Attempt:
    return Attempt(ObservedDriver(DriverPhase.SUCCEEDED, result, 0))


def status_of(run: Builder, **observed: Any) -> EvalRunStatus:
    return plan(Observed(run.build(), **observed), SETTINGS, LATER).status


def health(run: Builder, **observed: Any) -> Health:
    """Judge a run by the status that the operator writes for it."""
    return kstatus(run.with_status(status_of(run, **observed)).manifest())


def condition(status: EvalRunStatus, kind: ConditionType) -> Condition:
    return next(one for one in status.conditions if one.type == kind)


MISSING = References((Missing("spec.output.storage", Reason.NOT_FOUND, "Secret s3 does not exist"),))
PROGRESS = RunProgress(phase=Phase.RUNNING, replicas_ready=1)
UNFINISHED: dict[str, tuple[Builder, dict[str, Any]]] = {
    "Pending, a Secret is missing": (make_run(), {"references": MISSING}),
    "Queued": (make_run().in_queue("gpu"), {"attempts": {1: Attempt(READY, ObservedReplicas(1, queued=True))}}),
    "Starting": (make_run(), {"references": References()}),
    "Running": (make_run(), {"attempts": {1: WORKING}, "progress": PROGRESS}),
    "Running, the store is slow": (
        make_run(),
        {"attempts": {1: WORKING}, "progress": PROGRESS.model_copy(update={"degraded": "503"})},
    ),
    "Finishing": (make_run(), {"attempts": {1: WORKING}, "progress": RunProgress(phase=Phase.FINISHING)}),
    "Suspended": (make_run().suspended(), {"attempts": {1: WORKING}}),
    "Suspended before it began": (make_run().suspended(), {}),
    "between two attempts": (
        make_run(),
        {"attempts": {1: Attempt(ObservedDriver(DriverPhase.FAILED, exit_code=1))}, "references": References()},
    ),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_run_without_its_end_is_in_progress(name: str) -> None:
    run, observed = UNFINISHED[name]
    assert health(run, **observed) is Health.IN_PROGRESS


def test_a_run_that_the_operator_has_not_seen_is_in_progress() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    new = make_run().manifest()
    assert kstatus(new | {"status": schema["default"]}) is Health.IN_PROGRESS
    emptied = {name: one["default"] for name, one in schema["properties"].items() if "default" in one}
    assert kstatus(new | {"status": emptied}) is Health.IN_PROGRESS
    assert EvalRunStatus.model_validate(schema["default"]).observed_generation == -1


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (GOOD, Health.CURRENT),
        (judged(Verdict.PASSED), Health.CURRENT),
        (judged(Verdict.FAILED), Health.FAILED),
        (judged(Verdict.INCONCLUSIVE), Health.FAILED),
    ],
)
def test_results_are_current_only_if_every_gate_passed(result: RunResult, expected: Health) -> None:
    run = make_run()
    assert health(run, attempts={1: succeeded(result)}) is expected
    assert run.status is not None
    assert condition(run.status, ConditionType.COMPLETE).status is ConditionStatus.TRUE
    stalled = condition(run.status, ConditionType.STALLED)
    if expected is Health.FAILED:
        assert (stalled.status, stalled.message) == (ConditionStatus.TRUE, "0.58")


ENDS: dict[str, tuple[Builder, dict[str, Any], Health]] = {
    "Succeeded": (make_run(), {"attempts": {1: succeeded(GOOD)}}, Health.CURRENT),
    "a gate failed": (make_run(), {"attempts": {1: succeeded(judged(Verdict.FAILED))}}, Health.FAILED),
    "a gate is undecided": (make_run(), {"attempts": {1: succeeded(judged(Verdict.INCONCLUSIVE))}}, Health.FAILED),
    "Failed": (
        make_run(),
        {"attempts": {1: Attempt(ObservedDriver(DriverPhase.FAILED, BROKEN, 3))}},
        Health.FAILED,
    ),
    "Invalid": (make_run(), {"invalid": SpecProblem("spec.engine: exactly one engine is needed")}, Health.FAILED),
}


@pytest.mark.parametrize("name", ENDS)
def test_c04_observed_generation_follows_after_the_end(name: str) -> None:
    run, observed, expected = ENDS[name]
    ended = status_of(run, **observed).model_copy(update={"cleaned_up": True})
    # Somebody sets a time to live, as the documentation invites them to.
    edited = run.with_policy(ttlSecondsAfterFinished=86400).with_status(ended).build()
    edited = edited.model_copy(update={"metadata": edited.metadata.model_copy(update={"generation": 2})})
    decided = plan(Observed(edited), SETTINGS, LATER)
    assert decided.status.observed_generation == 2
    assert {one.observed_generation for one in decided.status.conditions} == {2}
    manifest = make_run().with_status(decided.status).manifest()
    assert kstatus(manifest | {"metadata": manifest["metadata"] | {"generation": 2}}) is expected
    # Nothing else of the end is judged again.
    assert decided.desired is None and decided.events == ()
    assert decided.status.model_copy(update={"observed_generation": 1, "conditions": ()}) == ended.model_copy(
        update={"conditions": ()}
    )
    assert [(one.status, one.last_transition_time) for one in decided.status.conditions] == [
        (one.status, one.last_transition_time) for one in ended.conditions
    ]


def test_c05_admitted_is_not_false_at_the_end() -> None:
    # The second attempt had nothing left to do for replicas, so it never asked the queue for any.
    run = make_run().in_queue("gpu")
    for attempt in (succeeded(GOOD), Attempt(succeeded(GOOD).driver, ObservedReplicas(1, queued=True))):
        status = status_of(run, attempts={2: attempt})
        assert status.phase is Phase.SUCCEEDED
        assert condition(status, ConditionType.ADMITTED).status is ConditionStatus.TRUE
