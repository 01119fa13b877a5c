"""One decision, before it is written into a status."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import Phase, RunResult
from evalrun_operator.plan.findings import Findings
from evalrun_operator.state.desired import Wanted


@dataclass(frozen=True, slots=True)
class Step:
    """What is decided of a run."""

    phase: Phase
    findings: Findings
    wanted: Wanted | None = None
    attempt: int = 0
    charged: int = 0
    """Attempts that count against policy.maxAttempts."""
    running: bool = False
    """Whether time counts against policy.activeDeadlineSeconds."""
    ready: int = 0
    """Replicas that answer."""
    result: RunResult | None = None
    """The run's end, if a driver said it."""
    again_in: float = 60.0
