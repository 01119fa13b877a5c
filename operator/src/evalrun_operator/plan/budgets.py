"""Budgets of what would otherwise go on for ever: attempts that end uncharged, and attempts that never start.

A disruption is an end of the driver that is not the run's fault: its pod is evicted, deleted or lost with its node, or
its Job is deleted. It is not charged against policy.maxAttempts; but disruptions in a row, with no finished item in
between, are followed by growing waits, and more than policy.maxDisruptions of them end the run.

Everything is counted in the status, so that it survives the operator. The pod of the driver is recorded, too: its Job
replaces a pod by itself, and the operator sees only that there is another one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from evalrun_api import Disruptions, EvalRunStatus, Phase
from evalrun_operator.plan.decision import Decision
from evalrun_operator.plan.ending import wait_before
from evalrun_operator.state.observed import Observed, ObservedDriver

COUNTED = frozenset({Phase.SUSPENDED, Phase.PENDING})
"""Phases in which the end of the driver is no disruption, or was counted before the next attempt could be created."""


def disruptions_so_far(observed: Observed, uncharged: int, now: datetime) -> Disruptions | None:
    """Count the disruptions since the last finished item.

    Args:
        observed: The run and its attempts.
        uncharged: Attempts that ended uncharged after the recorded one.
        now: The time.

    Returns:
        The count; None if there was none.
    """
    status = observed.run.status or EvalRunStatus()
    driver = observed.present.driver
    before, done = status.disruptions, _finished_items(observed, status, driver)
    if before is not None and done > before.done:
        before = None
    pods = {status.driver_pod, None if driver is None else driver.pod} - {None}
    replaced = observed.last_attempt == status.attempt and len(pods) > 1
    return disrupted(before, uncharged + replaced, done, now)


def disrupted(before: Disruptions | None, times: int, done: int, now: datetime) -> Disruptions | None:
    """Add disruptions to the count of those before."""
    if not times:
        return before
    count, highest = (0, 0) if before is None else (before.count, before.done)
    return Disruptions(count=count + times, last_at=now, done=max(done, highest))


def next_disruption(observed: Observed, before: Disruptions | None, now: datetime) -> Disruptions:
    """Count the end of the present attempt as a disruption."""
    driver = observed.present.driver
    done = _finished_items(observed, observed.run.status or EvalRunStatus(), driver)
    counted = disrupted(before, 1, done, now)
    assert counted is not None
    return counted


def wait_after(before: Disruptions | None, now: datetime) -> float:
    """Return the seconds until the attempt after a disruption may begin.

    They count from the disruption before it: an attempt that lasted longer than its wait is followed at once.

    Args:
        before: The disruptions before this one; None: it is the first.
        now: The time.
    """
    if before is None:
        return 0.0
    return wait_before(before.count + 1) - max(0.0, (now - before.last_at) / timedelta(seconds=1))


def starting_since(status: EvalRunStatus, decision: Decision, now: datetime) -> datetime | None:
    """Return since when the attempt of a decision has been starting; None if it answers items, or waits in a queue."""
    if decision.phase is not Phase.STARTING or not decision.running:
        return None
    return (status.starting_since if decision.attempt == status.attempt else None) or now


def _finished_items(observed: Observed, status: EvalRunStatus, driver: ObservedDriver | None) -> int:
    """Return the items that are finished, by the newest report."""
    recorded = status.progress if observed.progress is None else observed.progress.counts
    result = None if driver is None else driver.result
    return max(0 if recorded is None else recorded.done, 0 if result is None else result.counts.done)
