"""Compute intervals of a mean of scores that are not only 0 and 1.

**Bounded scores** (token F1, a judge's 1 to 5, the mean of repeats): Student's t after adding pseudo-items at both ends
of the range, half of them at each. At 95% there are four, as in Agresti and Coull's interval of a share. They keep the
interval from shrinking to nothing when all scores are equal, which is where the plain t interval misses most: 46% of
20 items and 78% of 50 where scores gather at an end.

**Unbounded scores** (log-likelihoods, lengths): Student's t. One value or equal values have no interval.

Sources: Agresti and Coull, American Statistician 52 (1998) 119, carried over from shares to bounded scores.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from evalrun_runner.statistics.arrays import FloatArray, Numbers, to_range, vector
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval
from evalrun_runner.statistics.proportions import normal_quantile

PSEUDO_ITEMS_AT_95 = 2.0
"""Pseudo-items at each end of the range for a two-sided 95% interval."""
LEAST_PSEUDO_ITEMS = 0.01
"""Pseudo-items at confidences near 0, where a gate looks at the score itself."""


def t_quantile(confidence: float, degrees: float) -> float:
    """Return the two-sided quantile of Student's t: 2.78 for 0.95 and 4 degrees of freedom.

    Args:
        confidence: two-sided, between 0 and 1.
        degrees: degrees of freedom, above 0; may be a fraction.

    Raises:
        ValueError: the confidence is not between 0 and 1.
    """
    normal = normal_quantile(confidence)
    return normal if degrees > 1e9 else float(stdtrit(degrees, (1 + confidence) / 2))


def pseudo_items(confidence: float) -> float:
    """Return how many pseudo-items stand at each end of the range: 2 at 95%, in proportion to the squared quantile.

    Agresti and Coull's form adds half the squared normal quantile at each end, which they round to 2 at 95%. A fixed
    number would push the interval off the score at low confidence.
    """
    ratio = normal_quantile(confidence) / normal_quantile(0.95)
    return max(LEAST_PSEUDO_ITEMS, PSEUDO_ITEMS_AT_95 * ratio * ratio)


def plus_four(values: Numbers, bounds: tuple[float, float], confidence: float = CONFIDENCE) -> Interval:
    """Return the plus-four t interval of the mean of bounded scores. It has a width with any values, one or none.

    Args:
        values: shape (n,), inside the bounds; with n = 0 the interval is the whole range.
        bounds: least and greatest possible score.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: a value is outside the bounds, or the bounds are not finite and ascending.
    """
    scores = bounded(values, bounds)
    lowest, highest = bounds
    if len(scores) == 0:
        return Interval(lowest, highest, confidence, Method.WHOLE_RANGE, note="no scored item")
    each = pseudo_items(confidence)
    size = len(scores) + 2 * each
    # Computed on the unit range, so that a narrow range far from zero loses no digits.
    unit = (scores - lowest) / (highest - lowest)
    mean = float(unit.mean())
    middle = (float(unit.sum()) + each) / size
    spread = float(((unit - middle) ** 2).sum()) + each * (middle**2 + (1 - middle) ** 2)
    half = t_quantile(confidence, size - 1) * math.sqrt(spread / (size - 1) / size)
    low, high = max(0.0, min(middle - half, mean)), min(1.0, max(middle + half, mean))
    return Interval(to_range(low, bounds), to_range(high, bounds), confidence, Method.PLUS_FOUR)


def student_t(values: Numbers, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return Student's t interval of the mean of unbounded values, or why there is none.

    Args:
        values: shape (n,), finite.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: a value is nan or infinite.
    """
    numbers = vector(values)
    reason = no_spread(numbers)
    if reason:
        return NoInterval(reason)
    mean = float(numbers.mean())
    half = t_quantile(confidence, len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    if not mean - half < mean + half:
        return NoInterval("the values differ by less than the precision of their mean")
    return Interval(mean - half, mean + half, confidence, Method.STUDENT_T)


def no_spread(values: FloatArray) -> str:
    """Return why values carry no information on their spread; empty if they do."""
    if len(values) == 0:
        return "no scored item"
    if len(values) == 1:
        return "one item says nothing about the spread of unbounded values"
    if bool((values == values[0]).all()):
        return f"all {len(values)} values are equal and could be any number: they say nothing about their spread"
    return ""


def skewness_ratio(values: Numbers) -> float:
    """Return the skewness of the mean, |skewness| / √n. Above 0.1 a t interval leans to one side."""
    numbers = vector(values)
    centred = numbers - numbers.mean() if len(numbers) else numbers
    scale = float(np.abs(centred).max(initial=0.0))
    if scale == 0:
        return 0.0
    unit = centred / scale
    return float(abs(float((unit**3).sum())) / math.pow(float((unit**2).sum()), 1.5))


def bounded(values: Numbers, bounds: tuple[float, float]) -> FloatArray:
    """Return the values as a vector after a check against their bounds.

    Raises:
        ValueError: a value is outside the bounds, or the bounds are not finite and ascending.
    """
    lowest, highest = bounds
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
        raise ValueError(f"bounds ({lowest}, {highest}) are no range: expected two finite numbers, ascending")
    scores = vector(values)
    outside = (scores < lowest) | (scores > highest)
    if outside.any():
        place = int(outside.argmax())
        raise ValueError(f"values[{place}] is {scores[place]}: outside the bounds {lowest} to {highest}")
    return scores
