"""Compute intervals and bounds of a share: right items of all items.

Wilson's interval is shown, Clopper and Pearson's bound decides. Wilson's coverage is on average as promised, but its
one-sided error near 0 and 1 is up to twice the promise; Clopper and Pearson's one-sided error never exceeds it.

Counts may be fractions: an effective number of items is seldom whole.

Sources: Wilson, JASA 22 (1927) 209; Clopper and Pearson, Biometrika 26 (1934) 404; Brown, Cai and DasGupta,
Statistical Science 16 (2001) 101.
"""

from __future__ import annotations

import math

from scipy.special import betaincinv, ndtri

from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method


def normal_quantile(confidence: float) -> float:
    """Return the two-sided quantile of the normal distribution: 1.96 for 0.95.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return float(ndtri((1 + confidence) / 2))


def score_bounds(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Return the bounds of Wilson's score interval for a share of an (effective) number of items.

    Args:
        share: observed share, 0 to 1.
        size: number of items; may be a fraction. With 0 the bounds are 0 and 1.
        quantile: two-sided quantile, of the normal or of a t distribution.
    """
    if size <= 0:
        return 0.0, 1.0
    # Multiplied by n, so that a very small effective size does not overflow.
    squared = quantile * quantile
    middle = (share * size + squared / 2) / (size + squared)
    half = quantile * math.sqrt(share * (1 - share) * size + squared / 4) / (size + squared)
    # Exact at the ends: rounding must not exclude a score of 0 or 1 from its own interval.
    low = 0.0 if share <= 0 else max(0.0, min(middle - half, share))
    high = 1.0 if share >= 1 else min(1.0, max(middle + half, share))
    return low, high


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a share.

    Args:
        successes: number of right items, 0 to `n`.
        n: number of items. With 0 the interval is [0, 1].
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: the counts or the confidence are out of range.
    """
    _check_counts(successes, n)
    low, high = score_bounds(successes / n if n else 0.0, n, normal_quantile(confidence))
    return Interval(low, high, confidence, Method.WILSON)


def clopper_pearson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Return Clopper and Pearson's two-sided interval of a share: its coverage is never below the confidence.

    Args:
        successes: number of right items, 0 to `n`.
        n: number of items. With 0 the interval is [0, 1].
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: the counts or the confidence are out of range.
    """
    normal_quantile(confidence)
    one_sided = (1 + confidence) / 2
    low, high = lower_bound(successes, n, one_sided), upper_bound(successes, n, one_sided)
    return Interval(low, high, confidence, Method.CLOPPER_PEARSON)


def lower_bound(successes: float, n: float, confidence: float = CONFIDENCE) -> float:
    """Return Clopper and Pearson's one-sided lower bound of a share; 0 if no item is right.

    Args:
        successes: number of right items, 0 to `n`.
        n: number of items; may be 0.
        confidence: one-sided; the bound is above the true share with at most 1 - confidence.

    Raises:
        ValueError: the counts or the confidence are out of range.
    """
    _check_counts(successes, n)
    normal_quantile(confidence)
    return 0.0 if successes <= 0 else float(betaincinv(successes, n - successes + 1, 1 - confidence))


def upper_bound(successes: float, n: float, confidence: float = CONFIDENCE) -> float:
    """Return Clopper and Pearson's one-sided upper bound of a share; 1 if all items are right.

    Args:
        successes: number of right items, 0 to `n`.
        n: number of items; may be 0.
        confidence: one-sided; the bound is below the true share with at most 1 - confidence.

    Raises:
        ValueError: the counts or the confidence are out of range.
    """
    _check_counts(successes, n)
    normal_quantile(confidence)
    return 1.0 if successes >= n else float(betaincinv(successes + 1, n - successes, confidence))


def _check_counts(successes: float, n: float) -> None:
    if not 0 <= successes <= n or math.isinf(n):
        raise ValueError(f"{successes} of {n} items is no share: expected 0 <= successes <= n")
