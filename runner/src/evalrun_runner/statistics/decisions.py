"""Decide gates: Passed, Failed or Inconclusive, each with a stated error, alone and together.

A gate has one or more criteria (`min`, `max`, a regression, a relative regression). Each is decided by one-sided bounds
with the gate's confidence 1 - alpha:

    Passed         the bound on the bad side is within what is allowed
    Failed         the bound on the good side is beyond it
    Inconclusive   otherwise: the items are too few to tell

Together (`fold`): the run passes if every criterion does, and needs no correction for that: a run that should not pass
has a criterion that passes with a chance of at most alpha (intersection-union test). Failing does need one: of runs
with ten criteria that are just met two in five would fail. So a failure counts only if Holm's procedure over all
criteria confirms it; otherwise the criterion is Inconclusive. Both errors of the run are at most alpha, also if gates
share items.

Example: `min: 0.9` of 50 items: 49 right has a lower bound of 0.909, Passed; 48 right 0.879, Inconclusive; 38 right has
an upper bound of 0.855, Failed.

Sources: Berger, Technometrics 24 (1982) 295; Holm, Scandinavian Journal of Statistics 6 (1979) 65.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy.special import stdtrit

from evalrun_api import Verdict
from evalrun_runner.statistics.interval import CONFIDENCE
from evalrun_runner.statistics.paired import MarginTest
from evalrun_runner.statistics.paired_data import BinaryComparison, PairedData, compare, thinned
from evalrun_runner.statistics.paired_scores import summarize
from evalrun_runner.statistics.ratio_of_shares import compare_with_ratio, ratio_limits

TOLERANCE = 1e-9
"""Part of a number by which it may miss a bound and still count as equal: 0.3 is no less than 0.1 + 0.2."""
SMALLEST_LEVEL, LEVELS = 1e-12, 48
"""Range and number of halvings of the search for the level at which a bound would decide."""

OneSidedBounds = Callable[[float], tuple[float, float]]
"""Lower and upper bound of a score for a one-sided confidence, from 0.5 on."""


class Criterion(StrEnum):
    """What of a gate was decided."""

    MIN = "min"
    MAX = "max"
    REGRESSION = "maxRegression"
    RELATIVE_REGRESSION = "maxRelativeRegression"


@dataclass(frozen=True, slots=True)
class GateDecision:
    """A criterion of a gate with its verdict and the numbers that decided.

    Attributes:
        criterion: what was asked.
        verdict: Passed, Failed or Inconclusive.
        value: what is judged: the score; candidate minus baseline; candidate/baseline - 1. None: there is none.
        low: bound that the value exceeds with the confidence (one-sided).
        high: bound that the value stays below with the confidence (one-sided).
        bound: what is allowed, in the unit of `value`: -0.02 for a regression of at most 0.02.
        confidence: one-sided confidence of each bound and verdict.
        p_fail: p-value of "within what is allowed"; small: it fails. None: decided without evidence (`rule: point`).
        advisory: it is reported, and does not count in the verdict of the run.
        worst: verdict if every item without a score were as bad as possible; None: no item lacks a score.
        best: verdict if every item without a score were as good as possible.
    """

    criterion: Criterion
    verdict: Verdict
    value: float | None
    low: float
    high: float
    bound: float
    confidence: float
    p_fail: float | None
    advisory: bool = False
    worst: Verdict | None = None
    best: Verdict | None = None


@dataclass(frozen=True, slots=True)
class GateFamily:
    """All criteria of a run with their common verdict.

    Attributes:
        verdict: of the run; None if no criterion counts.
        decisions: in the given order; a failure that Holm's procedure does not confirm is Inconclusive.
    """

    verdict: Verdict | None
    decisions: tuple[GateDecision, ...]


def decide_min(value: float, bounds: OneSidedBounds, minimum: float, confidence: float = CONFIDENCE) -> GateDecision:
    """Decide whether a score is at least a minimum.

    Args:
        value: the score.
        bounds: its one-sided bounds, as `functools.partial(gate_bounds, data)`.
        minimum: the least score allowed.
        confidence: one-sided, from 0.5 up to below 1.
    """
    low, high = bounds(confidence)
    verdict = _verdict(passes=_reaches(low, minimum), fails=not _reaches(high, minimum))
    p_fail = _level(lambda level: not _reaches(bounds(level)[1], minimum))
    return GateDecision(Criterion.MIN, verdict, value, low, high, minimum, confidence, p_fail)


def decide_max(value: float, bounds: OneSidedBounds, maximum: float, confidence: float = CONFIDENCE) -> GateDecision:
    """Decide whether a score is at most a maximum; arguments as for `decide_min`."""
    low, high = bounds(confidence)
    verdict = _verdict(passes=_reaches(maximum, high), fails=not _reaches(maximum, low))
    p_fail = _level(lambda level: not _reaches(maximum, bounds(level)[0]))
    return GateDecision(Criterion.MAX, verdict, value, low, high, maximum, confidence, p_fail)


def decide_regression(
    data: PairedData, margin: float, confidence: float = CONFIDENCE, *, lower_is_better: bool = False
) -> GateDecision:
    """Decide whether a candidate lost at most a margin against its baseline.

    Args:
        data: scores of both on their common items.
        margin: the loss allowed, from 0 on, in the unit of the score. With 0 only a better candidate passes.
        confidence: one-sided, from 0.5 up to below 1.
        lower_is_better: whether a rise of the score is the loss.
    """
    chosen = compare(data.swapped if lower_is_better else data)
    low, high = chosen.limits(confidence)
    verdict, p_fail = _by_test(chosen.compare_with_margin(margin), confidence)
    bound = -margin if margin else 0.0
    if lower_is_better:
        low, high, bound = -high, -low, margin
    return GateDecision(Criterion.REGRESSION, verdict, data.difference, low, high, bound, confidence, p_fail)


def decide_relative_regression(
    data: PairedData, share: float, confidence: float = CONFIDENCE, *, lower_is_better: bool = False
) -> GateDecision:
    """Decide whether a candidate lost at most a share of its baseline's score.

    What is judged is candidate - (1 - share) · baseline, or (1 + share) · baseline - candidate if less is better: by
    the score test of the ratio for 0/1 scores, by the t of these differences for others. The value and its bounds are
    reported as candidate/baseline - 1.

    Args:
        data: scores of both on their common items, from 0 on.
        share: part of the baseline's score that may be lost, 0 to 1.
        confidence: one-sided, from 0.5 up to below 1.
        lower_is_better: whether a rise of the score is the loss.
    """
    ratio = 1 + share if lower_is_better else 1 - share
    new, old = data.arrays
    value = float(new.sum() / old.sum()) - 1 if old.size and old.sum() > 0 else None
    chosen = compare(data)
    if isinstance(chosen, BinaryComparison) and data.bounds is not None and data.bounds[0] == 0:
        low, high = ratio_limits(chosen.counts, max(float(stdtrit(chosen.df, confidence)), 0.0))
        low, high = low - 1, high - 1
        test = compare_with_ratio(chosen.counts, ratio, chosen.df)
    else:
        least, most = data.bounds or (-math.inf, math.inf)
        contrast = new - ratio * old
        summary = thinned(summarize(contrast, (least - ratio * most, most - ratio * least)), contrast, data.clusters)
        sign = -1.0 if lower_is_better else 1.0
        test = replace(summary, mean=sign * summary.mean, ends=_signed(sign, summary.ends)).compare_with_margin(0.0)
        low, high = (
            (one / float(old.mean()) + ratio - 1 for one in summary.limits(confidence))
            if value is not None
            else (-math.inf, math.inf)
        )
    verdict, p_fail = _by_test(test, confidence)
    return GateDecision(Criterion.RELATIVE_REGRESSION, verdict, value, low, high, ratio - 1, confidence, p_fail)


def decide_point(criterion: Criterion, value: float, bound: float, *, at_most: bool) -> GateDecision:
    """Decide by the bare number, however uncertain it is.

    Args:
        criterion: what was asked.
        value: the score, the difference or the relative change.
        bound: what is allowed, in the same unit.
        at_most: whether the value must not exceed the bound; otherwise it must reach it.
    """
    passes = _reaches(bound, value) if at_most else _reaches(value, bound)
    return GateDecision(criterion, _verdict(passes=passes, fails=not passes), value, value, value, bound, 0.5, None)


def is_upper(criterion: Criterion, *, lower_is_better: bool) -> bool:
    """Return whether a high value is what a criterion is broken by."""
    return criterion is Criterion.MAX or (criterion is not Criterion.MIN and lower_is_better)


def with_missing(observed: GateDecision, worst: GateDecision, best: GateDecision) -> GateDecision:
    """Return the decision where items lack a score: Inconclusive, with the verdicts of the two extreme completions.

    Args:
        observed: decided on the items that have a score.
        worst: decided with every other item wrong in the candidate, right in the baseline.
        best: decided the other way round.
    """
    return replace(observed, verdict=Verdict.INCONCLUSIVE, worst=worst.verdict, best=best.verdict)


def with_truncated(observed: GateDecision, worst: GateDecision, best: GateDecision) -> GateDecision:
    """Return the decision where answers of items were cut: it stands if those items could not turn it.

    A failure then counts by the largest p-value of the three, as no value of those items makes it surer.

    Args:
        observed: decided with the values that these items have.
        worst: decided with all of them wrong in the candidate, right in the baseline.
        best: decided the other way round.
    """
    if not observed.verdict is worst.verdict is best.verdict:
        return with_missing(observed, worst, best)
    chances = [one.p_fail for one in (observed, worst, best) if one.p_fail is not None]
    return replace(observed, p_fail=max(chances)) if chances else observed


def fold(decisions: Sequence[GateDecision]) -> GateFamily:
    """Combine the criteria of all gates of a run.

    Advisory criteria, criteria without evidence and criteria that lack items keep their verdict. Of the others a
    failure must be confirmed by Holm's procedure, with every p-value divided by its own alpha.
    """
    confirmed = confirm_failures(decisions)
    verdicts = [one.verdict for one in confirmed if not one.advisory]
    return GateFamily(Verdict.overall(verdicts), confirmed)


def confirm_failures(decisions: Sequence[GateDecision]) -> tuple[GateDecision, ...]:
    """Turn failures that Holm's procedure does not confirm into Inconclusive."""
    family = [
        (one.p_fail / max(1 - one.confidence, SMALLEST_LEVEL), place)
        for place, one in enumerate(decisions)
        if one.p_fail is not None and not one.advisory and one.worst is None
    ]
    result = list(decisions)
    confirms = True
    for rank, (ratio, place) in enumerate(sorted(family)):
        confirms = confirms and ratio * (len(family) - rank) <= 1
        if result[place].verdict is Verdict.FAILED and not confirms:
            result[place] = replace(result[place], verdict=Verdict.INCONCLUSIVE)
    return tuple(result)


def _by_test(test: MarginTest, confidence: float) -> tuple[Verdict, float]:
    level = 1 - confidence
    return _verdict(passes=test.p_within <= level, fails=test.p_beyond <= level), test.p_beyond


def _verdict(*, passes: bool, fails: bool) -> Verdict:
    if passes:
        return Verdict.PASSED
    return Verdict.FAILED if fails else Verdict.INCONCLUSIVE


def _reaches(value: float, bound: float) -> bool:
    return value >= bound or math.isclose(value, bound, rel_tol=TOLERANCE, abs_tol=1e-12)


def _signed(sign: float, ends: tuple[float, float]) -> tuple[float, float]:
    return ends if sign > 0 else (-ends[1], -ends[0])


def _level(fails: Callable[[float], bool]) -> float:
    """Return the least level at which a criterion fails, 1 if it does not even at 0.5."""
    if not fails(0.5):
        return 1.0
    low, high = math.log(SMALLEST_LEVEL), math.log(0.5)
    for _ in range(LEVELS):
        middle = (low + high) / 2
        low, high = (low, middle) if fails(1 - math.exp(middle)) else (middle, high)
    return math.exp(high)
