"""Choose the interval of a score by the kind of its data.

| data | shown | bound for a gate |
|---|---|---|
| 0 and 1 | Wilson | Clopper and Pearson, one-sided |
| bounded scores, repeats of an item as their mean | plus-four t | the wider of plus-four and plain t, one-sided |
| either in declared clusters | Wilson on the effective size | Clopper and Pearson on the effective size |
| unbounded values | Student's t (in clusters with CR2) | the same, one-sided |

Ratios of sums, groups, scores of labels and reruns have their own modules: `ratios`, `groups`, `classes`, `repeats`.

No choice returns nan, raises on valid data, or has a width of zero. Where the data allow no interval, the answer says
why. `docs/statistics.md` has the coverage of each row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evalrun_runner.statistics.arrays import Numbers, to_range, vector
from evalrun_runner.statistics.clusters import (
    Clusters,
    cluster_codes,
    clustered_bounds,
    clustered_t,
    clustered_wilson,
)
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, NoInterval
from evalrun_runner.statistics.means import (
    LEAST_CONFIDENCE,
    bounded,
    bounded_mean_bounds,
    plus_four,
    skewness_ratio,
    student_t,
)
from evalrun_runner.statistics.proportions import lower_bound, upper_bound, wilson
from evalrun_runner.statistics.repeats import rerun_interval
from evalrun_runner.statistics.resampling import bca_mean

UNIT = (0.0, 1.0)
"""Bounds of accuracies, exact matches, F1 and other shares."""
SKEWED = 0.1
"""Skewness of a mean from which the t interval of unbounded values leans to one side, and BCa is told beside."""


class ScoreKind(StrEnum):
    """Kind of the scores of items, which decides the method."""

    BINARY = "binary"
    """Nothing but the two ends of the range."""
    BOUNDED = "bounded"
    UNBOUNDED = "unbounded"


@dataclass(frozen=True, slots=True)
class ScoreData:
    """Scores of the items that a score is the mean of.

    Attributes:
        values: one score an item, shape (n,); an item with repeats has the mean of its repeats.
        clusters: declared cluster of every item, shape (n,), or None; an item whose cluster is None is one of its own.
        repeats: score of each repeat, shape (n, K), nan for missing ones, or None; needed for reruns alone.
        bounds: least and greatest possible score, or None if there are none.
        kind: what the scores are; None: read from the values and the bounds.
    """

    values: Numbers
    clusters: Clusters | None = None
    repeats: NDArray[np.float64] | None = None
    bounds: tuple[float, float] | None = UNIT
    kind: ScoreKind | None = None

    @property
    def actual_kind(self) -> ScoreKind:
        """Kind as given, or as read: scores at nothing but the ends of their range are binary."""
        if self.kind is not None:
            return self.kind
        if self.bounds is None:
            return ScoreKind.UNBOUNDED
        scores = vector(self.values)
        ends = (scores == self.bounds[0]) | (scores == self.bounds[1])
        return ScoreKind.BINARY if bool(ends.all()) else ScoreKind.BOUNDED


def score_interval(data: ScoreData, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval that is shown with a score.

    Args:
        data: scores of its items; may be empty.
        confidence: two-sided, between 0 and 1.

    Returns:
        The interval, with a width above zero, or why there is none.

    Raises:
        ValueError: a score is nan, infinite or outside its bounds, or the confidence is out of range.
    """
    if len(data.values) == 0:
        return NoInterval("no scored item")
    clusters = _real_clusters(data)
    if data.bounds is None:
        return _unbounded(data, clusters, confidence)
    if clusters is not None:
        return clustered_wilson(data.values, clusters, data.bounds, confidence)
    if data.actual_kind is not ScoreKind.BINARY:
        return plus_four(data.values, data.bounds, confidence)
    found = wilson(_right(data.values, data.bounds), len(data.values), confidence)
    return replace(found, low=to_range(found.low, data.bounds), high=to_range(found.high, data.bounds))


def rerun_score_interval(data: ScoreData, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of the score over reruns of the same items, or why there is none.

    Args:
        data: scores of its items, with their repeats.
        confidence: two-sided, between 0 and 1.
    """
    if data.repeats is None:
        return NoInterval("no item has two repeats")
    return rerun_interval(data.repeats, data.bounds, confidence)


def gate_bounds(data: ScoreData, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the lower and the upper one-sided bound that a gate compares with its own bound.

    Args:
        data: scores of the items; may be empty.
        confidence: one-sided, of each bound alone, from 0.5 up to below 1.

    Returns:
        Lower and upper bound. Where the data say nothing they are the ends of the range, or infinite without bounds.

    Raises:
        ValueError: a score is nan, infinite or outside its bounds, or the confidence is out of range.
    """
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence {confidence} of a gate is not between 0.5 and 1")
    nothing = data.bounds if data.bounds is not None else (-math.inf, math.inf)
    if len(data.values) == 0:
        return nothing
    clusters = _real_clusters(data)
    if data.bounds is not None and clusters is not None:
        return clustered_bounds(data.values, clusters, data.bounds, confidence)
    if data.bounds is not None and data.actual_kind is ScoreKind.BINARY:
        right, n = _right(data.values, data.bounds), len(data.values)
        low, high = lower_bound(right, n, confidence), upper_bound(right, n, confidence)
        return to_range(low, data.bounds), to_range(high, data.bounds)
    if data.bounds is not None:
        return bounded_mean_bounds(data.values, data.bounds, confidence)
    found = score_interval(data, max(2 * confidence - 1, LEAST_CONFIDENCE))
    return (found.low, found.high) if isinstance(found, Interval) else nothing


def _unbounded(data: ScoreData, clusters: Clusters | None, confidence: float) -> Interval | NoInterval:
    if clusters is not None:
        return clustered_t(data.values, clusters, confidence)
    found = student_t(data.values, confidence)
    if isinstance(found, Interval) and skewness_ratio(data.values) > SKEWED:
        beside = bca_mean(data.values, confidence)
        if isinstance(beside, Interval):
            note = f"the values are skewed: BCa gives {beside.low:.6g} to {beside.high:.6g}"
            return replace(found, note=note)
    return found


def _real_clusters(data: ScoreData) -> Clusters | None:
    """Return the clusters, or None if each has one item and they say nothing."""
    if data.clusters is None:
        return None
    if len(data.clusters) != len(data.values):
        raise ValueError(f"{len(data.values)} items have {len(data.clusters)} clusters: expected one cluster per item")
    alone = len(data.clusters) > 1 and int(cluster_codes(data.clusters).max()) + 1 == len(data.clusters)
    return None if alone else data.clusters


def _right(values: Numbers, bounds: tuple[float, float]) -> float:
    return float(np.count_nonzero(bounded(values, bounds) == bounds[1]))
