"""Compute scores of labels with their intervals: precision, recall, F1, macro-F1, Cohen's kappa, Matthews' correlation.

The F1 of one class is 2 TP / (2 TP + FP + FN). With J = TP / (TP + FP + FN), the share of right items among those that
are or were called positive, F1 = 2 J / (1 + J) grows with J; so Wilson's interval of J is mapped to F1. It covers 94.4
to 97.2% where the usual t interval and bootstraps cover 68 to 96% (n = 50). Precision and recall are shares of their
own denominators. The other scores have the BCa interval, drawn from the confusion matrix.

Sources: Cohen, Educational and Psychological Measurement 20 (1960) 37 (kappa); Matthews, Biochimica et Biophysica Acta
405 (1975) 442; Gorodkin, Computational Biology and Chemistry 28 (2004) 367 (its form for several classes).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalrun_runner.statistics.arrays import FloatArray, IntArray
from evalrun_runner.statistics.clusters import Clusters, cluster_codes
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, NoInterval, Target
from evalrun_runner.statistics.proportions import lower_bound, upper_bound, wilson
from evalrun_runner.statistics.resampling import bca_of_counts, bca_of_sums

BLOCK_CELLS = 4_000_000
"""Cells of confusion matrices in memory at once, 8 bytes each."""


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Items of one class: what they are against what they were called.

    Attributes:
        true_positives: items of the class that were called so.
        false_positives: items that were wrongly called so.
        false_negatives: items of the class that were called otherwise.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @staticmethod
    def of(gold: Sequence[Hashable], predicted: Sequence[Hashable], positive: Hashable) -> ClassCounts:
        """Count the items of a class.

        Args:
            gold: right label of every item, shape (n,).
            predicted: label that the model gave, shape (n,).
            positive: label of the class.
        """
        pairs = [(right == positive, called == positive) for right, called in zip(gold, predicted, strict=True)]
        return ClassCounts(pairs.count((True, True)), pairs.count((False, True)), pairs.count((True, False)))

    @property
    def jaccard(self) -> tuple[int, int]:
        """Right items, and items that are or were called positive."""
        return self.true_positives, self.true_positives + self.false_positives + self.false_negatives

    @property
    def f1(self) -> float | None:
        """F1 of the class; None if no item is or was called positive."""
        right, items = self.jaccard
        return 2 * right / (right + items) if items else None


def f1_interval(counts: ClassCounts, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of the F1 of a class, or why there is none.

    Args:
        counts: items of the class.
        confidence: two-sided, between 0 and 1.
    """
    right, items = counts.jaccard
    if items == 0:
        return NoInterval("no item is or was called positive: F1 is not defined")
    found = wilson(right, items, confidence)
    return Interval(_f1(found.low), _f1(found.high), confidence, Method.WILSON_JACCARD)


def f1_bounds(counts: ClassCounts, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the one-sided bounds of the F1 of a class, for a gate; 0 and 1 if it is not defined.

    Args:
        counts: items of the class.
        confidence: one-sided, of each bound alone.
    """
    right, items = counts.jaccard
    return _f1(lower_bound(right, items, confidence)), _f1(upper_bound(right, items, confidence))


def precision_interval(counts: ClassCounts, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of the share of right ones among the items that were called positive."""
    called = counts.true_positives + counts.false_positives
    if called == 0:
        return NoInterval("no item was called positive: precision is not defined")
    return wilson(counts.true_positives, called, confidence)


def recall_interval(counts: ClassCounts, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the interval of the share of the positive items that were called so."""
    positive = counts.true_positives + counts.false_negatives
    if positive == 0:
        return NoInterval("no item is positive: recall is not defined")
    return wilson(counts.true_positives, positive, confidence)


def confusion_matrix(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> FloatArray:
    """Return how often each label (row) was called each label (column); labels in the order of their appearance."""
    cells, labels = _cells(gold, predicted)
    return np.bincount(cells, minlength=labels**2).reshape(labels, labels).astype(np.float64)


def kappa(matrices: FloatArray) -> FloatArray:
    """Return Cohen's kappa of confusion matrices, shape (..., c, c); nan where chance agreement is certain."""
    n = matrices.sum(axis=(-2, -1))
    agreed = np.trace(matrices, axis1=-2, axis2=-1)
    chance = (matrices.sum(axis=-1) * matrices.sum(axis=-2)).sum(axis=-1)
    return _divide(agreed * n - chance, n * n - chance)


def macro_f1(matrices: FloatArray) -> FloatArray:
    """Return the mean F1 of the classes of confusion matrices, shape (..., c, c).

    A class that neither is nor was called has no F1 and is left out; so does scikit-learn by default.
    """
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    around = matrices.sum(axis=-1) + matrices.sum(axis=-2)
    f1 = np.where(around > 0, 2 * right / np.where(around > 0, around, 1), 0.0)
    return _divide(f1.sum(axis=-1), (around > 0).sum(axis=-1).astype(np.float64))


def matthews(matrices: FloatArray) -> FloatArray:
    """Return Matthews' correlation of confusion matrices, shape (..., c, c); nan if one side has one label alone."""
    n = matrices.sum(axis=(-2, -1))
    agreed = np.trace(matrices, axis1=-2, axis2=-1)
    rows, columns = matrices.sum(axis=-1), matrices.sum(axis=-2)
    spread = (n * n - (rows**2).sum(axis=-1)) * (n * n - (columns**2).sum(axis=-1))
    return _divide(agreed * n - (rows * columns).sum(axis=-1), np.sqrt(spread))


def kappa_interval(
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    clusters: Clusters | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | NoInterval:
    """Return the BCa interval of Cohen's kappa of two raters, or why there is none.

    Args:
        gold: label of the first rater for every item, shape (n,).
        predicted: label of the second rater, shape (n,).
        clusters: cluster of every item, or None.
        confidence: two-sided, between 0 and 1.
    """
    return _label_interval(kappa, gold, predicted, clusters, confidence)


def macro_f1_interval(
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    clusters: Clusters | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | NoInterval:
    """Return the BCa interval of macro-F1, or why there is none; the arguments are those of `kappa_interval`."""
    return _label_interval(macro_f1, gold, predicted, clusters, confidence)


def matthews_interval(
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    clusters: Clusters | None = None,
    confidence: float = CONFIDENCE,
) -> Interval | NoInterval:
    """Return the BCa interval of Matthews' correlation, or why there is none; arguments as of `kappa_interval`."""
    return _label_interval(matthews, gold, predicted, clusters, confidence)


def _label_interval(
    score: Callable[[FloatArray], FloatArray],
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    clusters: Clusters | None,
    confidence: float,
) -> Interval | NoInterval:
    if len(gold) == 0:
        return NoInterval("no scored item")
    cells, labels = _cells(gold, predicted)

    def of_counts(counts: FloatArray) -> FloatArray:
        # In blocks: the matrices of all resamples of a hundred labels would take gigabytes.
        rows = max(1, BLOCK_CELLS // labels**2)
        blocks = (counts[start : start + rows] for start in range(0, len(counts), rows))
        return np.concatenate([score(block.reshape(len(block), labels, labels)) for block in blocks])

    if clusters is None:
        return bca_of_counts(np.bincount(cells, minlength=labels**2), of_counts, confidence)
    codes = cluster_codes(clusters)
    places, count = codes * labels**2 + cells, int(codes.max()) + 1
    matrices = np.bincount(places, minlength=count * labels**2).reshape(count, labels**2)
    found = bca_of_sums(matrices, of_counts, confidence=confidence)
    return replace(found, target=Target.CLUSTERS) if isinstance(found, Interval) else found


def _cells(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> tuple[IntArray, int]:
    """Return the cell of the flattened confusion matrix of every item, and the number of labels."""
    codes: dict[Hashable, int] = {}
    pairs = [
        (codes.setdefault(right, len(codes)), codes.setdefault(called, len(codes)))
        for right, called in zip(gold, predicted, strict=True)
    ]
    return np.array([row * len(codes) + column for row, column in pairs], dtype=np.int64), len(codes)


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def _divide(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.where(below != 0, above / np.where(below != 0, below, 1), np.nan)
