"""What becomes of a plan of which something could not be written: the status says so, and nothing that is not so.

A refused write never keeps the status from being written: progress, suspension, the deadline and the end are as true as
before. Only an attempt that could not be created is not recorded, or each try would count as another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRun, EvalRunStatus, Phase, Reason
from evalrun_operator.kube.errors import ChildRefused, OperatorError
from evalrun_operator.kube.objects import Event
from evalrun_operator.plan.decision import ReconcilePlan
from evalrun_operator.plan.events import events
from evalrun_operator.plan.findings import MESSAGE_LENGTH
from evalrun_operator.state.desired import Desired

_IN_PROGRESS = {ConditionType.REPLICAS_READY, ConditionType.COMPLETE, ConditionType.RECONCILING}
"""Conditions of a run that has not ended that say what it is doing."""
_WAITING = {Phase.PENDING, Phase.QUEUED, Phase.STARTING}
"""Phases in which no item is answered yet."""


def with_refusals(
    decided: ReconcilePlan, run: EvalRun, refusals: Sequence[OperatorError], *, created: bool
) -> ReconcilePlan:
    """Change a plan by what was refused of it.

    Args:
        decided: The plan.
        run: The run as it was when the plan was made.
        refusals: What was refused, in order; at least one.
        created: Whether everything that was to be created exists.
    """
    before, status = run.status or EvalRunStatus(), decided.status
    words = "; ".join(dict.fromkeys(map(str, refusals)))
    told = decided.events
    if decided.desired is not None and decided.desired.driver is Desired.RUNNING and not created:
        status = _without_the_attempt(status, before)
        told = events(before, status)
    if status.finished:
        # What could not be deleted is not gone: it is tried again.
        status = status.model_copy(update={"cleaned_up": before.cleaned_up})
    elif status.phase is not None:
        waits = not created and status.phase in _WAITING
        said = tuple(_said(one, words, waits=waits) for one in status.conditions)
        status = status.model_copy(update={"conditions": said})
    refused = [Event("ChildRefused", str(one), warning=True) for one in refusals if isinstance(one, ChildRefused)]
    return replace(decided, status=status, events=(*told, *refused))


def _without_the_attempt(status: EvalRunStatus, before: EvalRunStatus) -> EvalRunStatus:
    """Take back what the status says about an attempt that could not be created."""
    attempts = ("attempt", "charged_attempts", "driver_pod", "runner_image", "resolved_runs")
    # Time that a run spends waiting for its first pod is not time that it runs.
    kept = (*attempts, "started_at", "active_since", "active_seconds", "starting_since", "results_uri")
    return status.model_copy(update={"phase": Phase.PENDING} | {field: getattr(before, field) for field in kept})


def _said(condition: Condition, words: str, *, waits: bool) -> Condition:
    """Add what was refused to the message of a condition; it is the reason where the run waits for nothing else."""
    true = condition.status is ConditionStatus.TRUE
    if condition.type == ConditionType.SUSPENDED and true:
        waits = False
    elif condition.type not in _IN_PROGRESS:
        return condition
    message = f"{words}; {condition.message}" if condition.message else words
    ready = condition.type == ConditionType.REPLICAS_READY and true
    reason = Reason.CHILD_REFUSED.value if waits and not ready else condition.reason
    return condition.model_copy(update={"message": message[:MESSAGE_LENGTH], "reason": reason})
