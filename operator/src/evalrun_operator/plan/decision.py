"""One decision, before it is written into a status, and the plan that is made of it."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import Disruptions, EvalRunStatus, Phase, RunResult
from evalrun_operator.kube.objects import Event
from evalrun_operator.plan.findings import Findings
from evalrun_operator.state.desired import DesiredState


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a run."""

    phase: Phase
    findings: Findings
    desired: DesiredState | None = None
    attempt: int = 0
    charged: int = 0
    """Attempts that count against policy.maxAttempts."""
    running: bool = False
    """Whether time counts against policy.activeDeadlineSeconds."""
    ready: int = 0
    """Replicas that answer requests."""
    result: RunResult | None = None
    """The result of the run, if a driver reported it."""
    disruptions: Disruptions | None = None
    """The count with one more disruption, where this decision adds one."""
    requeue_after: float = 60.0


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """The desired children, the new status, the events, and when to reconcile again."""

    desired: DesiredState | None
    """Desired children; None leaves them as they are."""
    status: EvalRunStatus
    events: tuple[Event, ...] = ()
    delete_run: bool = False
    """Whether its time to live is over."""
    requeue_after: float = 60.0
    """Seconds until the run is reconciled again without an event, at most."""
