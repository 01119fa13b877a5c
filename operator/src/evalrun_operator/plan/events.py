"""Events for ``kubectl describe``: changed conditions that a person would want to know about."""

from __future__ import annotations

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRunStatus, Reason
from evalrun_operator.kube.objects import Event

_REPORTED = {
    (ConditionType.ACCEPTED, ConditionStatus.FALSE): True,
    (ConditionType.ACCEPTED, ConditionStatus.UNKNOWN): True,
    (ConditionType.ADMITTED, ConditionStatus.FALSE): False,
    (ConditionType.REPLICAS_READY, ConditionStatus.TRUE): False,
    (ConditionType.COMPLETE, ConditionStatus.TRUE): False,
    (ConditionType.FAILED, ConditionStatus.TRUE): True,
    (ConditionType.SUSPENDED, ConditionStatus.TRUE): False,
    (ConditionType.STORAGE_DEGRADED, ConditionStatus.TRUE): True,
    (ConditionType.GATE_PASSED, ConditionStatus.TRUE): False,
    (ConditionType.GATE_PASSED, ConditionStatus.FALSE): True,
    (ConditionType.GATE_PASSED, ConditionStatus.UNKNOWN): True,
}
"""Conditions that are reported when they become so, and whether as a warning."""
_OBSTACLES = {Reason.PODS_REFUSED, Reason.VOLUME_NOT_MOUNTED, Reason.IMAGE_NOT_PULLED}
"""Reasons that are reported as warnings while a run is not complete: somebody has to act."""


def events(before: EvalRunStatus, after: EvalRunStatus) -> tuple[Event, ...]:
    """Compute the events of a change of status."""
    recorded = {condition.type: condition for condition in before.conditions}
    complete = after.condition(ConditionType.COMPLETE)
    has_results = complete is not None and complete.status is ConditionStatus.TRUE
    reported = [
        Event(condition.reason, condition.message, warning)
        for condition in after.conditions
        if (warning := _warning(condition, has_results=has_results)) is not None
        and _changed(recorded.get(condition.type), condition)
    ]
    if after.attempt and after.attempt != before.attempt:
        retry = after.attempt > 1
        message = "" if complete is None else complete.message
        reported.insert(0, Event("AttemptStarted", f"attempt {after.attempt}: {message}", warning=retry))
    return tuple(reported)


def _warning(condition: Condition, *, has_results: bool) -> bool | None:
    """Tell whether a condition is reported as a warning; None: it is not reported."""
    if condition.type == ConditionType.GATE_PASSED and (not has_results or condition.reason == Reason.NO_GATES):
        return None
    if condition.type == ConditionType.COMPLETE and condition.reason in _OBSTACLES:
        return True
    return _REPORTED.get((ConditionType(condition.type), condition.status))


def _changed(before: Condition | None, after: Condition) -> bool:
    return before is None or (before.status, before.reason) != (after.status, after.reason)
