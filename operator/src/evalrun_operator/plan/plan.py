"""Decisions about a run's children and status. Level-based: only the present state counts, not what happened before.

The order of ``_decide`` is the policy: an existing result is taken before anything else; invalid input ends the run;
then come suspension, the deadline, and finally the attempts. An attempt is a driver and its replicas:

- No attempt exists: the next one is created. The last one is not charged, whoever deleted it; unless that was a
  suspension, it counts as a disruption (``budgets``).
- Its driver is not ready: only the driver runs, because preflight needs no GPU.
- Its driver is ready: replicas run, as many as the spec asks for.
- A queue has not admitted its replicas: the driver leaves after a while, and is made again in the same attempt when the
  queue admits them.
- Its driver failed: replicas are deleted; the next attempt follows, charged or not, or the run ends (``ending``).

Attempts are recorded after they are created, so that a crash in between only repeats idempotent writes. Charges are
counted when the next attempt is recorded, from the drivers in between.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from evalrun_api import ConditionType, EvalRunStatus, Phase, Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan import versions
from evalrun_operator.plan.admission import dispatched, may_leave
from evalrun_operator.plan.attempts import after_attempt, queued, too_often_disrupted, without_driver
from evalrun_operator.plan.budgets import starting_since
from evalrun_operator.plan.decision import Decision, ReconcilePlan
from evalrun_operator.plan.ending import AttemptOutcome, ending_of
from evalrun_operator.plan.ends import LEAVING_SECONDS, failed, succeeded, with_admission
from evalrun_operator.plan.events import events
from evalrun_operator.plan.provenance import runner_image
from evalrun_operator.plan.situation import Situation, situation_of
from evalrun_operator.plan.status import new_status, still_observed
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.observed import DriverPhase, Observed, ObservedDriver

WORKING = {Phase.STARTING, Phase.RUNNING}
"""Phases in which a driver has work for replicas."""


def plan(observed: Observed, settings: OperatorSettings, now: datetime) -> ReconcilePlan:
    """Decide about a run."""
    status = observed.run.status or EvalRunStatus()
    situation = situation_of(observed, settings, status, now)
    if status.finished:
        return _after_the_end(situation)
    decision = versions.with_acceptance(observed, _in_time(situation, _decide(situation)))
    if decision.phase is not Phase.SUSPENDED and decision.disruptions is None:
        decision = replace(decision, disruptions=situation.disruptions)
    image = runner_image(observed, status, settings.image.reference, decision.attempt)
    after = new_status(observed, decision, situation.spent, image, now)
    requeue_after = decision.requeue_after
    if situation.deadline is not None and decision.running:
        requeue_after = max(0.0, min(requeue_after, situation.deadline - situation.spent))
    desired = decision.desired and replace(decision.desired, image=image.reference)
    return ReconcilePlan(desired, after, events(status, after), requeue_after=requeue_after)


def _decide(situation: Situation) -> Decision:
    """Apply the policy, in its order."""
    observed, driver = situation.observed, situation.attempt.driver
    ending = None
    if driver is not None and driver.phase.ended:
        ending = ending_of(driver, deadline_over=situation.deadline_over)
    if driver is not None and ending is not None and ending.verdict is AttemptOutcome.DONE:
        return succeeded(situation, driver)
    problem = versions.never_began(observed)
    if problem is not None:
        return failed(situation, Phase.INVALID, Reason.INVALID_SPEC, problem.message)
    if observed.run.spec.policy.suspend:
        return _suspended(situation)
    if (elsewhere := dispatched(situation)) is not None:
        return failed(situation, Phase.FAILED, Reason.MULTI_KUEUE_NOT_SUPPORTED, elsewhere)
    if situation.deadline_over:
        message = f"policy.activeDeadlineSeconds ({situation.deadline}) has passed; what is committed stays"
        return failed(situation, Phase.FAILED, Reason.DEADLINE_EXCEEDED, message)
    if situation.too_often_disrupted:
        return too_often_disrupted(situation, situation.disruptions, "its pod was replaced")
    if driver is None:
        return without_driver(situation)
    if ending is not None:
        return after_attempt(situation, driver, ending)
    return versions.left_alone(observed, _on_its_way(situation, driver))


# On the way -------------------------------------------------------------------------------------------------------


def _suspended(situation: Situation) -> Decision:
    driver = situation.attempt.driver
    # A failed driver stays: its charge is counted when the run resumes.
    ended = driver is not None and driver.phase.ended
    return Decision(
        Phase.SUSPENDED,
        with_admission(situation, find.suspended()),
        situation.desired(Desired.UNCHANGED if ended else Desired.ABSENT, Desired.ABSENT),
        situation.number,
        situation.charged,
    )


def _in_time(situation: Situation, decision: Decision) -> Decision:
    """Hold an attempt that starts against policy.startDeadlineSeconds."""
    limit, since = situation.observed.run.spec.policy.start_deadline_seconds, None
    driver = situation.attempt.driver
    if driver is not None and not driver.phase.ended:
        since = starting_since(situation.status, decision, situation.now)
    if limit is None or since is None:
        return decision
    left = limit - (situation.now - since) / timedelta(seconds=1)
    if left > 0:
        return replace(decision, requeue_after=min(decision.requeue_after, left))
    message = (
        f"attempt {situation.number} answered no item within policy.startDeadlineSeconds ({limit}); the last that is "
        f"known: {decision.findings[ConditionType.COMPLETE].message}"
    )
    return failed(situation, Phase.FAILED, Reason.START_DEADLINE_EXCEEDED, message)


def _on_its_way(situation: Situation, driver: ObservedDriver) -> Decision:
    if situation.queued:
        return queued(situation, Desired.ABSENT if may_leave(situation) else Desired.UNCHANGED)
    if situation.observed.token_lost and driver.phase in {DriverPhase.STARTING, DriverPhase.READY}:
        return _with_a_new_token(situation)
    if driver.phase is not DriverPhase.READY:
        leaving = driver.phase is DriverPhase.LEAVING
        # Until something says why a pod does not start, it is worth asking soon.
        silent = driver.phase is DriverPhase.WAITING and not driver.detail
        return Decision(
            _leaving_phase(situation) if leaving else Phase.STARTING,
            with_admission(situation, find.going(driver.obstacle or Reason.PREFLIGHT, find.preflight_message(driver))),
            situation.desired(Desired.UNCHANGED, Desired.UNCHANGED),
            situation.number,
            situation.charged,
            running=not leaving,
            requeue_after=2.0 if leaving else 5.0 if silent else 30.0,
        )
    return _working(situation)


def _leaving_phase(situation: Situation) -> Phase:
    """Keep why a driver leaves: where a queue or a suspension made it go, its end is no disruption."""
    before = situation.status.phase
    if before in {Phase.SUSPENDED, Phase.PENDING}:
        return Phase.PENDING
    return Phase.QUEUED if before is Phase.QUEUED else Phase.STARTING


def _with_a_new_token(situation: Situation) -> Decision:
    """End an attempt whose Secret is gone: pods that start from now on could not talk to those that run."""
    message = (
        "the Secret with the token of the run's Ray was deleted, and pods wait for it: the next attempt gets a new one "
        "and continues from what is committed"
    )
    return Decision(
        Phase.STARTING,
        with_admission(situation, find.going(Reason.RETRYING, message)),
        situation.desired(Desired.ABSENT, Desired.ABSENT),
        situation.number,
        situation.charged,
        running=True,
        requeue_after=2.0,
    )


def _working(situation: Situation) -> Decision:
    """Handle a ready driver: replicas are worth their GPUs until it reports that all items are answered."""
    spec, progress = situation.observed.run.spec, situation.observed.progress
    replicas = situation.attempt.replicas
    ready = 0 if progress is None else progress.replicas_ready
    phase = _phase(situation)
    # A driver that does not answer may have finished: replicas that left are not created again on a guess.
    has_work = replicas is None or (progress is not None and progress.phase in WORKING)
    count = situation.observed.count
    finding = find.replicas_finding(replicas, ready, count, min(spec.replicas.resolved_min_count, count))
    reason = {Phase.RUNNING: Reason.RUNNING, Phase.FINISHING: Reason.AGGREGATING}.get(phase, finding.reason)
    message = finding.message if reason is finding.reason else _doing(situation)
    return Decision(
        phase,
        with_admission(situation, find.going(reason, message))
        | {
            ConditionType.REPLICAS_READY: finding,
            ConditionType.STORAGE_DEGRADED: find.storage_finding(progress),
        },
        situation.desired(Desired.UNCHANGED, Desired.RUNNING if has_work else Desired.UNCHANGED),
        situation.number,
        situation.charged,
        running=True,
        ready=ready,
        requeue_after=situation.settings.progress_seconds,
    )


def _phase(situation: Situation) -> Phase:
    progress, before = situation.observed.progress, situation.status.phase
    if progress is not None and progress.phase in {Phase.STARTING, Phase.RUNNING, Phase.FINISHING}:
        return progress.phase
    return before if before in {Phase.RUNNING, Phase.FINISHING} else Phase.STARTING


def _doing(situation: Situation) -> str:
    progress = situation.observed.progress
    if progress is None:
        return "the driver does not answer; it will be asked again"
    note = f"; {progress.note}" if progress.note else ""
    return f"items are being answered{note}" if progress.phase is Phase.RUNNING else f"{progress.phase.value}{note}"


# After the end -----------------------------------------------------------------------------------------------------


def _after_the_end(situation: Situation) -> ReconcilePlan:
    """Handle a finished run: it is never started again; children that hold resources go, and finally the run."""
    status = still_observed(situation.status, situation.observed.run.metadata.generation)
    since = timedelta(0) if status.finished_at is None else situation.now - status.finished_at
    passed = since / timedelta(seconds=1)
    lives = situation.observed.run.spec.policy.ttl_seconds_after_finished
    if lives is None and situation.observed.unusable is None:
        lives = situation.settings.ttl_seconds_after_finished
    if lives is not None and passed >= lives:
        return ReconcilePlan(None, status, delete_run=True)
    requeue_after = 3600.0 if lives is None else lives - passed
    driver, replicas = situation.attempt.driver, situation.attempt.replicas
    stray = driver is not None and not driver.phase.ended
    holding = replicas is not None and not replicas.ended
    if not stray and not holding and (status.cleaned_up or not situation.number):
        return ReconcilePlan(None, status, requeue_after=requeue_after)
    if not stray and not holding:
        # No pod is left that could read it; the Jobs stay, for their logs.
        desired = replace(situation.desired(Desired.UNCHANGED, Desired.UNCHANGED), others=Desired.ABSENT)
        cleaned = status.model_copy(update={"cleaned_up": True})
        return ReconcilePlan(desired, cleaned, requeue_after=requeue_after)
    # An end in the future was written by another clock: nobody waits for it to pass.
    if not stray and 0 <= passed < LEAVING_SECONDS:
        return ReconcilePlan(None, status, requeue_after=min(requeue_after, LEAVING_SECONDS - passed))
    desired = situation.desired(Desired.ABSENT if stray else Desired.UNCHANGED, Desired.ABSENT)
    return ReconcilePlan(desired, status, requeue_after=min(requeue_after, LEAVING_SECONDS))
