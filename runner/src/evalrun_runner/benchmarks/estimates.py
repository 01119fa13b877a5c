"""Choose how sure a score is, by the aggregation that made it of its items' values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from lm_eval.api import metrics
from numpy.typing import NDArray

from evalrun_runner.benchmarks.task_scores import is_finite, is_number
from evalrun_runner.statistics.classes import ClassCounts, f1_interval, matthews_interval
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, NoInterval
from evalrun_runner.statistics.means import student_t
from evalrun_runner.statistics.ratios import RatioData, ratio_interval
from evalrun_runner.statistics.resampling import bca_median
from evalrun_runner.statistics.scores import UNIT, ScoreData, score_interval

MEANS = (metrics.mean, metrics.nanmean)
"""Aggregations that are the mean of the items' values."""
NOT_NUMBERS = NoInterval("its items have values that are no finite numbers")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Found = Interval | NoInterval


def estimate(aggregation: Callable[..., Any], values: Sequence[Any], clusters: IntArray | None = None) -> Found:
    """Return the interval of a score, or why it has none.

    Args:
        aggregation: lm-eval's function that makes the score of the values.
        values: Value of each item.
        clusters: Number of each item's cluster, shape (items,); None where every item is independent.
    """
    match aggregation:
        case metrics.mean | metrics.nanmean:
            numbers = numbers_of(values)
            return NOT_NUMBERS if numbers is None else score_interval(score_data(numbers, clusters), CONFIDENCE)
        case metrics.median:
            numbers = numbers_of(values)
            return NOT_NUMBERS if numbers is None else _unclustered(bca_median(numbers), clusters)
        case metrics.perplexity:
            numbers = numbers_of(values)
            return NOT_NUMBERS if numbers is None else _falling(_exponential, _mean(numbers, clusters))
        case metrics.weighted_perplexity:
            return _falling(_exponential, _ratio(values, clusters))
        case metrics.bits_per_byte:
            return _falling(lambda ratio: -ratio / math.log(2), _ratio(values, clusters))
        case metrics.f1_score:
            return _unclustered(_f1(values), clusters)
        case metrics.matthews_corrcoef:
            gold, predicted = [str(one) for one, _ in values], [str(one) for _, one in values]
            return matthews_interval(gold, predicted, clusters)
    name = getattr(aggregation, "__name__", "a function of the task")
    return NoInterval(f"none is known for the aggregation {name}; lm-eval's standard error, if any, stands beside it")


def numbers_of(values: Sequence[Any]) -> FloatArray | None:
    """Return the values of items as numbers; None where one is no finite number."""
    if not all((is_number(value) or isinstance(value, bool | np.bool_)) and is_finite(value) for value in values):
        return None
    return np.array([float(value) for value in values], dtype=np.float64)


def score_data(values: FloatArray, clusters: IntArray | None = None) -> ScoreData:
    """Describe the values of a mean: within 0 and 1 they count as shares, else as unbounded.

    A metric does not say which values it can have: lm-eval knows its name and its function.
    """
    in_unit = bool(np.all((values >= UNIT[0]) & (values <= UNIT[1])))
    return ScoreData(values, clusters=clusters, bounds=UNIT if in_unit else None)


def _mean(values: FloatArray, clusters: IntArray | None) -> Found:
    if clusters is None:
        return student_t(values, CONFIDENCE)
    return score_interval(ScoreData(values, clusters=clusters, bounds=None), CONFIDENCE)


def _ratio(values: Sequence[Any], clusters: IntArray | None) -> Found:
    pairs = [(float(above), float(below)) for above, below in values]
    if not all(math.isfinite(one) for pair in pairs for one in pair):
        return NOT_NUMBERS
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return ratio_interval(RatioData(table[:, 0], table[:, 1], clusters, is_share=False), CONFIDENCE)


def _exponential(log_likelihood: float) -> float:
    return math.exp(-log_likelihood)


def _falling(function: Callable[[float], float], found: Found) -> Found:
    """Map an interval by a function that falls: its upper end becomes the lower one."""
    if isinstance(found, NoInterval):
        return found
    try:
        low, high = function(found.high), function(found.low)
    except OverflowError:
        return NoInterval("its upper end is too large for a number")
    if not low < high:
        return NoInterval("its items say nothing about its spread")
    return replace(found, low=low, high=high)


def _f1(values: Sequence[Any]) -> Found:
    """Return the interval of lm-eval's ``f1``, which is the F1 of class 1."""
    gold, predicted = ([one == 1 for one in column] for column in zip(*values, strict=True))
    return f1_interval(
        ClassCounts(
            true_positives=sum(a and b for a, b in zip(gold, predicted, strict=True)),
            false_positives=sum(b and not a for a, b in zip(gold, predicted, strict=True)),
            false_negatives=sum(a and not b for a, b in zip(gold, predicted, strict=True)),
        )
    )


def _unclustered(found: Found, clusters: IntArray | None) -> Found:
    if clusters is None or isinstance(found, NoInterval):
        return found
    return replace(found, note="the declared clusters are not taken into account: their items count as independent")
