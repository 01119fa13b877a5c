"""Compute BCa bootstrap intervals, for scores that have no interval of their own: BLEU, macro-F1, a median.

Items are drawn with replacement, the score is computed of each draw, and the bias-corrected and accelerated (BCa)
quantiles of these scores are the interval. If all draws have the same score, there is no interval: a point would claim
certainty.

Where the distribution over all possible draws is known, nothing is drawn at random, or less:

- **mean of 0 and 1**: the sum is binomial.
- **mean of any values**: the characteristic function of one draw to the power of n, by a Fourier transform on a grid;
  the result is the bootstrap with infinitely many resamples, up to the grid's 0.1% of a standard error.
- **median**: order statistics of uniform numbers are beta-distributed; one or two beta draws are a resample.
- **scores of sums over few distinct items** (confusion matrices): the counts of the distinct items are multinomial.

Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987) 171.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from evalrun_runner.statistics.arrays import FloatArray, IntArray, Numbers, vector
from evalrun_runner.statistics.bca import EQUAL, from_resamples, interval_around, levels
from evalrun_runner.statistics.clusters import ONE_CLUSTER, Clusters, cluster_codes
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, NoInterval, Target

RESAMPLES = 10_000
SEED = 20261130
BLOCK_BYTES = 32 << 20
"""Memory of one block of resamples."""
FEW_DISTINCT = 64
"""Distinct items up to which multinomial counts are drawn, rather than the items one by one."""
_UNDEFINED = "the score of all items is not defined"

TotalsStatistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Score of sums over items: (B, k) sums to (B,) scores."""


def bca_mean(values: Numbers, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the BCa interval of a mean, with the distribution over all possible resamples.

    Args:
        values: one value an item, shape (n,), finite.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: a value is nan or infinite.
    """
    numbers = vector(values)
    if len(numbers) == 0:
        return NoInterval("no scored item")
    estimate = float(numbers.mean())
    centred = numbers - estimate
    scale = float(np.abs(centred).max())
    # Relative to the greatest deviation, whose powers would leave the range of floats.
    unit = centred / scale if scale > 0 else centred
    distinct, counts = np.unique(numbers, return_counts=True)
    if len(distinct) == 1 or not np.isfinite(unit).all() or not unit.any():
        return NoInterval(EQUAL)
    acceleration = float((unit**3).sum()) / float((unit**2).sum()) ** 1.5 / 6
    is_binary = len(distinct) == 2
    found = _binomial(distinct, counts) if is_binary else _convolved(unit)
    start, step = (0.0, 1.0) if is_binary else (estimate, scale)
    low, high = (start + step * found.quantile(level) for level in levels(found.below, acceleration, confidence))
    return interval_around(low, high, estimate, confidence)


def bca_median(
    values: Numbers, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | NoInterval:
    """Return the BCa interval of a median.

    Args:
        values: one value an item, shape (n,), finite.
        confidence: two-sided, between 0 and 1.
        resamples: number of resamples.
        seed: of the draws; the same seed gives the same interval.
    """
    ordered = np.sort(vector(values))
    n = len(ordered)
    if n == 0:
        return NoInterval("no scored item")
    random = np.random.default_rng(seed)
    # The r-th smallest of n uniform numbers is beta-distributed; which item a number u draws is floor(u n).
    rank = (n + 1) // 2
    first = random.beta(rank, n - rank + 1, resamples)
    places = np.minimum((first * n).astype(np.int64), n - 1)
    scores = ordered[places]
    if n % 2 == 0:
        # Given the r-th, the next one is the least of the n - r uniform numbers above it.
        second = first + (1 - first) * random.beta(1, n - rank, resamples)
        scores = (scores + ordered[np.minimum((second * n).astype(np.int64), n - 1)]) / 2
    return from_resamples(scores, float(np.median(ordered)), (_median_without_one(ordered), None), confidence)


def bca_of_sums(
    parts: Sequence[Sequence[float]] | NDArray[np.generic],
    statistic: TotalsStatistic,
    clusters: Clusters | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | NoInterval:
    """Return the BCa interval of a score that is computed of sums over the items.

    Corpus BLEU is one (sums of matching and of all n-grams), perplexity is one (sums of log-likelihoods and lengths),
    and so is every score of a confusion matrix (sums of one-hot cells).

    Args:
        parts: what each item adds to the sums, shape (n, k).
        statistic: score of the sums: gets shape (B, k), returns shape (B,). A resample whose score is nan (a class
            that was not drawn) is left out.
        clusters: cluster of every item; if given, whole clusters are drawn.
        confidence: two-sided, between 0 and 1.
        resamples: number of resamples.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: the parts are no matrix of finite numbers.
    """
    matrix = np.asarray(parts, dtype=np.float64)
    if matrix.size == 0:
        return NoInterval("no scored item")
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"parts have shape {matrix.shape}: expected finite numbers, one row per item")
    target = Target.ITEMS
    if clusters is not None:
        codes, target = cluster_codes(clusters), Target.CLUSTERS
        matrix = np.stack([np.bincount(codes, weights=column) for column in matrix.T], axis=1)
    if len(matrix) == 1:
        return NoInterval(EQUAL if clusters is None else ONE_CLUSTER)
    # Sorting rows is slow; whether there are few can be seen from the columns one by one.
    if all(len(np.unique(column)) <= FEW_DISTINCT for column in matrix.T):
        distinct, counts = np.unique(matrix, axis=0, return_counts=True)
        if len(distinct) <= FEW_DISTINCT:
            found = bca_of_counts(counts, lambda drawn: statistic(drawn @ distinct), confidence, resamples, seed)
            return replace(found, target=target) if isinstance(found, Interval) else found
    whole, random = matrix.sum(axis=0), np.random.default_rng(seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = float(statistic(whole[None, :])[0])
        if not math.isfinite(estimate):
            return NoInterval(_UNDEFINED)
        scores, without_one = statistic(_drawn_sums(matrix, resamples, random)), statistic(whole - matrix)
    return from_resamples(scores, estimate, (without_one, None), confidence, target)


def bca_of_counts(
    counts: Sequence[int] | NDArray[np.generic],
    statistic: TotalsStatistic,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | NoInterval:
    """Return the BCa interval of a score of how often each kind of item occurs, such as a confusion matrix.

    Args:
        counts: items of each kind, shape (m,).
        statistic: score of such counts: gets shape (B, m), returns shape (B,); nan: not defined for these counts.
        confidence: two-sided, between 0 and 1.
        resamples: number of resamples.
        seed: of the draws; the same seed gives the same interval.
    """
    all_counts = np.asarray(counts, dtype=np.int64)
    used = np.flatnonzero(all_counts)
    n = int(all_counts.sum())
    if n == 0:
        return NoInterval("no scored item")
    if len(used) == 1:
        return NoInterval(EQUAL)
    drawn = np.zeros((resamples, len(all_counts)))
    random = np.random.default_rng(seed)
    drawn[:, used] = random.multinomial(n, all_counts[used] / n, resamples)
    without_one = np.repeat(all_counts[None, :].astype(np.float64), len(used), axis=0)
    without_one[np.arange(len(used)), used] -= 1
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = float(statistic(all_counts[None, :].astype(np.float64))[0])
        if not math.isfinite(estimate):
            return NoInterval(_UNDEFINED)
        scores, jackknife = statistic(drawn), statistic(without_one)
    return from_resamples(scores, estimate, (jackknife, all_counts[used].astype(np.float64)), confidence)


def bca(
    statistic: Callable[[IntArray], float],
    n: int,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | NoInterval:
    """Return the BCa interval of any score of items, which is computed anew for each resample.

    Args:
        statistic: score of the items at these indices, shape (n,), with repetitions; nan: not defined for them.
        n: number of items.
        confidence: two-sided, between 0 and 1.
        resamples: number of resamples.
        seed: of the draws; the same seed gives the same interval.
    """
    if n == 0:
        return NoInterval("no scored item")
    everything = np.arange(n)
    estimate = float(statistic(everything))
    if not math.isfinite(estimate):
        return NoInterval(_UNDEFINED)
    if n == 1:
        return NoInterval(EQUAL)
    random = np.random.default_rng(seed)
    scores = np.array([statistic(random.integers(0, n, n)) for _ in range(resamples)])
    without_one = np.array([statistic(np.delete(everything, place)) for place in range(n)])
    return from_resamples(scores, estimate, (without_one, None), confidence)


@dataclass(frozen=True, slots=True)
class _Distribution:
    """Distribution of a score over all possible resamples.

    Attributes:
        points: possible scores, ascending.
        cumulated: chance of each score or a lower one.
        below: chance of a score below the estimate, with half the chance of the estimate itself.
    """

    points: FloatArray
    cumulated: FloatArray
    below: float

    def quantile(self, level: float) -> float:
        """Return the least score that is reached with the chance `level`."""
        place = int(np.searchsorted(self.cumulated, level))
        return float(self.points[min(place, len(self.points) - 1)])


def _binomial(distinct: FloatArray, counts: IntArray) -> _Distribution:
    """Return the distribution of the mean of n draws from two distinct values."""
    n, high = int(counts.sum()), int(counts[1])
    cumulated = np.asarray(bdtr(np.arange(n + 1, dtype=np.float64), n, high / n), dtype=np.float64)
    below = (float(cumulated[high - 1]) + float(cumulated[high])) / 2
    return _Distribution(distinct[0] + (distinct[1] - distinct[0]) * np.arange(n + 1) / n, cumulated, below)


def _convolved(centred: FloatArray) -> _Distribution:
    """Return the distribution of the mean of n draws from any values whose mean is 0.

    The unit is the standard error of the mean. In it no value is beyond 1, so that a sum beyond 20 needs 20 draws of
    one outlier; the grid spans -20 to 20 and is so fine that rounding adds at most 0.1% to the variance.
    """
    n, error = len(centred), math.sqrt(float((centred**2).sum())) / len(centred)
    size = 1 << max(16, math.ceil(math.log2(640 * math.sqrt(n))))
    step = 40 / size
    places = centred / (error * n) / step
    left = np.floor(places)
    share = places - left
    # A value between two points is divided so that its mean stays.
    mass = np.bincount(left.astype(np.int64) % size, weights=1 - share, minlength=size)
    mass += np.bincount((left.astype(np.int64) + 1) % size, weights=share, minlength=size)
    chances = np.fft.fftshift(np.maximum(np.fft.irfft(np.fft.rfft(mass / n) ** n, size), 0.0))
    cumulated = np.cumsum(chances)
    middle = size // 2
    below = float(cumulated[middle] - chances[middle] / 2) / float(cumulated[-1])
    points = np.asarray((np.arange(size) - middle) * (step * error), dtype=np.float64)
    return _Distribution(points, np.asarray(cumulated / cumulated[-1], dtype=np.float64), below)


def _median_without_one(ordered: FloatArray) -> FloatArray:
    """Return the medians of all values but one, for each of them."""
    n, middle = len(ordered), len(ordered) // 2
    if n == 1:
        return ordered.copy()
    place = np.arange(n)
    if n % 2 == 0:
        return np.where(place < middle, ordered[middle], ordered[middle - 1])
    left = np.where(place >= middle, middle - 1, middle)
    right = np.where(place > middle, middle, middle + 1)
    return np.asarray((ordered[left] + ordered[right]) / 2)


def _drawn_sums(matrix: FloatArray, resamples: int, random: np.random.Generator) -> FloatArray:
    """Return the sums of resamples of the rows, shape (B, k), in blocks of bounded memory."""
    n = len(matrix)
    rows = max(1, min(resamples, BLOCK_BYTES // (24 * n)))
    blocks = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = random.integers(0, n, (count, n)) + (np.arange(count) * n)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        blocks.append(counts.astype(np.float64) @ matrix)
    return np.concatenate(blocks)
