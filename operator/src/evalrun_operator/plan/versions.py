"""Runs whose spec is for another version of the operator, as after an upgrade, a rollback, or during either.

A spec is judged once: what began goes on with the children that it has, whatever this version thinks of its spec. Only
what needs no spec is decided: the driver's end, and the user's own words (suspend, the deadline), where they can be
read.
"""

from __future__ import annotations

from dataclasses import replace

from evalrun_api import ConditionType, Phase
from evalrun_operator.plan import findings as find
from evalrun_operator.plan.decision import Decision
from evalrun_operator.plan.findings import Findings
from evalrun_operator.plan.situation import Situation
from evalrun_operator.state.observed import Observed, SpecProblem

LOOK_AFTER = 20.0
"""Seconds after which a waiting run is looked at again: a definition that changes is no event of its objects."""


def never_began(observed: Observed) -> SpecProblem | None:
    """Return why a run is Invalid: it has not begun, and its spec breaks a rule in fields that all are known."""
    problem = observed.invalid
    return problem if problem is not None and not problem.unknown and observed.last_attempt == 0 else None


def missing_input(observed: Observed) -> SpecProblem | None:
    """Return why the next attempt cannot be made: its input would have to be made from a spec that cannot be read."""
    references = observed.references
    settled = observed.unusable is None and references is not None and references.first_config is not None
    return None if settled else observed.invalid


def waiting_findings(problem: SpecProblem) -> Findings:
    """Return the findings of a run that waits for an operator that can read its spec."""
    said = find.another_version(problem.message)
    return find.going(said.reason, said.message)


def waiting(situation: Situation, findings: Findings) -> Decision:
    """Wait for an operator that can read the spec; what exists stays."""
    return Decision(Phase.PENDING, findings, None, situation.number, situation.charged, requeue_after=LOOK_AFTER)


def left_alone(observed: Observed, decision: Decision) -> Decision:
    """Keep a decision about a working run from touching its children where they are another version's."""
    return decision if observed.unusable is None else replace(decision, desired=None)


def with_acceptance(observed: Observed, decision: Decision) -> Decision:
    """Say in Accepted that a run that goes on, or waits, is for another version."""
    if (
        observed.invalid is None
        or decision.phase.finished
        or (observed.unusable is None and decision.desired is not None)
    ):
        return decision
    accepted = {ConditionType.ACCEPTED: find.another_version(observed.invalid.message)}
    return replace(decision, findings=dict(decision.findings) | accepted)
