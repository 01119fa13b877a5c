"""Decisions that end a run, and what each decision says about the queue."""

from __future__ import annotations

from evalrun_api import ConditionStatus, ConditionType, Phase, Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan.admission import admitted
from evalrun_operator.plan.decision import Decision
from evalrun_operator.plan.ending import judged
from evalrun_operator.plan.findings import Finding, Findings
from evalrun_operator.plan.situation import Situation
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.observed import ObservedDriver

LEAVING_SECONDS = 30.0
"""Seconds that replicas have to exit by themselves after the end of their run."""


def succeeded(situation: Situation, driver: ObservedDriver) -> Decision:
    """End a run with its results."""
    result = judged(driver.result, situation.observed.run.spec)
    return Decision(
        Phase.SUCCEEDED,
        with_admission(situation, find.succeeded(result)),
        situation.desired(Desired.UNCHANGED, Desired.UNCHANGED),
        situation.number,
        situation.charged,
        result=result,
        requeue_after=LEAVING_SECONDS,
    )


def failed(situation: Situation, phase: Phase, reason: Reason, message: str, charged: int | None = None) -> Decision:
    """End a run without results; its driver leaves if it has not ended."""
    accepted = find.false(reason, message) if phase is Phase.INVALID else find.ACCEPTED
    driver = situation.attempt.driver
    stays = driver is None or driver.phase.ended
    return Decision(
        phase,
        with_admission(situation, find.failed(reason, message, accepted=accepted)),
        situation.desired(Desired.UNCHANGED if stays else Desired.ABSENT, Desired.ABSENT),
        situation.number,
        situation.charged if charged is None else charged,
        result=None if driver is None else driver.result,
        requeue_after=LEAVING_SECONDS,
    )


def with_admission(situation: Situation, findings: Findings) -> dict[ConditionType, Finding]:
    """Add what is known about the queue."""
    admission = admitted(situation)
    complete = findings[ConditionType.COMPLETE].status is ConditionStatus.TRUE
    if complete and admission.status is not ConditionStatus.TRUE:
        done = "the run has its results, and waits for no queue"
        admission = find.true(Reason.ADMITTED, done)
    return dict(findings) | {ConditionType.ADMITTED: admission}
