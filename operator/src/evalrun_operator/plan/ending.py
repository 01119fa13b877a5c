"""The meaning of an attempt's end for its run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evalrun_api import EvalRunSpec, Phase, Reason, RunResult, Verdict
from evalrun_api.backoff import backoff
from evalrun_api.wire.pods import ExitCode
from evalrun_operator.state.observed import DriverPhase, ObservedDriver


class AttemptOutcome(StrEnum):
    """The consequence of an attempt's end."""

    DONE = "done"
    """The run has its results."""
    INVALID = "invalid"
    """The input is wrong: the run ends."""
    FINAL = "final"
    """The run failed, and no other attempt can help."""
    RETRY = "retry"
    """Another attempt may succeed; this one is charged."""
    AGAIN = "again"
    """Not a failure of the run: another attempt follows, and this one is not charged."""


@dataclass(frozen=True, slots=True)
class AttemptEnding:
    """The outcome of an attempt, with its reason."""

    verdict: AttemptOutcome
    reason: Reason
    message: str


FIRST_WAIT, LONGEST_WAIT = 10.0, 300.0
"""Seconds: after the second failure, and at most."""

_KILLED = 137
"""Exit code of a container that got SIGKILL, as at the end of its grace period."""
_STOPPED = (
    "the driver was stopped (exit code 143), and nobody deleted, drained or preempted its pod: so a kubelet stops a "
    "driver that has not answered its liveness probe for 3 minutes; hint: its log says what it was doing"
)


def ending_of(driver: ObservedDriver, *, deadline_over: bool) -> AttemptEnding:
    """Judge a driver that ended.

    Args:
        driver: A driver whose phase is SUCCEEDED or FAILED.
        deadline_over: Whether policy.activeDeadlineSeconds has passed, by the operator's own clock.
    """
    if driver.phase is DriverPhase.SUCCEEDED:
        return _of_success(driver)
    if driver.reason is Reason.DEADLINE_EXCEEDED:
        # The Job enforces the deadline that was set when it was created.
        if not deadline_over:
            message = "its Job had a shorter policy.activeDeadlineSeconds than the run has now"
            return AttemptEnding(AttemptOutcome.AGAIN, Reason.DEADLINE_EXCEEDED, message)
        message = "policy.activeDeadlineSeconds has passed; what is committed stays"
        return AttemptEnding(AttemptOutcome.FINAL, Reason.DEADLINE_EXCEEDED, message)
    reason, message = _why(driver)
    if driver.exit_code == ExitCode.SUPERSEDED or _is_disrupted(driver):
        return AttemptEnding(AttemptOutcome.AGAIN, reason, message)
    if driver.exit_code == ExitCode.STOPPED:
        return AttemptEnding(AttemptOutcome.RETRY, Reason.DRIVER_FAILED, _STOPPED)
    if driver.exit_code == ExitCode.INVALID or (driver.result is not None and driver.result.phase is Phase.INVALID):
        return AttemptEnding(AttemptOutcome.INVALID, reason, message)
    if driver.exit_code == ExitCode.FINAL:
        return AttemptEnding(AttemptOutcome.FINAL, reason, message)
    return AttemptEnding(AttemptOutcome.RETRY, reason, message)


def judged(result: RunResult | None, spec: EvalRunSpec) -> RunResult:
    """Return the result of a run that has one; without a verdict, though gates count, its verdict is Inconclusive.

    Otherwise nothing would hold a promotion.
    """
    assert result is not None, "a run is done when its driver reported so"
    undecided = result.verdict is None and any(not gate.advisory for gate in spec.gates)
    return result.model_copy(update={"verdict": Verdict.INCONCLUSIVE}) if undecided else result


def wait_before(ends: int) -> float:
    """Return the seconds between the end of an attempt and the next: 0 after the first end, then doubling."""
    return backoff(ends - 1, FIRST_WAIT, LONGEST_WAIT)


def _is_disrupted(driver: ObservedDriver) -> bool:
    """Check that a driver ended because its pod was told to leave; one that ended by itself before that counts."""
    return driver.disrupted and driver.reason is None and driver.exit_code in {None, ExitCode.STOPPED, _KILLED}


def _of_success(driver: ObservedDriver) -> AttemptEnding:
    if driver.done:
        return AttemptEnding(AttemptOutcome.DONE, Reason.SUCCEEDED, "all results are written")
    message = "the driver succeeded, but its result message is lost; another driver reads the result again"
    # Without its pod its result could not be read. A driver that left no readable result would leave none again.
    lost = driver.exit_code is None
    return AttemptEnding(AttemptOutcome.AGAIN if lost else AttemptOutcome.RETRY, Reason.DRIVER_FAILED, message)


def _why(driver: ObservedDriver) -> tuple[Reason, str]:
    """Return why a driver ended: by its own result, else by what the cluster knows."""
    if driver.result is not None and driver.result.failure is not None:
        return driver.result.failure.reason, driver.result.failure.message
    code = "" if driver.exit_code is None else f" with exit code {driver.exit_code}"
    detail = f": {driver.detail}" if driver.detail else ""
    return driver.reason or Reason.DRIVER_FAILED, f"the driver died{code} without a result message{detail}"
