"""Scores of a run in progress: means of per-item metric values. Does not import lm-eval, so replicas may use it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from evalrun_runner.benchmarks import values
from evalrun_runner.records.results import ItemResult, ItemStatus, MeanTally, Tallies


def tally(rows: Iterable[ItemResult]) -> Tallies:
    """MeanTally the metric values of the rows' ok items; values that are not plain finite numbers are skipped."""
    # Most items have the same scores as others, right or wrong: decode equal texts once.
    texts = Counter(row.scores for row in rows if row.outcome.status is ItemStatus.OK and row.scores is not None)
    return add(_tally(text, times) for text, times in texts.items())


def add(tallies: Iterable[Tallies]) -> Tallies:
    """Sum the tallies by metric and filter."""
    sums: dict[tuple[str, str], MeanTally] = {}
    for one in tallies:
        for key, more in one.items():
            sums[key] = sums.get(key, MeanTally()) + more
    return sums


def mean_and_stderr(tally: MeanTally) -> tuple[float, float | None]:
    """Compute the mean of at least one value and its standard error, as lm-eval's ``mean`` and ``mean_stderr`` do.

    Returns:
        (mean, standard error). The error is None for a single value, and if the squares are too large for a float.
    """
    mean = tally.total / tally.n
    if tally.n == 1:
        return mean, None
    # For equal values, rounding may make this slightly negative.
    spread = tally.squares - tally.total * mean
    return mean, math.sqrt(max(0.0, spread) / (tally.n - 1) / tally.n) if math.isfinite(spread) else None


def _tally(scores: str, times: int) -> Tallies:
    numbers = {
        (metric, filter_name): _number(value)
        for filter_name, metrics in values.decode(scores).items()
        for metric, value in metrics.items()
    }
    return {
        key: MeanTally(times, times * number, times * number * number)
        for key, number in numbers.items()
        if number is not None
    }


def _number(value: Any) -> float | None:
    if not isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
