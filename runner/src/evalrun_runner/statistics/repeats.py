"""Compute scores of items that were answered several times, and how much the same benchmark would differ next time.

A score over repeats has two questions, and two intervals:

- *Other items*: each item counts once, with the mean of its repeats (`item_means`), as any bounded score. Repeats of
  an item are no items of their own: with n·K of them as one sample an interval covers 51 to 92% instead of 95%.
- *The same benchmark again* (`rerun_interval`): only the spread within the items counts, because the items stay.

Source of the unbiased pass@k: Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374 (2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval, Target
from evalrun_runner.statistics.proportions import normal_quantile


def item_means(repeats: Sequence[Sequence[float]] | NDArray[np.generic]) -> FloatArray:
    """Return the mean of each item's repeats.

    Args:
        repeats: score of each repeat, shape (n, K); nan: that repeat has none.

    Returns:
        Means of the items that have at least one repeat, in order; at most n.
    """
    scores, counts = _scores(repeats)
    return np.asarray(np.nansum(scores, axis=1)[counts > 0] / counts[counts > 0], dtype=np.float64)


def rerun_interval(
    repeats: Sequence[Sequence[float]] | NDArray[np.generic],
    bounds: tuple[float, float] | None = (0.0, 1.0),
    confidence: float = CONFIDENCE,
) -> Interval | NoInterval:
    """Return the interval of the score that the same items have over many reruns.

    Args:
        repeats: score of each repeat, shape (n, K); nan: that repeat has none.
        bounds: least and greatest possible score, or None.
        confidence: two-sided, between 0 and 1.

    Returns:
        The interval, or why there is none. If all repeats agree, its width is that of one item whose repeats divide
        evenly: reruns without a flip are seen where flips are rare, not only where there are none.
    """
    scores, counts = _scores(repeats)
    scores, counts = scores[counts > 0], counts[counts > 0]
    repeated = counts > 1
    if len(scores) == 0:
        return NoInterval("no scored item")
    if not repeated.any():
        return NoInterval("no item has two repeats")
    means = np.nansum(scores, axis=1) / counts
    squares = np.nansum((scores - means[:, None]) ** 2, axis=1)
    within = squares[repeated] / (counts[repeated] - 1)
    # An item with one repeat is taken to vary as the others do on average.
    total = float((within / counts[repeated]).sum()) + float(within.mean()) * float((~repeated).sum())
    if bounds is not None:
        total = max(total, (bounds[1] - bounds[0]) ** 2 / 4 / float(counts[repeated].mean()))
    mean = float(means.mean())
    half = normal_quantile(confidence) * math.sqrt(total) / len(scores)
    low, high = mean - half, mean + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    if not low < high:
        return NoInterval("all repeats of every item are equal: they say nothing about their spread")
    return Interval(low, high, confidence, Method.RERUN_NORMAL, Target.RERUN)


def pass_at_k(
    right: Sequence[int] | NDArray[np.generic], repeats: Sequence[int] | NDArray[np.generic], k: int
) -> FloatArray:
    """Return the unbiased estimate, per item, that at least one of k repeats is right.

    The mean of these is the score; its interval is that of bounded scores. The formula 1 - (1 - p)^k on an item's
    mean p is biased.

    Args:
        right: right repeats of each item, shape (n,).
        repeats: repeats of each item, shape (n,), each at least k.
        k: number of tries, at least 1.

    Raises:
        ValueError: an item has fewer than k repeats or more right ones than repeats.
    """
    good, all_of_them = np.asarray(right, dtype=np.float64), np.asarray(repeats, dtype=np.float64)
    if k < 1 or (all_of_them < k).any():
        raise ValueError(f"pass@{k}: an item has fewer than {max(k, 1)} repeats")
    if ((good < 0) | (good > all_of_them)).any():
        raise ValueError(f"pass@{k}: an item has more right repeats than repeats")
    bad = all_of_them - good
    # C(bad, k) / C(all, k): the chance that k repeats, drawn without replacement, are all wrong.
    with np.errstate(invalid="ignore"):
        wrong = np.exp(
            gammaln(bad + 1) - gammaln(bad - k + 1) - gammaln(all_of_them + 1) + gammaln(all_of_them - k + 1)
        )
    return np.asarray(np.where(bad < k, 1.0, np.clip(1 - wrong, 0.0, 1.0)), dtype=np.float64)


def _scores(repeats: Sequence[Sequence[float]] | NDArray[np.generic]) -> tuple[FloatArray, FloatArray]:
    """Return the scores as a matrix, and the number of each item's repeats."""
    scores = np.asarray(repeats, dtype=np.float64)
    if scores.size == 0:
        return np.empty((0, 1)), np.empty(0)
    if scores.ndim != 2 or np.isinf(scores).any():
        raise ValueError(f"repeats have shape {scores.shape}: expected finite scores, one row per item")
    return scores, np.asarray((~np.isnan(scores)).sum(axis=1), dtype=np.float64)
