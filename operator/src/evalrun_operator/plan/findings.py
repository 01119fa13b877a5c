"""Findings: what is true of a run now, as conditions with their reasons, before they meet the recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from evalrun_api import Condition, ConditionStatus, ConditionType, Reason, RunProgress, RunResult, Verdict
from evalrun_operator.state.observed import DriverPhase, ObservedDriver, ObservedReplicas


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition as it is now."""

    status: ConditionStatus
    reason: Reason
    message: str = ""


Findings = Mapping[ConditionType, Finding]

MESSAGE_LENGTH = 1024
"""Characters of a message: status stays small."""


def true(reason: Reason, message: str = "") -> Finding:
    """It is so."""
    return Finding(ConditionStatus.TRUE, reason, message)


def false(reason: Reason, message: str = "") -> Finding:
    """It is not so."""
    return Finding(ConditionStatus.FALSE, reason, message)


def unknown(reason: Reason, message: str = "") -> Finding:
    """It is not known."""
    return Finding(ConditionStatus.UNKNOWN, reason, message)


ACCEPTED = true(Reason.ACCEPTED, "the spec is right, and what it names is there")


def going(reason: Reason, message: str) -> dict[ConditionType, Finding]:
    """A run on its way: ``reason`` and ``message`` say what it does."""
    return {
        ConditionType.ACCEPTED: ACCEPTED,
        ConditionType.ADMITTED: true(Reason.NO_QUEUE, "no queue was asked for"),
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
    """A run that has its results; a gate that failed stalls what waits for it."""
    gate = gate_finding(result)
    counts = result.counts
    message = f"{counts.ok:,} of {counts.planned:,} items are scored; the results are in {result.results_uri}"
    if result.engine == "mock":
        message = f"MADE-UP ANSWERS of the mock engine, these scores say nothing of a model. {message}"
    failed_gate = gate.status is ConditionStatus.FALSE
    return going(Reason.SUCCEEDED, message) | {
        ConditionType.REPLICAS_READY: false(Reason.SUCCEEDED, "the replicas have left"),
        ConditionType.COMPLETE: true(Reason.SUCCEEDED, message),
        ConditionType.GATE_PASSED: gate,
        ConditionType.RECONCILING: false(Reason.SUCCEEDED),
        ConditionType.STALLED: true(gate.reason, gate.message) if failed_gate else false(Reason.SUCCEEDED),
    }


def failed(reason: Reason, message: str, *, accepted: Finding = ACCEPTED) -> dict[ConditionType, Finding]:
    """A run that ended without its results."""
    return going(reason, message) | {
        ConditionType.ACCEPTED: accepted,
        ConditionType.FAILED: true(reason, message),
        ConditionType.GATE_PASSED: unknown(Reason.INCONCLUSIVE, "the run has no results"),
        ConditionType.RECONCILING: false(reason),
        ConditionType.STALLED: true(reason, message),
    }


def suspended() -> dict[ConditionType, Finding]:
    """A run that was stopped and can go on: settled, as kstatus sees it."""
    message = "policy.suspend is true: no pods; what is committed stays, false goes on from there"
    return going(Reason.SUSPENDED_BY_USER, message) | {
        ConditionType.SUSPENDED: true(Reason.SUSPENDED_BY_USER, message),
        ConditionType.RECONCILING: false(Reason.SUSPENDED_BY_USER, message),
    }


def gate_finding(result: RunResult) -> Finding:
    """The verdict of all gates together."""
    worst = next((gate for gate in result.gates if gate.verdict is result.verdict), None)
    message = "" if worst is None else worst.message
    match result.verdict:
        case None:
            return true(Reason.NO_GATES, "the run has no gates")
        case Verdict.PASSED:
            return true(Reason.GATES_PASSED, "every gate passed")
        case Verdict.FAILED:
            return false(Reason.GATE_FAILED, message)
        case Verdict.INCONCLUSIVE:
            return unknown(Reason.INCONCLUSIVE, message)


def replicas_finding(replicas: ObservedReplicas | None, ready: int, count: int, least: int) -> Finding:
    """Whether enough replicas answer requests."""
    running = 0 if replicas is None else replicas.running
    detail = "" if replicas is None or not replicas.detail else f": {replicas.detail}"
    if ready >= count:
        return true(Reason.READY, f"{ready} of {count} replicas answer requests")
    if ready >= least:
        return true(Reason.DEGRADED, f"{ready} of {count} replicas answer requests{detail}")
    if running > ready:
        return false(Reason.LOADING_MODEL, f"{running} of {count} pods run, {ready} have loaded the model{detail}")
    return false(Reason.WAITING_FOR_REPLICAS, f"{running} of {count} pods run, at least {least} are needed{detail}")


def preflight_message(driver: ObservedDriver | None) -> str:
    """What a driver that is not ready is busy with."""
    if driver is not None and driver.phase is DriverPhase.STARTING:
        return "store, model, tasks and engine arguments are being checked"
    detail = f": {driver.detail}" if driver is not None and driver.detail else ""
    return f"waiting for the driver's pod{detail}"


def storage_finding(progress: RunProgress | None) -> Finding:
    """Whether writes go through."""
    if progress is None or progress.degraded is None:
        return false(Reason.STORAGE_OK)
    return true(Reason.STORAGE_UNAVAILABLE, progress.degraded)


def conditions(
    findings: Findings, before: tuple[Condition, ...], generation: int | None, now: datetime
) -> tuple[Condition, ...]:
    """The conditions of a status; a transition's time changes only with the condition's status."""
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
