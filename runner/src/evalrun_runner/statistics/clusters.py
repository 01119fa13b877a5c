"""Compute the variance of a mean whose items come in clusters: questions of one passage, variants of one template.

Items of one cluster are alike, so that they say less than as many items of their own. The variance is CR2, the
cluster-robust variance with Bell and McCaffrey's correction for few and unequal clusters, and the degrees of freedom
are Imbens and Kolesár's at the correlation that the data show. From both follows an effective number of items,
p(1 - p) / V, on which the intervals of a share are computed: they hold near 0 and 1, where a t interval does not.

CR0 is the plain sum of squared cluster totals, CR1 has the factor G / (G - 1); both are here for comparison with other
programs.

Sources: Bell and McCaffrey, Survey Methodology 28 (2002) 169; Imbens and Kolesár, Review of Economics and Statistics 98
(2016) 701; Korn and Graubard, Survey Methodology 24 (1998) 193.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from evalrun_runner.statistics.arrays import FloatArray, IntArray, Numbers, to_range, vector
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval, Target
from evalrun_runner.statistics.means import bounded, t_quantile
from evalrun_runner.statistics.proportions import lower_bound, score_bounds, upper_bound

Clusters: TypeAlias = Sequence[Hashable] | NDArray[np.generic]
"""Cluster of every item, shape (n,). None: the item is a cluster of its own."""

ONE_CLUSTER = "a single cluster carries no information on the spread between clusters"
FEW = "few effective right or wrong items in clusters: the interval may be too narrow"
FEW_ITEMS = 5.0
_ROUNDING = 1e-14
"""A variance below this share of the items' own spread is rounding."""


def cluster_codes(clusters: Clusters) -> IntArray:
    """Return the clusters as numbers from 0 on, in the order in which they first appear.

    Args:
        clusters: cluster of every item; None: the item is a cluster of its own.
    """
    if isinstance(clusters, np.ndarray) and clusters.dtype.kind in "iu":
        _, first, places = np.unique(clusters, return_index=True, return_inverse=True)
        order = np.empty(len(first), dtype=np.int64)
        order[np.argsort(first)] = np.arange(len(first))
        return np.asarray(order[places], dtype=np.int64)
    codes: dict[Hashable, int] = {}
    # An item without a cluster has a key that no other item can have.
    keys = ((key,) if key is not None else (None, place) for place, key in enumerate(clusters))
    return np.fromiter((codes.setdefault(key, len(codes)) for key in keys), dtype=np.int64, count=len(clusters))


def cr2(residuals: FloatArray, shares: FloatArray) -> float:
    """Return the sum of squared residuals of clusters, each corrected for its pull on the estimate.

    Args:
        residuals: total of each cluster's residuals, shape (G,).
        shares: each cluster's share of the weight, shape (G,), below 1.

    Returns:
        The CR2 variance of the estimate's total; divided by the squared weight it is the variance of the estimate.
    """
    return float((residuals**2 / (1 - shares)).sum())


def satterthwaite_degrees(shares: FloatArray, working: FloatArray) -> float:
    """Return the degrees of freedom of a CR2 variance under a working model, at least 1.

    Args:
        shares: each cluster's share of the weight, shape (G,), below 1.
        working: variance of each cluster's total under the working model, shape (G,), up to a common factor.

    Returns:
        (tr M)² / tr M² for the covariance M of the corrected cluster residuals; computed in O(G).
    """
    factor, total = 1 / (1 - shares), float(working.sum())
    # Covariance of residuals g and h: [g = h] w_g + K_gh, with K_gh = s_g s_h W - s_h w_g - s_g w_h.
    diagonal = shares**2 * total - 2 * shares * working
    trace = float((factor * (working + diagonal)).sum())
    ss, sw, ww = (float((factor * one).sum()) for one in (shares * shares, shares * working, working * working))
    squares = 2 * ss * ww + total**2 * ss**2 + 2 * sw**2 - 4 * total * sw * ss
    squares += float((factor**2 * (2 * working * diagonal + working**2)).sum())
    return max(1.0, trace**2 / squares) if squares > 0 else 1.0


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """Mean of items in clusters, and what its clusters say about its spread.

    Attributes:
        mean: mean of all items.
        items: number of items.
        clusters: number of clusters.
        variance: CR2 variance of the mean; 0 with one cluster.
        correlation: correlation of two items of a cluster (ANOVA), from 0 to 1.
        degrees: degrees of freedom of the variance at that correlation (Imbens and Kolesár).
    """

    mean: float
    items: int
    clusters: int
    variance: float
    correlation: float
    degrees: float


def clustered_mean(values: Numbers, clusters: Clusters) -> ClusteredMean:
    """Return the mean of items in clusters with its CR2 variance.

    Args:
        values: one score an item, shape (n,), n at least 1.
        clusters: cluster of every item, shape (n,).

    Raises:
        ValueError: there is no item, a value is not finite, or the two have different lengths.
    """
    sizes, totals, numbers = _totals(values, clusters)
    items, mean = len(numbers), float(numbers.mean())
    if len(sizes) == 1:
        return ClusteredMean(mean, items, 1, 0.0, 0.0, 1.0)
    residuals, centred = totals - sizes * mean, numbers - mean
    correlation = _correlation(sizes, residuals, centred)
    variance = cr2(residuals, sizes / items) / items**2
    if variance <= _ROUNDING * float((centred**2).mean()):
        variance = 0.0
    degrees = satterthwaite_degrees(sizes / items, sizes * (1 - correlation + correlation * sizes))
    return ClusteredMean(mean, items, len(sizes), variance, correlation, degrees)


def variance_cr0(values: Numbers, clusters: Clusters) -> float:
    """Return the cluster-robust variance of a mean without correction."""
    sizes, totals, numbers = _totals(values, clusters)
    return float(((totals - sizes * numbers.mean()) ** 2).sum()) / len(numbers) ** 2


def variance_cr1(values: Numbers, clusters: Clusters) -> float:
    """Return the cluster-robust variance of a mean with the factor G / (G - 1); nan with one cluster."""
    count = len(_totals(values, clusters)[0])
    return variance_cr0(values, clusters) * count / (count - 1) if count > 1 else math.nan


def bell_mccaffrey_degrees(clusters: Clusters) -> float:
    """Return the degrees of freedom of a mean's CR2 variance if items were independent."""
    sizes = np.bincount(cluster_codes(clusters)).astype(np.float64)
    return satterthwaite_degrees(sizes / sizes.sum(), sizes) if len(sizes) > 1 else 1.0


def clustered_t(values: Numbers, clusters: Clusters, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the t interval of the mean of unbounded values in clusters, or why there is none.

    Args:
        values: one value an item, shape (n,), finite.
        clusters: cluster of every item, shape (n,).
        confidence: two-sided, between 0 and 1.
    """
    if len(values) == 0:
        return NoInterval("no scored item")
    found = clustered_mean(values, clusters)
    if found.clusters == 1:
        return NoInterval(ONE_CLUSTER)
    half = t_quantile(confidence, found.degrees) * math.sqrt(found.variance)
    if not found.mean - half < found.mean + half:
        return NoInterval(f"the means of all {found.clusters} clusters are equal: they say nothing about their spread")
    low, high = found.mean - half, found.mean + half
    return Interval(low, high, confidence, Method.STUDENT_T_CLUSTERED, Target.CLUSTERS)


def clustered_wilson(
    values: Numbers, clusters: Clusters, bounds: tuple[float, float] = (0.0, 1.0), confidence: float = CONFIDENCE
) -> Interval | NoInterval:
    """Return Wilson's interval of the mean of bounded scores in clusters, on their effective number.

    Args:
        values: one score an item, shape (n,), inside the bounds.
        clusters: cluster of every item, shape (n,).
        bounds: least and greatest possible score.
        confidence: two-sided, between 0 and 1.

    Returns:
        The interval; with one cluster the whole range; without an item, why there is none.

    Raises:
        ValueError: a value is outside the bounds, or values and clusters have different lengths.
    """
    lowest, highest = bounds
    scores = (bounded(values, bounds) - lowest) / (highest - lowest)
    if len(scores) == 0:
        return NoInterval("no scored item")
    found = clustered_mean(scores, clusters)
    if found.clusters == 1:
        return Interval(lowest, highest, confidence, Method.WHOLE_RANGE, Target.CLUSTERS, ONE_CLUSTER)
    size = effective_size(found.mean, found.variance, found.clusters)
    low, high = score_bounds(found.mean, size, t_quantile(confidence, found.degrees))
    note = FEW if min(found.mean, 1 - found.mean) * size < FEW_ITEMS else ""
    low, high = to_range(low, bounds), to_range(high, bounds)
    return Interval(low, high, confidence, Method.WILSON_CLUSTERED, Target.CLUSTERS, note)


def effective_size(share: float, variance: float, clusters: float) -> float:
    """Return how many independent right-or-wrong items would have this variance.

    Args:
        share: mean score on the range from 0 to 1.
        variance: variance of that mean.
        clusters: number of clusters, which is the answer where nothing varies.
    """
    spread = share * (1 - share)
    return spread / variance if spread > 0 and variance > 0 else clusters


def effective_bounds(share: float, size: float, degrees: float, confidence: float) -> tuple[float, float]:
    """Return Clopper and Pearson's one-sided bounds of a share on an effective number of items.

    The number is reduced by the squared ratio of the normal and the t quantile, as Korn and Graubard do, because the
    variance behind it is an estimate.

    Args:
        share: mean score on the range from 0 to 1.
        size: effective number of items.
        degrees: degrees of freedom of its variance.
        confidence: one-sided, of each bound alone.
    """
    student = float(stdtrit(degrees, confidence)) if degrees < 1e9 else float(ndtri(confidence))
    ratio = float(ndtri(confidence)) / student if student > 0 else 1.0
    reduced = size * ratio * ratio
    right = min(max(share * reduced, 0.0), reduced)
    return lower_bound(right, reduced, confidence), upper_bound(right, reduced, confidence)


def clustered_bounds(
    values: Numbers, clusters: Clusters, bounds: tuple[float, float] = (0.0, 1.0), confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the one-sided bounds of the mean of bounded scores in clusters, for a gate.

    Args:
        values: one score an item, shape (n,), inside the bounds.
        clusters: cluster of every item, shape (n,).
        bounds: least and greatest possible score, which are the answer for no item and for one cluster.
        confidence: one-sided, of each bound alone.
    """
    lowest, highest = bounds
    scores = (bounded(values, bounds) - lowest) / (highest - lowest)
    if len(scores) == 0:
        return bounds
    found = clustered_mean(scores, clusters)
    if found.clusters == 1:
        return bounds
    size = effective_size(found.mean, found.variance, found.clusters)
    low, high = effective_bounds(found.mean, size, found.degrees, confidence)
    return to_range(low, bounds), to_range(high, bounds)


def _totals(values: Numbers, clusters: Clusters) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sizes and totals of the clusters, and the values as a vector."""
    numbers = vector(values)
    if len(numbers) == 0:
        raise ValueError("no item: expected at least one")
    if len(clusters) != len(numbers):
        raise ValueError(f"{len(numbers)} items have {len(clusters)} clusters: expected one cluster per item")
    codes = cluster_codes(clusters)
    totals = np.asarray(np.bincount(codes, weights=numbers), dtype=np.float64)
    return np.bincount(codes).astype(np.float64), totals, numbers


def _correlation(sizes: FloatArray, residuals: FloatArray, centred: FloatArray) -> float:
    """Return the correlation of two items of a cluster by one-way analysis of variance, cut to 0 to 1."""
    items, count = len(centred), len(sizes)
    if items == count:
        return 0.0
    explained = float((residuals**2 / sizes).sum())
    between = explained / (count - 1)
    within = max(0.0, float((centred**2).sum()) - explained) / (items - count)
    typical = (items - float((sizes**2).sum()) / items) / (count - 1)
    spread = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0
