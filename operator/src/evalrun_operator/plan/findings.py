"""Findings: the present conditions of a run with their reasons, before they are merged with the recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from evalrun_api import Condition, ConditionStatus, ConditionType, Reason, RunProgress, RunResult, Verdict
from evalrun_operator.state.observed import DriverPhase, ObservedDriver, ObservedReplicas


@dataclass(frozen=True, slots=True)
class Finding:
    """The present value of one condition."""

    status: ConditionStatus
    reason: Reason
    message: str = ""


Findings = Mapping[ConditionType, Finding]

MESSAGE_LENGTH = 1024
"""Characters of a message: the status stays small."""


def true(reason: Reason, message: str = "") -> Finding:
    """Make a finding that is True."""
    return Finding(ConditionStatus.TRUE, reason, message)


def false(reason: Reason, message: str = "") -> Finding:
    """Make a finding that is False."""
    return Finding(ConditionStatus.FALSE, reason, message)


def unknown(reason: Reason, message: str = "") -> Finding:
    """Make a finding that is Unknown."""
    return Finding(ConditionStatus.UNKNOWN, reason, message)


ACCEPTED = true(Reason.ACCEPTED, "the spec is valid, and everything that it names exists")


def another_version(problem: str) -> Finding:
    """Make the finding of a spec that this version of the operator cannot use and another one could."""
    message = (
        f"written for another version of EvalRun, so that this one leaves the run as it is: {problem}; hint: run the "
        "version that it was written for, or create it again without these fields"
    )
    return unknown(Reason.ANOTHER_VERSION, message)


def going(reason: Reason, message: str) -> dict[ConditionType, Finding]:
    """Return the findings of a run in progress; ``reason`` and ``message`` say what it is doing."""
    return {
        ConditionType.ACCEPTED: ACCEPTED,
        ConditionType.ADMITTED: true(Reason.NO_QUEUE, "the run names no queue"),
        ConditionType.REPLICAS_READY: false(reason, message),
        ConditionType.COMPLETE: false(reason, message),
        ConditionType.FAILED: false(reason),
        ConditionType.SUSPENDED: false(reason),
        ConditionType.STORAGE_DEGRADED: false(Reason.STORAGE_OK),
        ConditionType.GATE_PASSED: unknown(Reason.PENDING, "gates are judged at the end"),
        ConditionType.RECONCILING: true(reason, message),
        ConditionType.STALLED: false(reason),
    }


def succeeded(result: RunResult) -> dict[ConditionType, Finding]:
    """Return the findings of a run that has its results; Stalled unless every gate passed, which holds a promotion."""
    gate = gate_finding(result)
    counts = result.counts
    message = f"{counts.ok:,} of {counts.planned:,} items are scored"
    if result.stopped is not None:
        message += f", {counts.skipped:,} were skipped: {result.stopped}"
    if result.results_uri is not None:
        message += f"; the results are in {result.results_uri}"
    if result.engine == "mock":
        message = f"MADE-UP ANSWERS of the mock engine, these scores say nothing about a model. {message}"
    passed = gate.status is ConditionStatus.TRUE
    return going(Reason.SUCCEEDED, message) | {
        ConditionType.REPLICAS_READY: false(Reason.SUCCEEDED, "the replicas have left"),
        ConditionType.COMPLETE: true(Reason.SUCCEEDED if result.stopped is None else Reason.STOPPED_EARLY, message),
        ConditionType.GATE_PASSED: gate,
        ConditionType.RECONCILING: false(Reason.SUCCEEDED),
        ConditionType.STALLED: false(Reason.SUCCEEDED) if passed else true(gate.reason, gate.message),
    }


def failed(reason: Reason, message: str, *, accepted: Finding = ACCEPTED) -> dict[ConditionType, Finding]:
    """Return the findings of a run that ended without its results."""
    return going(reason, message) | {
        ConditionType.ACCEPTED: accepted,
        ConditionType.FAILED: true(reason, message),
        ConditionType.GATE_PASSED: unknown(Reason.INCONCLUSIVE, "the run has no results"),
        ConditionType.RECONCILING: false(reason),
        ConditionType.STALLED: true(reason, message),
    }


def suspended() -> dict[ConditionType, Finding]:
    """Return the findings of a run that was stopped and can resume: it has no results, so it keeps Reconciling."""
    message = "policy.suspend is true: no pods run; what is committed stays, and false resumes from there"
    return going(Reason.SUSPENDED_BY_USER, message) | {
        ConditionType.SUSPENDED: true(Reason.SUSPENDED_BY_USER, message),
    }


_NO_VERDICT = (
    "the driver reported no verdict that this version of the operator knows; hint: results.json has the scores that "
    "the gates are about"
)


def gate_finding(result: RunResult) -> Finding:
    """Return the finding of all gates together."""
    deciding = next((gate for gate in result.gates if gate.verdict is result.verdict and not gate.advisory), None)
    message = "" if deciding is None else deciding.message
    match result.verdict:
        case None:
            return true(
                Reason.NO_GATES, "the run has no gates" if not result.gates else "no gate counts: all are advisory"
            )
        case Verdict.PASSED:
            return true(Reason.GATES_PASSED, f"every gate passed; {message}" if message else "every gate passed")
        case Verdict.FAILED:
            return false(Reason.GATE_FAILED, message)
        case Verdict.INCONCLUSIVE:
            return unknown(Reason.INCONCLUSIVE, message or _NO_VERDICT)


def replicas_finding(replicas: ObservedReplicas | None, ready: int, count: int, least: int) -> Finding:
    """Return whether enough replicas answer requests.

    Args:
        replicas: The observed replica pods.
        ready: Replicas that answer requests, as the driver counts them.
        count: Desired replicas.
        least: Replicas with which the run may start.
    """
    running = 0 if replicas is None else replicas.running
    detail = "" if replicas is None or not replicas.detail else f": {replicas.detail}"
    if ready >= count:
        return true(Reason.READY, f"{ready} of {count} replicas answer requests")
    if ready >= least:
        return true(Reason.DEGRADED, f"{ready} of {count} replicas answer requests{detail}")
    if replicas is not None and replicas.obstacle is not None and running < least:
        # The cause first: columns show only the beginning.
        return false(
            replicas.obstacle, f"{replicas.detail}; {running} of {count} pods run, at least {least} are needed"
        )
    if running > ready:
        return false(Reason.LOADING_MODEL, f"{running} of {count} pods run, {ready} have loaded the model{detail}")
    return false(Reason.WAITING_FOR_REPLICAS, f"{running} of {count} pods run, at least {least} are needed{detail}")


def preflight_message(driver: ObservedDriver | None) -> str:
    """Describe what a driver that is not ready is doing."""
    if driver is not None and driver.phase is DriverPhase.STARTING:
        return "store, model, tasks and engine arguments are being checked"
    if driver is not None and driver.obstacle is not None:
        return f"{driver.detail}; the driver's pod waits for that"
    detail = f": {driver.detail}" if driver is not None and driver.detail else ""
    return f"waiting for the driver's pod{detail}"


def storage_finding(progress: RunProgress | None) -> Finding:
    """Return whether writes to the store are delayed."""
    if progress is None or progress.degraded is None:
        return false(Reason.STORAGE_OK)
    return true(Reason.STORAGE_UNAVAILABLE, progress.degraded)


def conditions(
    findings: Findings, before: tuple[Condition, ...], generation: int | None, now: datetime
) -> tuple[Condition, ...]:
    """Merge findings into the recorded conditions; a transition time changes only with the status."""
    recorded = {condition.type: condition for condition in before}
    return tuple(
        _condition(kind, findings[kind], recorded.get(kind.value), generation, now)
        for kind in ConditionType
        if kind in findings
    )


def _condition(
    kind: ConditionType, finding: Finding, before: Condition | None, generation: int | None, now: datetime
) -> Condition:
    same = before is not None and before.status is finding.status
    return Condition(
        type=kind.value,
        status=finding.status,
        reason=finding.reason.value,
        message=finding.message[:MESSAGE_LENGTH],
        last_transition_time=before.last_transition_time if same and before is not None else now,
        observed_generation=generation,
    )
