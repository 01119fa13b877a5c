"""Hedging the tail: which lease an idle replica should run a second time, because the first is late or slow."""

from __future__ import annotations

from collections.abc import Iterable

from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.dispatch.replica_registry import ReplicaRegistry
from evalrun_runner.dispatch.replicas import ReplicaHealth


def remaining(holding: Holding, pace: float, now: float) -> float:
    """Seconds that a lease is expected to need still, by its replica's pace.

    What is late is expected to be late as long again: without that, a stuck lease would look done for ever.
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
    """The lease that is expected to end last, if a copy on ``idle`` would end before it; None if none would."""
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
