"""Which attempt follows the end of another, and when; and what an attempt does without a driver."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from evalrun_api import ConditionType, Disruptions, Phase, Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan import versions
from evalrun_operator.plan.admission import waiting_message
from evalrun_operator.plan.budgets import COUNTED, next_disruption, wait_after
from evalrun_operator.plan.decision import Decision
from evalrun_operator.plan.ending import AttemptEnding, AttemptOutcome, wait_before
from evalrun_operator.plan.ends import failed, with_admission
from evalrun_operator.plan.references import reference_wait
from evalrun_operator.plan.situation import Situation
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.observed import Missing, ObservedDriver

QUEUED_SECONDS = 20.0
"""Seconds between two looks at a queued run without an event: at what its queue says, and at its driver's patience."""
_AT_WORK = {Phase.STARTING, Phase.RUNNING, Phase.FINISHING}
"""Phases in which an attempt has a driver, which does not leave by itself."""


def without_driver(situation: Situation) -> Decision:
    """Handle an attempt whose driver has left until its replicas are admitted, or was deleted."""
    replicas, number = situation.attempt.replicas, situation.number
    if replicas is None or replicas.ended or replicas.leaving or not (replicas.queued or replicas.admission.queue):
        return _again(situation, number + 1, "its Job was deleted")
    if replicas.queued:
        return queued(situation, Desired.UNCHANGED)
    # The same attempt: another one would have other replicas, at the end of the queue.
    if situation.status.phase in _AT_WORK:
        return _again(situation, number, "its Job was deleted")
    return _begin(situation, number, situation.charged, Reason.PREFLIGHT, "the queue admitted the replicas")


def queued(situation: Situation, driver: Desired) -> Decision:
    """Wait for a queue: no time counts, and a driver does not hold its pod for long."""
    message = waiting_message(situation)
    return Decision(
        Phase.QUEUED,
        with_admission(situation, find.going(Reason.WAITING_FOR_ADMISSION, message)),
        situation.desired(driver, Desired.UNCHANGED),
        situation.number,
        situation.charged,
        requeue_after=QUEUED_SECONDS,
    )


def after_attempt(situation: Situation, driver: ObservedDriver, ending: AttemptEnding) -> Decision:
    """Handle an attempt that ended without the run's results."""
    match ending.verdict:
        case AttemptOutcome.INVALID:
            return failed(situation, Phase.INVALID, ending.reason, ending.message)
        case AttemptOutcome.FINAL:
            return failed(situation, Phase.FAILED, ending.reason, ending.message)
        case AttemptOutcome.AGAIN:
            return _again(situation, situation.number + 1, f"{ending.reason}: {ending.message}")
        case _:
            return _retry(situation, driver, ending)


def _retry(situation: Situation, driver: ObservedDriver, ending: AttemptEnding) -> Decision:
    charged = situation.charged + 1
    most = situation.observed.run.spec.policy.max_attempts
    if charged >= most:
        message = f"{charged} of {most} attempts failed; the last: {ending.reason}: {ending.message}"
        return failed(situation, Phase.FAILED, Reason.ATTEMPTS_EXHAUSTED, message, charged)
    passed = 0.0 if driver.ended_at is None else (situation.now - driver.ended_at) / timedelta(seconds=1)
    left = wait_before(charged) - max(0.0, passed)
    why = f"attempt {situation.number} failed ({ending.reason}: {ending.message})"
    if left > 0:
        return _waiting(situation, why, left)
    return _begin(situation, situation.number + 1, charged, Reason.RETRYING, _continues(why))


def _again(situation: Situation, number: int, why: str) -> Decision:
    """Follow an end that is not charged: at once the first time, and after growing waits where it goes on so."""
    if situation.number == 0 or situation.status.phase in COUNTED:
        return _begin(situation, number, situation.charged, Reason.PREFLIGHT, find.preflight_message(None))
    disruptions = next_disruption(situation.observed, situation.disruptions, situation.now)
    if disruptions.count > situation.observed.run.spec.policy.resolved_max_disruptions:
        return too_often_disrupted(situation, disruptions, why)
    left = wait_after(situation.disruptions, situation.now)
    why = f"attempt {situation.number} was disrupted, for time {disruptions.count} in a row ({why})"
    if left > 0:
        return _waiting(situation, why, left)
    decision = _begin(situation, number, situation.charged, Reason.RETRYING, _continues(why))
    return replace(decision, disruptions=disruptions)


def too_often_disrupted(situation: Situation, disruptions: Disruptions | None, why: str) -> Decision:
    """End a run that has used up its disruptions."""
    assert disruptions is not None, "a run without disruptions is within its budget"
    most = situation.observed.run.spec.policy.resolved_max_disruptions
    message = (
        f"the driver was disrupted {disruptions.count} times in a row, and no item was finished in between "
        f"(policy.maxDisruptions is {most}); the last: {why}; what is committed stays"
    )
    return replace(failed(situation, Phase.FAILED, Reason.DISRUPTIONS_EXHAUSTED, message), disruptions=disruptions)


def _begin(situation: Situation, number: int, charged: int, reason: Reason, message: str) -> Decision:
    """Create the driver of an attempt, once everything that the spec names exists."""
    references, problem = situation.observed.references, versions.missing_input(situation.observed)
    if problem is not None:
        return versions.waiting(situation, with_admission(situation, versions.waiting_findings(problem)))
    if references is not None and references.problems:
        return _missing(situation, references.problems)
    return Decision(
        Phase.STARTING,
        with_admission(situation, find.going(reason, message)),
        situation.desired(Desired.RUNNING, Desired.UNCHANGED, number),
        number,
        charged,
        running=True,
        requeue_after=situation.settings.progress_seconds,
    )


def _missing(situation: Situation, problems: tuple[Missing, ...]) -> Decision:
    """Wait for objects that the spec names and that cannot be used."""
    wait = reference_wait(situation, problems)
    reason, message = wait.accepted.reason, wait.accepted.message
    if wait.over:
        return failed(situation, Phase.INVALID, reason, message)
    return Decision(
        Phase.PENDING,
        with_admission(situation, find.going(reason, message) | {ConditionType.ACCEPTED: wait.accepted}),
        situation.desired(Desired.UNCHANGED, Desired.ABSENT),
        situation.number,
        situation.charged,
        requeue_after=wait.look_after,
    )


def _waiting(situation: Situation, why: str, left: float) -> Decision:
    """Wait before the next attempt: seconds are ``left``."""
    decision = Decision(
        Phase.STARTING,
        with_admission(situation, find.going(Reason.RETRYING, f"{why}; the next one follows")),
        situation.desired(Desired.UNCHANGED, Desired.ABSENT),
        situation.number,
        situation.charged,
        running=True,
        requeue_after=left,
    )
    return versions.left_alone(situation.observed, decision)


def _continues(why: str) -> str:
    return f"{why}; the next one continues from there"
