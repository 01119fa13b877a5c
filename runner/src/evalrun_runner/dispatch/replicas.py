"""Health of replicas as the dispatcher sees it: signs of life, speed, and which replicas must be killed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from evalrun_runner.dispatch.policy import Departure, DispatchPolicy, KillOrder
from evalrun_runner.records.messages import Report


@dataclass(slots=True)
class ReplicaHealth:
    """Health of a present replica. Times are in seconds, speeds in cost (estimated tokens) per second."""

    name: str
    reported: float
    """Time of its last report, or of its joining."""
    progressed: float
    """Time at which its engine last made progress, or had nothing to do."""
    tokens: int = 0
    steps: int = 0
    busy: bool = False
    task: int | None = None
    """Number of the leaf task that it works on."""
    held_cost: float = 0.0
    held_items: int = 0
    held_chunks: int = 0
    condemned: float = -math.inf
    """Time of its last kill order."""
    announced: tuple[int, int] | None = None
    degraded: str | None = None
    cancels: list[int] = field(default_factory=list)
    speed: float | None = None
    """Cost per second while it holds work; None before its first commit."""
    pace: float | None = None
    """Seconds from lease to commit per unit of cost; None before its first commit."""
    work: float = 0.0
    """Committed cost, with decay of older work."""
    time: float = 0.0
    """Seconds in which it held work, with the same decay."""
    measured: float = 0.0
    """Time up to which ``time`` is counted."""

    def receive(self, report: Report, now: float) -> int:
        """Update the signs of life, and return the number of tokens processed since the last report."""
        delta = report.tokens - self.tokens if report.tokens >= self.tokens else report.tokens
        if delta or report.steps != self.steps or not report.busy:
            self.progressed = now
        self.reported = now
        self.tokens = report.tokens
        self.steps = report.steps
        self.busy = report.busy
        self.announced = report.announced
        self.degraded = report.degraded
        return delta

    def worked(self, cost: float, since: float, now: float, half_life: float) -> None:
        """Update speed and pace after the commit of a lease of ``cost`` that was granted at ``since``."""
        self.advance(now, half_life)
        self.work += cost
        if self.time > 0:
            self.speed = self.work / self.time
        if cost > 0:
            pace = (now - since) / cost
            self.pace = pace if self.pace is None else 0.7 * self.pace + 0.3 * pace

    def advance(self, now: float, half_life: float) -> None:
        """Update ``time`` to now if the replica has held work since the last measurement."""
        passed = now - self.measured
        self.measured = now
        if passed > 0 and self.held_chunks:
            keep = 0.5 ** (passed / half_life)
            self.work *= keep
            self.time = self.time * keep + passed


def kill_order(replica: ReplicaHealth, policy: DispatchPolicy, now: float) -> KillOrder | None:
    """Return the order to kill the replica if it is silent or stuck, which an item may have caused, else None."""
    if now - replica.condemned < policy.kill_repeat_s:
        return None
    silent, stuck = now - replica.reported, now - replica.progressed
    if silent > policy.silence_s:
        reason = f"it has not reported for {silent:.0f} s (allowed are {policy.silence_s:.0f} s)"
    # Even without a lease: what it held was cancelled, and an engine that hangs with it takes nothing more.
    elif replica.busy and stuck > policy.progress_s:
        reason = (
            f"its engine has processed no token for {stuck:.0f} s with requests in it "
            f"(allowed are {policy.progress_s:.0f} s)"
        )
    else:
        return None
    replica.condemned = now
    return KillOrder(replica.name, Departure.KILLED_HUNG, reason)
