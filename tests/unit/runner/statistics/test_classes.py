"""Scores of labels with their intervals, against scikit-learn, statsmodels and published tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score, matthews_corrcoef
from statsmodels.stats.inter_rater import cohens_kappa

from evalrun_runner.statistics.classes import (
    ClassCounts,
    confusion_matrix,
    f1_bounds,
    f1_interval,
    kappa,
    kappa_interval,
    macro_f1,
    macro_f1_interval,
    matthews,
    matthews_interval,
    precision_interval,
    recall_interval,
)
from evalrun_runner.statistics.interval import Interval, NoInterval, Target
from evalrun_runner.statistics.proportions import wilson

labels = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


def interval(found: Interval | NoInterval) -> Interval:
    assert isinstance(found, Interval), found
    return found


def test_f1_without_positives_has_no_interval_and_the_widest_gate_bounds() -> None:
    # lm-eval reports 0 here.
    counts = ClassCounts.of("nnn", "nnn", "p")
    assert counts.f1 is None
    assert isinstance(f1_interval(counts), NoInterval)
    assert f1_bounds(counts) == (0.0, 1.0)
    assert isinstance(precision_interval(counts), NoInterval)
    assert isinstance(recall_interval(counts), NoInterval)


def test_f1_is_wilsons_interval_of_jaccard() -> None:
    counts = ClassCounts(true_positives=30, false_positives=10, false_negatives=5)
    share, found = wilson(30, 45), interval(f1_interval(counts))
    assert (found.low, found.high) == pytest.approx(
        (2 * share.low / (1 + share.low), 2 * share.high / (1 + share.high))
    )
    assert counts.f1 is not None
    assert counts.f1 in found


def test_precision_and_recall_are_shares_of_their_own_denominators() -> None:
    counts = ClassCounts(true_positives=30, false_positives=10, false_negatives=5)
    assert precision_interval(counts) == wilson(30, 40)
    assert recall_interval(counts) == wilson(30, 35)


def test_kappa_equals_the_example_of_fleiss_cohen_and_everitt() -> None:
    # Psychological Bulletin 72 (1969) 323: two raters, 100 cases, 3 classes: kappa .429.
    matrix = np.array([[53.0, 5, 2], [11, 14, 5], [1, 6, 3]])
    assert float(kappa(matrix)) == pytest.approx(cohens_kappa(matrix).kappa, rel=1e-12)
    assert float(kappa(matrix)) == pytest.approx(0.429, abs=5e-4)


@given(labels)
def test_scores_of_labels_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, called = [one for one, _ in pairs], [one for _, one in pairs]
    counts = ClassCounts.of(gold, called, "a")
    matrix = confusion_matrix(gold, called)
    assert float(macro_f1(matrix)) == pytest.approx(f1_score(gold, called, average="macro", zero_division=0))
    assert (counts.f1 or 0.0) == pytest.approx(f1_score(gold, called, labels=["a"], average=None, zero_division=0)[0])
    if len(set(gold) | set(called)) > 1:
        # scikit-learn warns of a single label, and calls an undefined correlation 0.
        assert np.nan_to_num(float(matthews(matrix))) == pytest.approx(matthews_corrcoef(gold, called))
        assert float(kappa(matrix)) == pytest.approx(cohen_kappa_score(gold, called))


def test_kappa_interval_agrees_with_the_large_sample_interval_of_statsmodels() -> None:
    random = np.random.default_rng(5)
    gold = random.integers(0, 3, 2000)
    called = np.where(random.random(2000) < 0.7, gold, random.integers(0, 3, 2000))
    found = interval(kappa_interval(gold.tolist(), called.tolist()))
    expected = cohens_kappa(confusion_matrix(gold.tolist(), called.tolist()))
    assert (found.low, found.high) == pytest.approx((expected.kappa_low, expected.kappa_upp), abs=0.003)


def test_clusters_of_labels_widen_the_interval() -> None:
    gold, called, clusters = ["a", "b"] * 60, ["a"] * 60 + ["a", "b"] * 30, [place // 20 for place in range(120)]
    alone, whole = interval(kappa_interval(gold, called)), interval(kappa_interval(gold, called, clusters))
    assert whole.width > alone.width
    assert whole.target is Target.CLUSTERS


@given(labels)
def test_every_score_of_labels_has_an_interval_with_a_width_or_a_reason(pairs: list[tuple[str, str]]) -> None:
    gold, called = [one for one, _ in pairs], [one for _, one in pairs]
    counts = ClassCounts.of(gold, called, "a")
    for found in (
        f1_interval(counts),
        precision_interval(counts),
        recall_interval(counts),
        kappa_interval(gold, called),
        macro_f1_interval(gold, called),
        matthews_interval(gold, called),
    ):
        assert found.low < found.high if isinstance(found, Interval) else found.reason


def test_no_labels_have_no_interval() -> None:
    assert kappa_interval([], []) == NoInterval("no scored item")
