"""Comparison of one score of two runs, the first the baseline and the second the candidate.

The difference is candidate - baseline. Scores of 0 and 1 are judged by McNemar's exact test and shown with Tango's
interval; other scores by flipping the signs of their differences, with a t interval that has two pseudo-items where few
items changed.

Items of declared clusters (questions on one passage) count for fewer: all numbers are divided by their design effect.

A **margin** is the loss that is still accepted. The candidate *holds* it if a greater loss is excluded, *breaks* it if
a smaller loss is excluded, and else nothing is decided. Two runs are *equivalent* within the margin if each holds it
against the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from evalrun_runner.comparing.scored import FloatArray, IntArray, MetricName
from evalrun_runner.errors import InputError
from evalrun_runner.statistics.interval import Interval
from evalrun_runner.statistics.paired import PairedCounts, mcnemar
from evalrun_runner.statistics.paired_data import PairedComparison, PairedData, compare, paired_interval
from evalrun_runner.statistics.scores import ScoreKind
from evalrun_runner.statistics.sign_flip import sign_flip

UNIT_RANGE = (0.0, 1.0)


class ComparisonFinding(StrEnum):
    """What a comparison says of the candidate."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


class MarginVerdict(StrEnum):
    """What a comparison says of a margin."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class MarginFinding:
    """Whether the candidate is worse by more than a margin."""

    margin: float
    """Loss that is accepted, in the unit of the score."""
    verdict: MarginVerdict
    equivalent: bool
    """Whether neither is worse than the other by more than the margin."""
    worst: float
    """Greatest loss that is not excluded (one-sided); below 0: a gain is certain."""


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """One score of two runs on their common items."""

    task: str
    metric: MetricName
    kind: ScoreKind
    is_share: bool
    """Whether scores run from 0 to 1, so that a difference is in percentage points."""
    lower_is_better: bool
    n: int
    """Items that both have a score of."""
    baseline: float
    """Mean of the baseline on these items."""
    candidate: float
    """Mean of the candidate on these items."""
    interval: Interval
    """Interval of candidate - baseline."""
    p: float
    """Two-sided p-value of "no difference"."""
    mid_p: float | None
    """Mid-p-value of McNemar's test; None unless scores are 0 and 1."""
    finding: ComparisonFinding
    lost: int
    """Items that the candidate has worse."""
    gained: int
    """Items that the candidate has better."""
    counts: PairedCounts | None
    """Counts of right and wrong; None unless scores are 0 and 1."""
    margin: MarginFinding | None
    missing_baseline: int
    """Common items without a score in the baseline."""
    missing_candidate: int
    """Common items without a score in the candidate."""

    @property
    def difference(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline

    @property
    def changed(self) -> int:
        """Items whose score differs."""
        return self.lost + self.gained


@dataclass(frozen=True, slots=True)
class ScoreQuestion:
    """What is asked of a metric, and what is known of its values before they are seen."""

    confidence: float = 0.95
    """Two-sided, between 0 and 1."""
    bounds: tuple[float, float] | None = None
    """Least and greatest possible score; None: read from the values, 0 to 1 if they all are in it."""
    lower_is_better: bool = False
    margin: float | None = None
    """Loss that is accepted, in the unit of the score; None: not asked."""


def compare_scores(
    task: str,
    metric: MetricName,
    baseline: FloatArray,
    candidate: FloatArray,
    question: ScoreQuestion,
    clusters: IntArray | None = None,
) -> ScoreComparison:
    """Compare the scores of common items.

    Args:
        task: Leaf task, for the answer.
        metric: Metric, for the answer.
        baseline: Scores, shape (items,); nan where one is missing.
        candidate: Scores of the same items.
        question: What is asked.
        clusters: Number of each item's declared cluster; None: the items are independent.

    Raises:
        InputError: A score is outside the range that was given.
    """
    missing = np.isnan(baseline), np.isnan(candidate)
    scored = ~(missing[0] | missing[1])
    old, new = baseline[scored], candidate[scored]
    bounds = bounds_of((old, new), question.bounds)
    kind = kind_of((old, new), bounds)
    worse, better = int(np.count_nonzero(new < old)), int(np.count_nonzero(new > old))
    lost, gained = (better, worse) if question.lower_is_better else (worse, better)
    data = PairedData(new, old, bounds, None if clusters is None else clusters[scored])
    compared = _compared(data, question, binary=kind is ScoreKind.BINARY)
    difference = _mean(new) - _mean(old)
    decided = compared.p <= 1 - question.confidence
    return ScoreComparison(
        task=task,
        metric=metric,
        kind=kind,
        is_share=bounds == UNIT_RANGE,
        lower_is_better=question.lower_is_better,
        n=len(old),
        baseline=_mean(old),
        candidate=_mean(new),
        interval=compared.interval,
        p=compared.p,
        mid_p=compared.mid_p,
        finding=finding_of(difference, lower_is_better=question.lower_is_better, decided=decided),
        lost=lost,
        gained=gained,
        counts=compared.counts,
        margin=compared.margin,
        missing_baseline=int(np.count_nonzero(missing[0])),
        missing_candidate=int(np.count_nonzero(missing[1])),
    )


def finding_of(difference: float, *, lower_is_better: bool, decided: bool) -> ComparisonFinding:
    """Return what a difference says of the candidate."""
    if not decided or difference == 0:
        return ComparisonFinding.UNDECIDED
    return ComparisonFinding.BETTER if (difference > 0) is not lower_is_better else ComparisonFinding.WORSE


def bounds_of(scores: tuple[FloatArray, ...], given: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the least and the greatest possible score: as given, or 0 to 1 if all scores are in it, or None.

    Raises:
        InputError: A score is outside the range that was given.
    """
    if given is not None:
        for one in scores:
            if len(one) and not given[0] <= float(one.min()) <= float(one.max()) <= given[1]:
                raise InputError(
                    f"--range {given[0]:g}:{given[1]:g}: there are scores from {one.min():g} to {one.max():g}; "
                    "expected the least and the greatest possible score"
                )
        return given
    within = all(not len(one) or (float(one.min()) >= 0 and float(one.max()) <= 1) for one in scores)
    return UNIT_RANGE if within else None


def kind_of(scores: tuple[FloatArray, ...], bounds: tuple[float, float] | None) -> ScoreKind:
    """Return the kind of scores, which decides the method."""
    if bounds is None:
        return ScoreKind.UNBOUNDED
    if bounds == UNIT_RANGE and all(bool(((one == 0) | (one == 1)).all()) for one in scores):
        return ScoreKind.BINARY
    return ScoreKind.BOUNDED


@dataclass(frozen=True, slots=True)
class _Compared:
    interval: Interval
    p: float
    mid_p: float | None
    counts: PairedCounts | None
    margin: MarginFinding | None


def _compared(data: PairedData, question: ScoreQuestion, *, binary: bool) -> _Compared:
    new, old = data.arrays
    counts = PairedCounts.of(new, old) if binary else None
    ours, theirs = compare(data), compare(data.swapped)
    mid_p = None
    if data.clusters is not None:
        # Both tests below take items for independent.
        p = min(1.0, 2 * min(ours.compare_with_margin(0.0).p_beyond, theirs.compare_with_margin(0.0).p_beyond))
    elif counts is not None:
        test = mcnemar(counts.lost, counts.gained)
        p, mid_p = test.p, test.mid_p
    else:
        p = sign_flip(new - old)
    margin = None
    if question.margin is not None:
        sides = (theirs, ours) if question.lower_is_better else (ours, theirs)
        margin = _margin(question, question.margin, sides)
    return _Compared(paired_interval(data, question.confidence), p, mid_p, counts, margin)


def _margin(question: ScoreQuestion, margin: float, sides: tuple[PairedComparison, PairedComparison]) -> MarginFinding:
    error = 1 - question.confidence
    tests = [side.compare_with_margin(margin) for side in sides]
    if tests[0].p_within <= error:
        verdict = MarginVerdict.HELD
    elif tests[0].p_beyond <= error:
        verdict = MarginVerdict.BROKEN
    else:
        verdict = MarginVerdict.UNDECIDED
    equivalent = all(test.p_within <= error for test in tests)
    return MarginFinding(margin, verdict, equivalent, -sides[0].limits(question.confidence)[0])


def _mean(scores: FloatArray) -> float:
    return float(scores.mean()) if len(scores) else float("nan")
