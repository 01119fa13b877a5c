"""The wait of a run for objects that its spec names and that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import inf

from evalrun_api import ConditionType, Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan.findings import Finding
from evalrun_operator.plan.situation import Situation
from evalrun_operator.state.observed import Missing

SHORTEST_LOOK, LONGEST_LOOK = 10.0, 60.0
"""Seconds between two looks, as no watch reports these objects. The longer a run waits, the rarer they are."""
FAILED_LOOK = 1.0
"""Seconds after a look that failed, at first: most failures last for a moment."""


@dataclass(frozen=True, slots=True)
class ReferenceWait:
    """What is said of the objects that a run waits for, and how long it does."""

    accepted: Finding
    """Accepted: False where an object is missing; Unknown where all that is known is that it may not be read."""
    over: bool
    """Whether the wait is over: the run is Invalid."""
    look_after: float
    """Seconds until the objects should be looked up again."""


def reference_wait(situation: Situation, problems: tuple[Missing, ...]) -> ReferenceWait:
    """Judge the objects that are missing: those of one commit arrive in any order, so it may be for a while.

    The wait ends only before the first attempt, because afterwards there is work to lose, and only for what is known to
    be missing: what could not be read may be as it should be. It counts from the moment at which something was first
    found missing, which the condition has: it outlives the operator's process.
    """
    missing = [problem for problem in problems if not problem.unread]
    first = (missing or problems)[0]
    message = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
    accepted = find.false(first.reason, message) if missing else find.unknown(first.reason, message)
    waited = _seconds_of(situation, accepted)
    left = inf
    if missing and situation.number == 0:
        given = 0.0 if first.reason is Reason.INVALID_SPEC else situation.settings.reference_grace_seconds
        left = given - waited
    shortest = FAILED_LOOK if first.reason is Reason.RETRYING else SHORTEST_LOOK
    look_after = min(left, LONGEST_LOOK, max(shortest, waited / 10))
    return ReferenceWait(accepted, over=left <= 0, look_after=look_after)


def _seconds_of(situation: Situation, accepted: Finding) -> float:
    """Return for how many seconds the condition Accepted has had this status."""
    recorded = situation.status.condition(ConditionType.ACCEPTED)
    if recorded is None or recorded.status is not accepted.status:
        return 0.0
    return max(0.0, (situation.now - recorded.last_transition_time) / timedelta(seconds=1))
