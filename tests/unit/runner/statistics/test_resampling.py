"""BCa intervals: the short cuts against scipy's bootstrap, and their promise at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.interval import Interval, NoInterval, Target
from evalrun_runner.statistics.resampling import bca, bca_mean, bca_median, bca_of_counts, bca_of_sums

RANDOM = np.random.default_rng(7)
SHAPES = {
    "normal": RANDOM.normal(size=400),
    "lognormal": RANDOM.lognormal(size=400),
    "ceiling": np.where(RANDOM.random(400) < 0.95, 1.0, RANDOM.random(400)),
    "right or wrong": (RANDOM.random(400) < 0.9).astype(float),
    "1 to 5": RANDOM.integers(1, 6, 401).astype(float),
}


def of_scipy(values: FloatArray, statistic: Callable[..., float]) -> tuple[float, float, float]:
    """Bounds by scipy with 40,000 resamples, and what two such runs may differ by: a fifth of a standard error."""
    found = bootstrap((values,), statistic, n_resamples=40_000, batch=2000, rng=np.random.default_rng(1))
    low, high = found.confidence_interval
    return float(low), float(high), 0.2 * float(found.standard_error)


def interval(found: Interval | NoInterval) -> Interval:
    assert isinstance(found, Interval), found
    return found


def ratio(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0] / sums[:, 1])


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_without_drawing_equals_scipys_bootstrap(shape: str) -> None:
    low, high, error = of_scipy(SHAPES[shape], np.mean)
    found = interval(bca_mean(SHAPES[shape]))
    assert (found.low, found.high) == pytest.approx((low, high), abs=error)


@pytest.mark.parametrize("shape", ["normal", "lognormal"])
@pytest.mark.parametrize("n", [399, 400])
def test_median_by_order_statistics_equals_scipys_bootstrap(shape: str, n: int) -> None:
    low, high, error = of_scipy(SHAPES[shape][:n], np.median)
    found = interval(bca_median(SHAPES[shape][:n], resamples=40_000))
    assert (found.low, found.high) == pytest.approx((low, high), abs=max(error, 1e-9))


def test_few_distinct_items_and_many_have_the_same_interval() -> None:
    values = SHAPES["1 to 5"]
    parts = np.stack([values, np.full(len(values), 5.0)], axis=1)
    slightly = parts + np.stack([np.linspace(0, 1e-9, len(values)), np.zeros(len(values))], axis=1)
    few, many = interval(bca_of_sums(parts, ratio)), interval(bca_of_sums(slightly, ratio))
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.003)


def test_ratio_of_sums_equals_scipys_bootstrap_of_pairs() -> None:
    lengths = RANDOM.integers(5, 50, 300).astype(float)
    right = RANDOM.binomial(lengths.astype(int), 0.8).astype(float)
    expected = bootstrap(
        (right, lengths),
        lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis),
        paired=True,
        n_resamples=20_000,
        batch=2000,
        rng=np.random.default_rng(1),
    )
    found = interval(bca_of_sums(np.stack([right, lengths], axis=1), ratio))
    assert (found.low, found.high) == pytest.approx(
        tuple(expected.confidence_interval), abs=0.2 * expected.standard_error
    )


def test_clusters_are_drawn_whole() -> None:
    parts = np.repeat(np.array([[1.0, 2.0], [2.0, 2.0], [0.0, 2.0], [1.0, 2.0]]), 25, axis=0)
    codes = np.repeat(np.arange(4), 25)
    alone, whole = interval(bca_of_sums(parts, ratio)), interval(bca_of_sums(parts, ratio, clusters=codes))
    assert whole.width > 3 * alone.width
    assert (alone.target, whole.target) == (Target.ITEMS, Target.CLUSTERS)


def test_any_score_of_items_equals_that_of_its_sums() -> None:
    values = SHAPES["lognormal"][:60]
    found = interval(bca(lambda places: float(values[places].mean()), 60, resamples=4000))
    exact = interval(bca_mean(values))
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.05 * values.std())


def test_the_same_seed_gives_the_same_interval() -> None:
    assert bca_median(SHAPES["normal"], seed=3) == bca_median(SHAPES["normal"], seed=3)


def test_median_of_nearly_all_ones_is_no_nan() -> None:
    # scipy 1.17.1 answers nan: the median without any one item is always 1.
    found = bca_median([0.0] * 10 + [1.0] * 29)
    assert isinstance(found, NoInterval) or found.low < found.high


@pytest.mark.parametrize("values", [[], [0.3], [2.0] * 30])
def test_without_spread_there_is_a_reason_instead_of_a_point(values: list[float]) -> None:
    column = [[value] for value in values]
    answers = [
        bca_mean(values),
        bca_median(values),
        bca_of_sums(column, lambda sums: sums[:, 0]) if values[1:] == [] else bca_mean(values),
        bca(lambda places: 1.0, len(values), resamples=10),
    ]
    assert all(isinstance(answer, NoInterval) for answer in answers)


def test_a_score_that_most_resamples_do_not_have_has_a_reason_instead() -> None:
    found = bca_of_counts([1, 400], lambda counts: np.where(counts[:, 0] == 1, counts[:, 1], np.nan))
    assert found == NoInterval("the score is not defined for most resamples")


def test_parts_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="one row per item"):
        bca_of_sums(np.ones(3), ratio)


numbers = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(-1e6, 1e6))


@settings(max_examples=60)
@given(st.lists(numbers, max_size=25), st.sampled_from([0.5, 0.95, 0.999]))
def test_every_answer_has_a_width_or_a_reason(values: list[float], confidence: float) -> None:
    parts = np.array([[value, 1.0] for value in values]).reshape(-1, 2)
    for found in (
        bca_mean(values, confidence),
        bca_median(values, confidence, resamples=500),
        bca_of_sums(parts, ratio, confidence=confidence, resamples=500),
    ):
        if isinstance(found, Interval):
            assert -math.inf < found.low < found.high < math.inf
        else:
            assert found.reason
