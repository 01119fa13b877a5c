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
LEAST_CONFIDENCE = 1e-9
"""Confidence of the two-sided interval whose bounds are a gate's at confidence 0.5: the score itself."""
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


def bounded_mean_bounds(
    values: Numbers, bounds: tuple[float, float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the one-sided bounds of the mean of bounded scores, for a gate.

    Each is the more cautious one of the plus-four and of the plain t interval. Pseudo-items pull both bounds inwards:
    where scores gather at 0, the plus-four lower bound alone is above the true mean in up to 9% instead of 5%. The
    plain t interval is wrong on the other side there.

    Args:
        values: shape (n,), inside the bounds; with n = 0 the answer is the bounds of the scores.
        bounds: least and greatest possible score.
        confidence: one-sided, of each bound alone, from 0.5 up to below 1.
    """
    # A one-sided bound is a bound of the two-sided interval whose error is twice as great.
    two_sided = max(2 * confidence - 1, LEAST_CONFIDENCE)
    cautious, plain = plus_four(values, bounds, two_sided), student_t(values, two_sided)
    if isinstance(plain, NoInterval):
        return cautious.low, cautious.high
    return max(bounds[0], min(cautious.low, plain.low)), min(bounds[1], max(cautious.high, plain.high))


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
