"""Compute the interval of a group: a weighted mean of its leaf tasks.

The leaves are fixed: the interval speaks of other items of the same tasks, not of other tasks. So its variance is the
weighted sum of the leaves' own (stratified), and the spread between leaves is no part of it. A small leaf that is
wholly right would count as certain; half a pseudo-item at each end of its range prevents that.

With right-or-wrong leaves, equal weights and x of n right, the variance is Σ w² p(1 - p) / n at p = (x + ½) / (n + 1).
The interval is Wilson's on the effective number of items, as in `clusters`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalrun_runner.statistics.arrays import FloatArray, Numbers, to_range, vector
from evalrun_runner.statistics.clusters import Clusters, clustered_mean, effective_bounds
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval
from evalrun_runner.statistics.means import LEAST_CONFIDENCE, bounded, no_spread, t_quantile
from evalrun_runner.statistics.proportions import score_bounds

MANY_DEGREES = 1e12
"""Degrees of freedom of a variance that is no estimate: a t quantile is the normal one."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Scores of one leaf task of a group.

    Attributes:
        values: one score an item, shape (n,).
        weight: weight of the leaf's mean in the group, 0 or more; only its ratio to the others' counts.
        bounds: least and greatest possible score, or None; the same for all leaves of a group.
        clusters: cluster of every item, or None.
    """

    values: Numbers
    weight: float
    bounds: tuple[float, float] | None = (0.0, 1.0)
    clusters: Clusters | None = None


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Mean of a leaf or of a group, its smoothed mean, variance, and degrees of freedom of the variance."""

    mean: float
    smooth: float
    variance: float
    degrees: float


def group_interval(leaves: Sequence[Leaf], confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of a group's score over its fixed leaves, or why there is none.

    Args:
        leaves: its leaf tasks; leaves of weight 0 are left out.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: a weight is negative, the bounds of leaves differ, or values are out of bounds.
    """
    found = _group(leaves)
    if isinstance(found, str):
        return NoInterval(found)
    quantile = t_quantile(confidence, found.degrees)
    bounds = leaves[0].bounds
    if bounds is None:
        half = quantile * math.sqrt(found.variance)
        return Interval(found.mean - half, found.mean + half, confidence, Method.STUDENT_T_STRATIFIED)
    low, high = score_bounds(found.mean, found.smooth * (1 - found.smooth) / found.variance, quantile)
    low, high = to_range(low, bounds), to_range(high, bounds)
    return Interval(low, high, confidence, Method.WILSON_STRATIFIED)


def group_bounds(leaves: Sequence[Leaf], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the one-sided bounds of a group's score, for a gate.

    Args:
        leaves: its leaf tasks.
        confidence: one-sided, of each bound alone, at least 0.5.
    """
    found = _group(leaves)
    bounds = leaves[0].bounds if leaves else None
    if isinstance(found, str):
        return bounds if bounds is not None else (-math.inf, math.inf)
    if bounds is None:
        half = t_quantile(max(2 * confidence - 1, LEAST_CONFIDENCE), found.degrees) * math.sqrt(found.variance)
        return found.mean - half, found.mean + half
    size = found.smooth * (1 - found.smooth) / found.variance
    low, high = effective_bounds(found.mean, size, found.degrees, confidence)
    return to_range(low, bounds), to_range(high, bounds)


def _group(leaves: Sequence[Leaf]) -> _Estimate | str:
    """Return the estimate of the group, or why there is none."""
    if any(not (math.isfinite(leaf.weight) and leaf.weight >= 0) for leaf in leaves):
        raise ValueError("a leaf has a negative or infinite weight: expected 0 or more")
    if len({leaf.bounds for leaf in leaves}) > 1:
        raise ValueError("the leaves of a group have different bounds: a mean over them has no meaning")
    weighted = [leaf for leaf in leaves if leaf.weight > 0]
    if not weighted:
        return "no leaf has a weight"
    estimates = []
    for leaf in weighted:
        found = _leaf(leaf)
        if isinstance(found, str):
            return f"a leaf of the group has no interval: {found}"
        estimates.append(found)
    weights = np.array([leaf.weight for leaf in weighted]) / sum(leaf.weight for leaf in weighted)
    means, smooth, variances, degrees = (
        np.array(column)
        for column in zip(*((one.mean, one.smooth, one.variance, one.degrees) for one in estimates), strict=True)
    )
    parts = weights**2 * variances
    total = float(parts.sum())
    # Satterthwaite's degrees of freedom of a sum of variances.
    joint = min(MANY_DEGREES, total**2 / float((parts**2 / degrees).sum()))
    return _Estimate(
        min(1.0, float(weights @ means)) if leaves[0].bounds else float(weights @ means),
        float(weights @ smooth),
        total,
        joint,
    )


def _leaf(leaf: Leaf) -> _Estimate | str:
    """Return the estimate of a leaf on the range from 0 to 1 (unbounded: as it is), or why there is none."""
    if len(leaf.values) == 0:
        return "no scored item"
    if leaf.bounds is None:
        return _unbounded(leaf)
    lowest, highest = leaf.bounds
    scores = (bounded(leaf.values, leaf.bounds) - lowest) / (highest - lowest)
    n, mean = len(scores), float(scores.mean())
    if leaf.clusters is None:
        smooth = (float(scores.sum()) + 0.5) / (n + 1)
        variance = _smoothed(scores, smooth) / n
        is_binary = bool(((scores == 0) | (scores == 1)).all())
        return _Estimate(mean, smooth, variance, MANY_DEGREES if is_binary else max(1.0, n - 1))
    found = clustered_mean(scores, leaf.clusters)
    smooth = (mean * found.clusters + 0.5) / (found.clusters + 1)
    variance = found.variance if found.variance > 0 else smooth * (1 - smooth) / found.clusters
    return _Estimate(mean, smooth, variance, found.degrees)


def _unbounded(leaf: Leaf) -> _Estimate | str:
    numbers = vector(leaf.values)
    reason = no_spread(numbers)
    if reason:
        return reason
    if leaf.clusters is None:
        n = len(numbers)
        return _Estimate(float(numbers.mean()), 0.0, float(numbers.var(ddof=1)) / n, n - 1)
    found = clustered_mean(numbers, leaf.clusters)
    if found.variance == 0:
        return "its clusters say nothing about their spread"
    return _Estimate(found.mean, 0.0, found.variance, found.degrees)


def _smoothed(scores: FloatArray, smooth: float) -> float:
    """Return the variance of scores with half a pseudo-item at each end of the range, around their mean with them."""
    ends = 0.5 * (smooth**2 + (1 - smooth) ** 2)
    return (float(((scores - smooth) ** 2).sum()) + ends) / (len(scores) + 1)
