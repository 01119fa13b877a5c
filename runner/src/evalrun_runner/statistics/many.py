"""Compare many models on the same items: every pair at once, ranks with their uncertainty, groups not separated.

Pairs are tested by McNemar's exact test where every score is 0 or 1, else by sign flips. Holm's procedure keeps the
chance of any wrong separation at 1 - confidence; Benjamini and Hochberg's q-values are beside it. A model's rank lies
between 1 + the number of models separated above it and k - the number separated below it; all these intervals hold
together. The groups for a critical-difference picture are runs of neighbours in the ranking no two of which are
separated; Nemenyi's critical difference, the usual basis of that picture, is blind on 0/1 items.

Cochran's Q tests whether any model differs, on the items that every model has.

Sources: Cochran, Biometrika 37 (1950) 256; Holm, Scandinavian Journal of Statistics 6 (1979) 65; Benjamini and
Hochberg, JRSS B 57 (1995) 289; Demsar, JMLR 7 (2006) 1, for the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from evalrun_runner.statistics.arrays import FloatArray, IntArray
from evalrun_runner.statistics.interval import CONFIDENCE
from evalrun_runner.statistics.multiplicity import benjamini_hochberg, holm
from evalrun_runner.statistics.paired_arrays import bonett_price_bounds, mcnemar_p, newcombe_bounds
from evalrun_runner.statistics.paired_scores import difference_interval, summarize
from evalrun_runner.statistics.proportions import normal_quantile
from evalrun_runner.statistics.sign_flip import sign_flip
from evalrun_runner.statistics.tango import tango_bounds


@dataclass(frozen=True, slots=True)
class Omnibus:
    """Result of Cochran's Q: does any model differ?

    Attributes:
        items: number of items that every model has; the others are left out.
        q: the statistic; 0 where the models answer alike.
        df: its degrees of freedom, the number of models less one.
        p: p-value by the chi-squared distribution; 1 without items.
    """

    items: int
    q: float
    df: int
    p: float


@dataclass(frozen=True, slots=True)
class PairTable:
    """Every pair of models; all arrays have a place for each pair, shape (k(k - 1)/2,).

    A pair without common items has p-values and adjusted ones of nan, intervals of every difference, and is not in the
    family that Holm's procedure corrects for.

    Attributes:
        first: number of the first model, ordered as the rows of the matrix.
        second: number of the second model, greater than `first`.
        n: number of common items.
        both: common items that both have right; nan where scores are not 0 or 1, like the next three.
        first_only: items that only the first has right.
        second_only: items that only the second has right.
        neither: items that both have wrong.
        difference: first minus second on the common items; nan without any.
        p: exact two-sided p-value.
        mid_p: mid-p-value; nan where scores are not 0 or 1.
        holm: p-value adjusted by Holm.
        fdr: q-value of Benjamini and Hochberg.
        interval: bounds of the difference, shape (2, pairs): Tango, or t for scores that are not 0 or 1.
        newcombe: bounds by Newcombe's method 10, shape (2, pairs); nan where scores are not 0 or 1.
        bonett_price: bounds by Bonett and Price, shape (2, pairs); nan where scores are not 0 or 1.
    """

    first: IntArray
    second: IntArray
    n: IntArray
    both: FloatArray
    first_only: FloatArray
    second_only: FloatArray
    neither: FloatArray
    difference: FloatArray
    p: FloatArray
    mid_p: FloatArray
    holm: FloatArray
    fdr: FloatArray
    interval: FloatArray
    newcombe: FloatArray
    bonett_price: FloatArray


@dataclass(frozen=True, slots=True)
class ManyComparison:
    """Models compared on the same items; models are numbered as the rows of the matrix.

    Attributes:
        scores: mean score of each model on its own items, shape (k,); nan for a model without items.
        items: number of items of each model, shape (k,).
        omnibus: test whether any model differs; None where scores are not 0 or 1.
        pairs: every pair.
        separated: whether Holm's procedure separates two models, shape (k, k), symmetric.
        rank_low: best rank that a model may have, shape (k,), 1 is the best.
        rank_high: worst rank that a model may have, shape (k,).
        order: models from the best score to the worst, shape (k,); those without items are last.
        groups: runs of neighbours in `order`, two or more, no two of them separated; none is part of another.
        confidence: of the intervals; 1 - confidence is the level of the separation.
    """

    scores: FloatArray
    items: IntArray
    omnibus: Omnibus | None
    pairs: PairTable
    separated: NDArray[np.bool_]
    rank_low: IntArray
    rank_high: IntArray
    order: IntArray
    groups: tuple[tuple[int, ...], ...]
    confidence: float


def compare_all(
    matrix: ArrayLike, confidence: float = CONFIDENCE, *, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> ManyComparison:
    """Compare every two models on their common items.

    Args:
        matrix: score of each model on each item, shape (models, items); nan: the model has no score of the item.
        confidence: of intervals and of the separation, between 0 and 1.
        bounds: least and greatest possible score, or None if there are none.

    Raises:
        ValueError: the matrix has no two dimensions, or a score is infinite or outside the bounds.
    """
    scores = _checked(matrix, bounds)
    there = ~np.isnan(scores)
    filled = np.where(there, scores, 0.0)
    items = there.sum(axis=1)
    means = np.divide(filled.sum(axis=1), items, out=np.full(len(scores), np.nan), where=items > 0)
    binary = bounds == (0.0, 1.0) and bool(((filled == 0) | (filled == 1)).all())
    table = _binary_pairs(filled, there, confidence) if binary else _score_pairs(scores, there, confidence, bounds)
    separated = np.zeros((len(scores), len(scores)), dtype=np.bool_)
    apart = table.holm <= 1 - confidence + 1e-12
    separated[table.first[apart], table.second[apart]] = True
    separated |= separated.T
    better = np.zeros_like(separated)
    better[table.first, table.second] = table.difference > 0
    better[table.second, table.first] = table.difference < 0
    order = np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable").astype(np.int64)
    return ManyComparison(
        scores=means,
        items=items.astype(np.int64),
        omnibus=cochran_q(filled, there) if binary else None,
        pairs=table,
        separated=separated,
        rank_low=1 + (separated & better).sum(axis=0),
        rank_high=len(scores) - (separated & better).sum(axis=1),
        order=order,
        groups=_groups(order, separated),
        confidence=confidence,
    )


def cochran_q(filled: FloatArray, there: NDArray[np.bool_]) -> Omnibus:
    """Test whether any model differs, on the items that all models have.

    Args:
        filled: 0 or 1 for each model and item, shape (models, items); anything where the item has no score.
        there: whether there is a score, same shape.
    """
    k = len(filled)
    complete = filled[:, there.all(axis=0)]
    by_model, by_item = complete.sum(axis=1), complete.sum(axis=0)
    spread = float((by_item * (k - by_item)).sum())
    q = (k - 1) * float(k * (by_model**2).sum() - by_model.sum() ** 2) / spread if spread > 0 else 0.0
    p = float(chdtrc(k - 1, q)) if spread > 0 else 1.0
    return Omnibus(complete.shape[1], q, max(k - 1, 0), p)


def _checked(matrix: ArrayLike, bounds: tuple[float, float] | None) -> FloatArray:
    scores = np.asarray(matrix, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"the matrix has shape {scores.shape}: expected models x items")
    low, high = bounds if bounds is not None else (-np.finfo(np.float64).max, np.finfo(np.float64).max)
    wrong = (scores < low) | (scores > high)
    if wrong.any():
        model, item = (int(one[0]) for one in np.nonzero(wrong))
        raise ValueError(f"model {model}, item {item}: {scores[model, item]} is not between {low} and {high}")
    return scores


def _binary_pairs(filled: FloatArray, there: NDArray[np.bool_], confidence: float) -> PairTable:
    # Products of 0/1 matrices count every pair at once.
    mask = there.astype(np.float64)
    both_matrix, right_there, common = filled @ filled.T, filled @ mask.T, mask @ mask.T
    first, second = (one.astype(np.int64) for one in np.triu_indices(len(filled), 1))
    both, n = both_matrix[first, second], common[first, second]
    only_first = right_there[first, second] - both
    only_second = right_there[second, first] - both
    p, mid_p = mcnemar_p(only_second, only_first)
    p, mid_p = np.where(n > 0, p, np.nan), np.where(n > 0, mid_p, np.nan)
    z = normal_quantile(confidence)
    neither = n - both - only_first - only_second
    return PairTable(
        first=first,
        second=second,
        n=n.astype(np.int64),
        both=both,
        first_only=only_first,
        second_only=only_second,
        neither=neither,
        difference=np.divide(only_first - only_second, n, out=np.full(n.shape, np.nan), where=n > 0),
        p=p,
        mid_p=mid_p,
        holm=holm(p),
        fdr=benjamini_hochberg(p),
        interval=np.stack(tango_bounds(only_second, only_first, n, z)),
        newcombe=np.stack(newcombe_bounds(both, only_second, only_first, neither, z)),
        bonett_price=np.stack(bonett_price_bounds(only_second, only_first, n, z)),
    )


def _score_pairs(
    scores: FloatArray, there: NDArray[np.bool_], confidence: float, bounds: tuple[float, float] | None
) -> PairTable:
    first, second = (one.astype(np.int64) for one in np.triu_indices(len(scores), 1))
    reach = np.inf if bounds is None else bounds[1] - bounds[0]
    count = len(first)
    n, difference, p = np.zeros(count, dtype=np.int64), np.full(count, np.nan), np.full(count, np.nan)
    interval = np.tile(np.array([[-reach], [reach]]), count)
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        common = there[a] & there[b]
        differences = scores[a, common] - scores[b, common]
        n[place] = differences.size
        if differences.size:
            difference[place], p[place] = float(differences.mean()), sign_flip(differences)
            found = difference_interval(summarize(differences, (-reach, reach)), confidence)
            interval[:, place] = found.low, found.high
    nothing = np.full(count, np.nan)
    return PairTable(
        first=first,
        second=second,
        n=n,
        both=nothing,
        first_only=nothing,
        second_only=nothing,
        neither=nothing,
        difference=difference,
        p=p,
        mid_p=nothing,
        holm=holm(p),
        fdr=benjamini_hochberg(p),
        interval=interval,
        newcombe=np.stack([nothing, nothing]),
        bonett_price=np.stack([nothing, nothing]),
    )


def _groups(order: IntArray, separated: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Return the longest runs of neighbours no two of which are separated."""
    groups: list[tuple[int, ...]] = []
    start, reached = 0, 0
    for end in range(len(order)):
        while separated[order[start:end], order[end]].any():
            start += 1
        last = end + 1 == len(order) or separated[order[start : end + 1], order[end + 1]].any()
        if last and end > start and end + 1 > reached:
            groups.append(tuple(int(one) for one in order[start : end + 1]))
            reached = end + 1
    return tuple(groups)
