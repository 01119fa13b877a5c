"""What an attempt that ended means for its run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evalrun_api import Phase, Reason
from evalrun_api.wire.pods import ExitCode
from evalrun_operator.state.observed import DriverPhase, ObservedDriver


class AttemptOutcome(StrEnum):
    """What follows."""

    DONE = "done"
    """The run has its results."""
    INVALID = "invalid"
    """The input is wrong: the run ends."""
    FINAL = "final"
    """The run failed, no attempt mends it."""
    RETRY = "retry"
    """Another attempt may mend it; this one is charged."""
    AGAIN = "again"
    """Nobody's fault: another attempt, uncharged."""


@dataclass(frozen=True, slots=True)
class AttemptEnding:
    """What an ended driver means."""

    verdict: AttemptOutcome
    reason: Reason
    message: str


FIRST_WAIT, LONGEST_WAIT = 10.0, 300.0


def ending_of(driver: ObservedDriver, *, deadline_over: bool) -> AttemptEnding:
    """Judge a driver that ended."""
    if driver.phase is DriverPhase.SUCCEEDED:
        return _of_success(driver)
    if driver.reason is Reason.DEADLINE_EXCEEDED:
        # The Job's own backstop, with the deadline that stood when it was made.
        return AttemptEnding(
            AttemptOutcome.FINAL if deadline_over else AttemptOutcome.AGAIN,
            Reason.DEADLINE_EXCEEDED,
            "policy.activeDeadlineSeconds have passed; what is committed stays",
        )
    reason, message = _why(driver)
    if driver.exit_code in {ExitCode.STOPPED, ExitCode.SUPERSEDED}:
        return AttemptEnding(AttemptOutcome.AGAIN, reason, message)
    if driver.exit_code == ExitCode.INVALID or (driver.result is not None and driver.result.phase is Phase.INVALID):
        return AttemptEnding(AttemptOutcome.INVALID, reason, message)
    if driver.exit_code == ExitCode.FINAL:
        return AttemptEnding(AttemptOutcome.FINAL, reason, message)
    return AttemptEnding(AttemptOutcome.RETRY, reason, message)


def wait_before(charged: int) -> float:
    """Seconds between a failed attempt and the next: none the first time, then longer each time."""
    return 0.0 if charged <= 1 else min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (charged - 2))


def _of_success(driver: ObservedDriver) -> AttemptEnding:
    if driver.result is not None and driver.result.phase is Phase.SUCCEEDED:
        return AttemptEnding(AttemptOutcome.DONE, Reason.SUCCEEDED, "all results are written")
    message = "the driver ended well, but its last words are lost; another one reads the result again"
    # With its pod gone nobody could have heard them. One that was heard and said nothing would say nothing again.
    lost = driver.exit_code is None
    return AttemptEnding(AttemptOutcome.AGAIN if lost else AttemptOutcome.RETRY, Reason.DRIVER_FAILED, message)


def _why(driver: ObservedDriver) -> tuple[Reason, str]:
    """What ended a driver: by its own words, else by what the cluster knows."""
    if driver.result is not None and driver.result.failure is not None:
        return driver.result.failure.reason, driver.result.failure.message
    code = "" if driver.exit_code is None else f" with exit code {driver.exit_code}"
    detail = f": {driver.detail}" if driver.detail else ""
    return driver.reason or Reason.DRIVER_FAILED, f"the driver died{code} without a word{detail}"
