"""Scores of classes: precision, recall and F1 of each, and Cohen's kappa, where a metric is computed of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalrun_runner.comparing.scored import ClassLabels, IntArray, MetricName
from evalrun_runner.statistics.classes import (
    ClassCounts,
    confusion_matrix,
    f1_interval,
    kappa,
    kappa_interval,
    macro_f1,
    precision_interval,
    recall_interval,
)
from evalrun_runner.statistics.interval import Interval, NoInterval

MOST_CLASSES = 20
"""Classes that are listed one by one, the most frequent first."""


@dataclass(frozen=True, slots=True)
class SureScore:
    """A score with its interval."""

    value: float | None
    """None where it is not defined."""
    interval: Interval | None
    """None where the labels allow none."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well a run finds one class."""

    name: str
    count: int
    """Items of the class."""
    precision: SureScore
    recall: SureScore
    f1: SureScore


@dataclass(frozen=True, slots=True)
class LabelScores:
    """How well a run tells classes apart."""

    run: str
    """Label of the run."""
    task: str
    metric: MetricName
    n: int
    """Items with a right and a predicted class."""
    kappa: SureScore
    """Cohen's kappa of right and predicted classes."""
    macro_f1: float | None
    """Mean F1 of the classes."""
    classes: tuple[ClassScore, ...]


def label_scores(
    run: str, task: str, metric: MetricName, labels: ClassLabels, places: IntArray, confidence: float
) -> LabelScores:
    """Compute the scores of one run.

    Args:
        run: Label of the run, for the answer.
        task: Leaf task, for the answer.
        metric: Metric, for the answer.
        labels: Classes of the run's items.
        places: Items that count, by their places in the labels.
        confidence: Two-sided, between 0 and 1.
    """
    gold, predicted = labels.gold[places], labels.predicted[places]
    known = (gold >= 0) & (predicted >= 0)
    gold, predicted = gold[known], predicted[known]
    counts = np.bincount(gold, minlength=len(labels.names))
    frequent = np.argsort(-counts, kind="stable")[:MOST_CLASSES].tolist()
    rights, calls = gold.tolist(), predicted.tolist()
    matrix = confusion_matrix(rights, calls) if rights else np.zeros((1, 1))
    return LabelScores(
        run=run,
        task=task,
        metric=metric,
        n=len(gold),
        kappa=_sure(float(kappa(matrix)), kappa_interval(rights, calls, confidence=confidence)),
        macro_f1=_finite(float(macro_f1(matrix))),
        classes=tuple(_of_class(labels.names[place], place, gold, predicted, confidence) for place in frequent),
    )


def _of_class(name: str, place: int, gold: IntArray, predicted: IntArray, confidence: float) -> ClassScore:
    right = int(np.count_nonzero((gold == place) & (predicted == place)))
    of_class, called = int(np.count_nonzero(gold == place)), int(np.count_nonzero(predicted == place))
    counts = ClassCounts(right, called - right, of_class - right)
    return ClassScore(
        name=name,
        count=of_class,
        precision=_sure(right / called if called else None, precision_interval(counts, confidence)),
        recall=_sure(right / of_class if of_class else None, recall_interval(counts, confidence)),
        f1=_sure(counts.f1, f1_interval(counts, confidence)),
    )


def _sure(value: float | None, interval: Interval | NoInterval) -> SureScore:
    return SureScore(_finite(value), interval if isinstance(interval, Interval) else None)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
