"""The operator's decisions: pure functions of the observed state, the settings and the time."""

from evalrun_operator.plan.plan import ReconcilePlan, plan

__all__ = ["ReconcilePlan", "plan"]
