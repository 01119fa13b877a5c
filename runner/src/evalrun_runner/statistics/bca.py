"""Turn scores of resamples into a BCa interval: bias-corrected and accelerated quantiles.

Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987) 171.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.interval import Interval, Method, NoInterval, Target
from evalrun_runner.statistics.proportions import normal_quantile

EQUAL = "all resamples have the same score: they say nothing about its spread"


def from_resamples(
    scores: FloatArray,
    estimate: float,
    without_one: tuple[FloatArray, FloatArray | None],
    confidence: float,
    target: Target = Target.ITEMS,
) -> Interval | NoInterval:
    """Return the BCa interval from scores of resamples, and scores of all items but one with their weights."""
    defined = scores[np.isfinite(scores)]
    if 2 * len(defined) < len(scores):
        return NoInterval("the score is not defined for most resamples")
    if float(defined.min()) == float(defined.max()):
        return NoInterval(EQUAL)
    below = (float((defined < estimate).mean()) + float((defined <= estimate).mean())) / 2
    low, high = np.quantile(defined, levels(below, _acceleration(*without_one), confidence))
    return interval_around(float(low), float(high), estimate, confidence, target)


def _acceleration(without_one: FloatArray, weights: FloatArray | None) -> float:
    """Return BCa's acceleration from the scores of all items but one; undefined ones are left out."""
    defined = np.isfinite(without_one)
    scores = without_one[defined]
    weight = np.ones(len(scores)) if weights is None else weights[defined]
    if len(scores) == 0:
        return 0.0
    deviations = np.average(scores, weights=weight) - scores
    scale = float(np.abs(deviations).max())
    if scale > 0:  # powers of tiny deviations would be 0
        deviations = deviations / scale
    spread = float((weight * deviations**2).sum())
    # Equal scores without any one item (the median of 0 and 1) bend nothing; scipy's BCa is nan there.
    return float((weight * deviations**3).sum()) / spread**1.5 / 6 if spread > 0 else 0.0


def levels(below: float, acceleration: float, confidence: float) -> tuple[float, float]:
    """Return the two BCa levels at which the distribution is read."""
    bias, normal = float(ndtri(min(max(below, 1e-12), 1 - 1e-12))), normal_quantile(confidence)

    def level(quantile: float) -> float:
        bent = 1 - acceleration * (bias + quantile)
        # Beyond the pole of the formula the level is the end to which it was going.
        return float(ndtr(bias + (bias + quantile) / bent)) if bent > 0 else float(bias + quantile > 0)

    return level(-normal), level(normal)


def interval_around(
    low: float, high: float, estimate: float, confidence: float, target: Target = Target.ITEMS
) -> Interval | NoInterval:
    """Return the interval, widened so that it holds its estimate, or why there is none."""
    low, high = min(low, estimate), max(high, estimate)
    if not low < high:
        return NoInterval("nearly all resamples have the same score: they say nothing about its spread")
    return Interval(low, high, confidence, Method.BCA, target)
