"""What the dispatcher knows of each replica: signs of life, speed, and the verdict on those that must be killed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from evalrun_runner.dispatch.policy import Departure, DispatchPolicy, KillOrder
from evalrun_runner.records.messages import Report


@dataclass(slots=True)
class ReplicaHealth:
    """A replica that has joined and not left. Times are seconds, speeds cost (estimated tokens) per second."""

    name: str
    heard: float
    """When it last reported, or joined."""
    progressed: float
    """When its engine last made progress, or had nothing to do."""
    tokens: int = 0
    steps: int = 0
    busy: bool = False
    task: int | None = None
    """The leaf task that it works on."""
    held_cost: float = 0.0
    held_items: int = 0
    held_chunks: int = 0
    condemned: float = -math.inf
    """When the last verdict was spoken over it."""
    announced: tuple[int, int] | None = None
    degraded: str | None = None
    cancels: list[int] = field(default_factory=list)
    speed: float | None = None
    """Cost per second while it holds work; None before its first commit."""
    pace: float | None = None
    """Seconds from lease to commit per unit of cost; None before its first commit."""
    work: float = 0.0
    """Committed cost, older work decayed."""
    time: float = 0.0
    """Seconds in which it held work, older ones decayed alike."""
    measured: float = 0.0
    """Up to when ``time`` is counted."""

    def hear(self, report: Report, now: float) -> int:
        """Take in the signs of life; returns the tokens processed since the last report."""
        delta = report.tokens - self.tokens if report.tokens >= self.tokens else report.tokens
        if delta or report.steps != self.steps or not report.busy or not self.held_chunks:
            self.progressed = now
        self.heard = now
        self.tokens = report.tokens
        self.steps = report.steps
        self.busy = report.busy
        self.announced = report.announced
        self.degraded = report.degraded
        return delta

    def worked(self, cost: float, since: float, now: float, half_life: float) -> None:
        """A lease of ``cost``, granted at ``since``, was committed."""
        self.advance(now, half_life)
        self.work += cost
        if self.time > 0:
            self.speed = self.work / self.time
        if cost > 0:
            pace = (now - since) / cost
            self.pace = pace if self.pace is None else 0.7 * self.pace + 0.3 * pace

    def advance(self, now: float, half_life: float) -> None:
        """Bring ``time`` up to now, if the replica has held work since it was last measured."""
        passed = now - self.measured
        self.measured = now
        if passed > 0 and self.held_chunks:
            keep = 0.5 ** (passed / half_life)
            self.work *= keep
            self.time = self.time * keep + passed


def kill_order(replica: ReplicaHealth, policy: DispatchPolicy, now: float) -> KillOrder | None:
    """Why the replica must be killed, or None. Silence and a stuck engine may both be an item's fault."""
    if now - replica.condemned < policy.kill_repeat_s:
        return None
    silent, stuck = now - replica.heard, now - replica.progressed
    if silent > policy.silence_s:
        reason = f"it has not reported for {silent:.0f} s (allowed are {policy.silence_s:.0f} s)"
    elif replica.busy and replica.held_chunks and stuck > policy.progress_s:
        reason = (
            f"its engine has processed no token for {stuck:.0f} s with requests in it "
            f"(allowed are {policy.progress_s:.0f} s)"
        )
    else:
        return None
    replica.condemned = now
    return KillOrder(replica.name, Departure.KILLED_HUNG, reason)
