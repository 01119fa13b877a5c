"""Compute intervals of a ratio of sums: right tokens of all tokens, errors per word, log-likelihood per byte.

The items are not tokens: the tokens of one item are alike, so that an interval on the number of tokens covers the true
ratio in a third to a half of the cases. The ratio is linearised, X - rY, its variance is CR2 over items (or over the
declared clusters), and a ratio of a part to its whole gets Wilson's interval on the effective size.

Source: the linearisation of a ratio estimator in Cochran, Sampling Techniques (1977), chapter 6; CR2 as in `clusters`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evalrun_runner.statistics.arrays import FloatArray, Numbers, vector
from evalrun_runner.statistics.clusters import (
    ONE_CLUSTER,
    Clusters,
    cluster_codes,
    cr2,
    effective_bounds,
    effective_size,
    satterthwaite_degrees,
)
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval, Target
from evalrun_runner.statistics.means import LEAST_CONFIDENCE, t_quantile
from evalrun_runner.statistics.proportions import score_bounds


@dataclass(frozen=True, slots=True)
class RatioData:
    """Numerators and denominators of the items of a ratio of sums.

    Attributes:
        numerators: shape (n,).
        denominators: shape (n,), each at least 0.
        clusters: cluster of every item, or None if the items are independent.
        is_share: whether each numerator is a part of its denominator, so that the ratio is between 0 and 1.
    """

    numerators: Numbers
    denominators: Numbers
    clusters: Clusters | None = None
    is_share: bool = True


@dataclass(frozen=True, slots=True)
class _Linearised:
    """Ratio with the variance of its linear form.

    Attributes:
        ratio: sum of numerators over sum of denominators.
        variance: CR2 variance of the ratio.
        degrees: degrees of freedom of the variance.
        size: Kish's number of equally long units, the effective size where nothing varies.
    """

    ratio: float
    variance: float
    degrees: float
    size: float


def ratio_interval(data: RatioData, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of a ratio of sums, or why there is none.

    Args:
        data: numerators and denominators of the items.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: numbers are not finite, lengths differ, a denominator is negative, or a share is above 1.
    """
    target = Target.ITEMS if data.clusters is None else Target.CLUSTERS
    found = _linearise(data)
    if isinstance(found, str):
        if data.is_share and found == ONE_CLUSTER:
            return Interval(0.0, 1.0, confidence, Method.WHOLE_RANGE, target, found)
        return NoInterval(found)
    quantile = t_quantile(confidence, found.degrees)
    if data.is_share:
        size = effective_size(found.ratio, found.variance, found.size)
        low, high = score_bounds(found.ratio, size, quantile)
        return Interval(low, high, confidence, Method.WILSON_RATIO, target)
    half = quantile * math.sqrt(found.variance)
    if not found.ratio - half < found.ratio + half:
        return NoInterval("all items have the same ratio: they say nothing about its spread")
    return Interval(found.ratio - half, found.ratio + half, confidence, Method.STUDENT_T_RATIO, target)


def ratio_bounds(data: RatioData, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the one-sided bounds of a ratio of sums, for a gate.

    Args:
        data: numerators and denominators of the items.
        confidence: one-sided, of each bound alone, at least 0.5.

    Returns:
        The bounds; where the data say nothing, 0 and 1 for a share and infinite ones otherwise.
    """
    found = _linearise(data)
    if isinstance(found, str):
        return (0.0, 1.0) if data.is_share else (-math.inf, math.inf)
    if data.is_share:
        size = effective_size(found.ratio, found.variance, found.size)
        return effective_bounds(found.ratio, size, found.degrees, confidence)
    if found.variance == 0:
        return -math.inf, math.inf
    half = t_quantile(max(2 * confidence - 1, LEAST_CONFIDENCE), found.degrees) * math.sqrt(found.variance)
    return found.ratio - half, found.ratio + half


def _linearise(data: RatioData) -> _Linearised | str:
    """Return the ratio with its variance, or why it has none."""
    above, below = _checked(data)
    whole = float(below.sum())
    if len(above) == 0:
        return "no scored item"
    if whole <= 0:
        return "the sum of the denominators is 0: the ratio is not defined"
    ratio = float(above.sum()) / whole
    if data.clusters is not None:
        codes = cluster_codes(data.clusters)
        above, below = (np.asarray(np.bincount(codes, weights=one), dtype=np.float64) for one in (above, below))
    shares = below / whole
    if float(shares.max()) > 1 - 1e-12:
        if data.clusters is not None:
            return ONE_CLUSTER
        # One item holds the whole weight. It is one right-or-wrong item at most.
        return _Linearised(ratio, 0.0, 1.0, 1.0) if data.is_share else "one item says nothing about the spread"
    residuals = above - ratio * below
    variance = cr2(residuals, shares) / whole**2
    if variance <= 1e-26 * max(ratio * ratio, 1e-300):
        variance = 0.0
    # Under the working model the tokens of an item (or cluster) are wholly alike, which is the cautious assumption.
    return _Linearised(ratio, variance, satterthwaite_degrees(shares, below**2), 1 / float((shares**2).sum()))


def _checked(data: RatioData) -> tuple[FloatArray, FloatArray]:
    above, below = vector(data.numerators, "numerators"), vector(data.denominators, "denominators")
    if len(above) != len(below):
        raise ValueError(f"{len(above)} numerators have {len(below)} denominators: expected one each per item")
    if data.clusters is not None and len(data.clusters) != len(above):
        raise ValueError(f"{len(above)} items have {len(data.clusters)} clusters: expected one cluster per item")
    if (below < 0).any():
        raise ValueError(f"denominators[{int((below < 0).argmax())}] is negative: expected lengths or counts")
    if data.is_share and ((above < 0) | (above > below)).any():
        place = int(((above < 0) | (above > below)).argmax())
        raise ValueError(f"numerators[{place}] is {above[place]}: expected 0 to its denominator {below[place]}")
    return above, below
