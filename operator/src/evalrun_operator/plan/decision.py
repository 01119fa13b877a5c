"""One decision, before it is written into a status."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import Phase, RunResult
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
    requeue_after: float = 60.0
