"""The operator's decisions: pure functions of the observed state, the settings and the time."""

from evalrun_operator.plan.decision import ReconcilePlan
from evalrun_operator.plan.plan import plan
from evalrun_operator.plan.refusals import with_refusals

__all__ = ["ReconcilePlan", "plan", "with_refusals"]
