"""Hedging of the tail: choice of the lease that an idle replica should run a second time, as it is late or slow."""

from __future__ import annotations

from collections.abc import Iterable

from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.dispatch.replica_registry import ReplicaRegistry
from evalrun_runner.dispatch.replicas import ReplicaHealth


def remaining(holding: Holding, pace: float, now: float) -> float:
    """Estimate the remaining seconds of a lease from its replica's pace.

    A lease that is overdue is expected to need as long again as it is overdue; otherwise, a stuck lease would always
    appear to be almost done.
    """
    due = holding.since + pace * holding.cost - now
    return due if due >= 0 else -due


def choose(
    idle: ReplicaHealth,
    candidates: Iterable[Holding],
    registry: ReplicaRegistry,
    policy: DispatchPolicy,
    now: float,
) -> Holding | None:
    """Return the lease that is expected to end last if a copy on ``idle`` would end before it, else None."""
    last: Holding | None = None
    last_left = 0.0
    for holding in candidates:
        pace = registry[holding.replica].pace or registry.pace
        left = now - holding.since if pace is None else remaining(holding, pace, now)
        if last is None or left > last_left:
            last, last_left = holding, left
    if last is None:
        return None
    own_pace = idle.pace or registry.pace
    needed = policy.hedge_blind_s if own_pace is None else policy.hedge_gain * own_pace * last.cost
    return last if last_left > needed else None
