"""Decisions about a run's children and status. Level-based: only the present state counts, not what happened before.

The order of ``_decide`` is the policy: an existing result is taken before anything else; invalid input ends the run;
then come suspension, the deadline, and finally the attempts. An attempt is a driver and its replicas:

- No attempt exists: the next one is created. The last one is not charged, whoever deleted it (a suspension, a person).
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

from evalrun_api import ConditionStatus, ConditionType, EvalRunStatus, Phase, Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan import versions
from evalrun_operator.plan.admission import admitted, dispatched, may_leave, waiting_message
from evalrun_operator.plan.decision import Decision, ReconcilePlan
from evalrun_operator.plan.ending import AttemptEnding, AttemptOutcome, ending_of, judged, wait_before
from evalrun_operator.plan.events import events
from evalrun_operator.plan.findings import Finding, Findings
from evalrun_operator.plan.provenance import runner_image
from evalrun_operator.plan.references import reference_wait
from evalrun_operator.plan.situation import Situation, situation_of
from evalrun_operator.plan.status import new_status, still_observed
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.observed import DriverPhase, Missing, Observed, ObservedDriver

LEAVING_SECONDS = 30.0
"""Seconds that replicas have to exit by themselves after the end of their run."""
QUEUED_SECONDS = 20.0
"""Seconds between two looks at a queued run without an event: at what its queue says, and at its driver's patience."""
WORKING = {Phase.STARTING, Phase.RUNNING}
"""Phases in which a driver has work for replicas."""


def plan(observed: Observed, settings: OperatorSettings, now: datetime) -> ReconcilePlan:
    """Decide about a run."""
    status = observed.run.status or EvalRunStatus()
    situation = situation_of(observed, settings, status, now)
    if status.phase is not None and status.phase.finished:
        return _after_the_end(situation)
    decision = versions.with_acceptance(observed, _decide(situation))
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
        return _succeeded(situation, driver)
    problem = versions.never_began(observed)
    if problem is not None:
        return _failed(situation, Phase.INVALID, Reason.INVALID_SPEC, problem.message)
    if observed.run.spec.policy.suspend:
        return _suspended(situation)
    if (elsewhere := dispatched(situation)) is not None:
        return _failed(situation, Phase.FAILED, Reason.MULTI_KUEUE_NOT_SUPPORTED, elsewhere)
    if situation.deadline_over:
        message = f"policy.activeDeadlineSeconds ({situation.deadline}) has passed; what is committed stays"
        return _failed(situation, Phase.FAILED, Reason.DEADLINE_EXCEEDED, message)
    if driver is None:
        return _without_driver(situation)
    if ending is not None:
        return _after(situation, driver, ending)
    return versions.left_alone(observed, _on_its_way(situation, driver))


# The ends ---------------------------------------------------------------------------------------------------------


def _succeeded(situation: Situation, driver: ObservedDriver) -> Decision:
    result = judged(driver.result, situation.observed.run.spec)
    return Decision(
        Phase.SUCCEEDED,
        _admitted(situation, find.succeeded(result)),
        situation.desired(Desired.UNCHANGED, Desired.UNCHANGED),
        situation.number,
        situation.charged,
        result=result,
        requeue_after=LEAVING_SECONDS,
    )


def _failed(situation: Situation, phase: Phase, reason: Reason, message: str, charged: int | None = None) -> Decision:
    accepted = find.false(reason, message) if phase is Phase.INVALID else find.ACCEPTED
    driver = situation.attempt.driver
    stays = driver is None or driver.phase.ended
    return Decision(
        phase,
        _admitted(situation, find.failed(reason, message, accepted=accepted)),
        situation.desired(Desired.UNCHANGED if stays else Desired.ABSENT, Desired.ABSENT),
        situation.number,
        situation.charged if charged is None else charged,
        result=None if driver is None else driver.result,
        requeue_after=LEAVING_SECONDS,
    )


def _after_the_end(situation: Situation) -> ReconcilePlan:
    """Handle a finished run: it is never started again; children that hold resources go, and finally the run."""
    status = still_observed(situation.status, situation.observed.run.metadata.generation)
    since = timedelta(0) if status.finished_at is None else situation.now - status.finished_at
    passed = since / timedelta(seconds=1)
    lives = situation.observed.run.spec.policy.ttl_seconds_after_finished
    if lives is not None and passed >= lives:
        return ReconcilePlan(None, status, delete_run=True)
    requeue_after = 3600.0 if lives is None else lives - passed
    driver, replicas = situation.attempt.driver, situation.attempt.replicas
    stray = driver is not None and not driver.phase.ended
    holding = replicas is not None and not replicas.ended
    if not stray and not holding:
        return ReconcilePlan(None, status, requeue_after=requeue_after)
    # An end in the future was written by another clock: nobody waits for it to pass.
    if not stray and 0 <= passed < LEAVING_SECONDS:
        return ReconcilePlan(None, status, requeue_after=min(requeue_after, LEAVING_SECONDS - passed))
    desired = situation.desired(Desired.ABSENT if stray else Desired.UNCHANGED, Desired.ABSENT)
    return ReconcilePlan(desired, status, requeue_after=min(requeue_after, LEAVING_SECONDS))


# On the way -------------------------------------------------------------------------------------------------------


def _suspended(situation: Situation) -> Decision:
    driver = situation.attempt.driver
    # A failed driver stays: its charge is counted when the run resumes.
    ended = driver is not None and driver.phase.ended
    return Decision(
        Phase.SUSPENDED,
        _admitted(situation, find.suspended()),
        situation.desired(Desired.UNCHANGED if ended else Desired.ABSENT, Desired.ABSENT),
        situation.number,
        situation.charged,
    )


def _without_driver(situation: Situation) -> Decision:
    """Handle an attempt whose driver has left until its replicas are admitted, or was deleted."""
    replicas = situation.attempt.replicas
    if replicas is None or replicas.ended or replicas.leaving or not (replicas.queued or replicas.admission.queue):
        return _next_attempt(situation, situation.charged)
    if replicas.queued:
        return _queued(situation, Desired.UNCHANGED)
    # The same attempt: another one would have other replicas, at the end of the queue.
    return _begin(situation, situation.number, situation.charged, Reason.PREFLIGHT, "the queue admitted the replicas")


def _queued(situation: Situation, driver: Desired) -> Decision:
    """Wait for a queue: no time counts, and a driver does not hold its pod for long."""
    message = waiting_message(situation)
    return Decision(
        Phase.QUEUED,
        _admitted(situation, find.going(Reason.WAITING_FOR_ADMISSION, message)),
        situation.desired(driver, Desired.UNCHANGED),
        situation.number,
        situation.charged,
        requeue_after=QUEUED_SECONDS,
    )


def _next_attempt(situation: Situation, charged: int, why: AttemptEnding | None = None) -> Decision:
    """Create the attempt after the present one."""
    if why is None:
        return _begin(situation, situation.number + 1, charged, Reason.PREFLIGHT, find.preflight_message(None))
    message = f"attempt {situation.number} failed ({why.reason}: {why.message}); the next one continues from there"
    return _begin(situation, situation.number + 1, charged, Reason.RETRYING, message)


def _begin(situation: Situation, number: int, charged: int, reason: Reason, message: str) -> Decision:
    """Create the driver of an attempt, once everything that the spec names exists."""
    references, problem = situation.observed.references, versions.missing_input(situation.observed)
    if problem is not None:
        return versions.waiting(situation, _admitted(situation, versions.waiting_findings(problem)))
    if references is not None and references.problems:
        return _missing(situation, references.problems)
    return Decision(
        Phase.STARTING,
        _admitted(situation, find.going(reason, message)),
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
        return _failed(situation, Phase.INVALID, reason, message)
    return Decision(
        Phase.PENDING,
        _admitted(situation, find.going(reason, message) | {ConditionType.ACCEPTED: wait.accepted}),
        situation.desired(Desired.UNCHANGED, Desired.ABSENT),
        situation.number,
        situation.charged,
        requeue_after=wait.look_after,
    )


def _after(situation: Situation, driver: ObservedDriver, ending: AttemptEnding) -> Decision:
    """Handle an attempt that ended without the run's results."""
    match ending.verdict:
        case AttemptOutcome.INVALID:
            return _failed(situation, Phase.INVALID, ending.reason, ending.message)
        case AttemptOutcome.FINAL:
            return _failed(situation, Phase.FAILED, ending.reason, ending.message)
        case AttemptOutcome.AGAIN:
            return _next_attempt(situation, situation.charged)
        case _:
            return _retry(situation, driver, ending)


def _retry(situation: Situation, driver: ObservedDriver, ending: AttemptEnding) -> Decision:
    charged = situation.charged + 1
    most = situation.observed.run.spec.policy.max_attempts
    if charged >= most:
        message = f"{charged} of {most} attempts failed; the last: {ending.reason}: {ending.message}"
        return _failed(situation, Phase.FAILED, Reason.ATTEMPTS_EXHAUSTED, message, charged)
    passed = 0.0 if driver.ended_at is None else (situation.now - driver.ended_at) / timedelta(seconds=1)
    left = wait_before(charged) - max(0.0, passed)
    if left <= 0:
        return _next_attempt(situation, charged, ending)
    message = f"attempt {situation.number} failed ({ending.reason}: {ending.message}); the next follows"
    return Decision(
        Phase.STARTING,
        _admitted(situation, find.going(Reason.RETRYING, message)),
        situation.desired(Desired.UNCHANGED, Desired.ABSENT),
        situation.number,
        situation.charged,
        running=True,
        requeue_after=left,
    )


def _on_its_way(situation: Situation, driver: ObservedDriver) -> Decision:
    if situation.queued:
        return _queued(situation, Desired.ABSENT if may_leave(situation) else Desired.UNCHANGED)
    if driver.phase is not DriverPhase.READY:
        leaving = driver.phase is DriverPhase.LEAVING
        # Until something says why a pod does not start, it is worth asking soon.
        silent = driver.phase is DriverPhase.WAITING and not driver.detail
        return Decision(
            Phase.STARTING,
            _admitted(situation, find.going(driver.obstacle or Reason.PREFLIGHT, find.preflight_message(driver))),
            situation.desired(Desired.UNCHANGED, Desired.UNCHANGED),
            situation.number,
            situation.charged,
            running=not leaving,
            requeue_after=2.0 if leaving else 5.0 if silent else 30.0,
        )
    return _working(situation)


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
        _admitted(situation, find.going(reason, message))
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


def _admitted(situation: Situation, findings: Findings) -> dict[ConditionType, Finding]:
    """Add what is known about the queue."""
    admission = admitted(situation)
    complete = findings[ConditionType.COMPLETE].status is ConditionStatus.TRUE
    if complete and admission.status is not ConditionStatus.TRUE:
        done = f"the run has its results; it waits for nothing in queue {situation.queue}"
        admission = find.true(Reason.ADMITTED, done)
    return dict(findings) | {ConditionType.ADMITTED: admission}
