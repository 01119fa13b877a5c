"""Variances, degrees of freedom and intervals of a mean of items in clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from evalrun_runner.statistics.clusters import (
    ONE_CLUSTER,
    bell_mccaffrey_degrees,
    clustered_bounds,
    clustered_mean,
    clustered_t,
    clustered_wilson,
    variance_cr0,
    variance_cr1,
)
from evalrun_runner.statistics.interval import Interval, Method, NoInterval, Target
from support.statistics import document, small_case, table


def items(sizes: Sequence[int], right: Sequence[int]) -> tuple[list[float], list[int]]:
    """Items of clusters with so many right ones each."""
    values = [float(place < good) for size, good in zip(sizes, right, strict=True) for place in range(size)]
    return values, [cluster for cluster, size in enumerate(sizes) for _ in range(size)]


def by_matrices(values: np.ndarray, codes: np.ndarray, correlation: float) -> tuple[float, float]:
    """CR2 variance and Imbens and Kolesár's degrees of freedom by the matrices of their papers, for a mean."""
    n = len(values)
    design, hat = np.ones((n, 1)), np.full((n, n), 1 / n)
    same = codes[:, None] == codes[None, :]
    omega = np.where(np.eye(n, dtype=bool), 1.0, np.where(same, correlation, 0.0))
    columns, variance = [], 0.0
    for cluster in np.unique(codes):
        inside = codes == cluster
        block = np.eye(inside.sum()) - hat[np.ix_(inside, inside)]
        eigen, vectors = np.linalg.eigh(block)
        adjust = vectors @ np.diag(eigen**-0.5) @ vectors.T
        total = design[inside].T @ adjust @ (values[inside] - values.mean())
        variance += float(total[0]) ** 2 / n**2
        columns.append(((np.eye(n) - hat)[:, inside] @ adjust @ design[inside] / n)[:, 0])
    spread = np.stack(columns, axis=1).T @ omega @ np.stack(columns, axis=1)
    return variance, float(np.trace(spread) ** 2 / (spread**2).sum())


def test_mmlu_by_subject_equals_the_oracle() -> None:
    subjects = table("mmlu_helm_subjects.csv")
    sizes = [int(row["items"]) for row in subjects]
    for expected in document("mmlu_helm_clustered.json")["rows"]:
        values, clusters = items(sizes, [int(row[expected["model"]]) for row in subjects])
        found = clustered_mean(values, clusters)
        assert found.mean == pytest.approx(expected["score"], rel=1e-12)
        assert math.sqrt(variance_cr0(values, clusters)) == pytest.approx(expected["cr0"], rel=1e-10)
        assert math.sqrt(variance_cr1(values, clusters)) == pytest.approx(expected["cr1"], rel=1e-10)
        assert math.sqrt(found.variance) == pytest.approx(expected["cr2"], rel=1e-10)
        degrees = bell_mccaffrey_degrees(clusters)
        assert degrees == pytest.approx(expected["satterthwaite_df"], rel=1e-10)
        half = student.ppf(0.975, degrees) * math.sqrt(found.variance)
        assert [found.mean - half, found.mean + half] == pytest.approx(
            [expected["cr2_t_low"], expected["cr2_t_high"]], rel=1e-9
        )


def test_unequal_clusters_have_the_variances_of_the_design() -> None:
    # Sizes 3, 4, 5, 9 with 3, 1, 4, 5 right items: CR0 .102468, CR1 .118320, CR2 .115288, 2.49160 degrees of freedom.
    values, clusters = items([3, 4, 5, 9], [3, 1, 4, 5])
    assert math.sqrt(variance_cr0(values, clusters)) == pytest.approx(0.102468, abs=5e-7)
    assert math.sqrt(variance_cr1(values, clusters)) == pytest.approx(0.118320, abs=5e-7)
    assert math.sqrt(clustered_mean(values, clusters).variance) == pytest.approx(0.115288, abs=5e-7)
    assert bell_mccaffrey_degrees(clusters) == pytest.approx(2.49160, abs=5e-6)


def test_one_cluster_has_the_whole_range() -> None:
    given_, _ = small_case("one_cluster")
    values, clusters = items(given_["sizes"], given_["right"])
    found = clustered_wilson(values, clusters)
    assert found == Interval(0.0, 1.0, 0.95, Method.WHOLE_RANGE, Target.CLUSTERS, ONE_CLUSTER)
    assert clustered_bounds(values, clusters) == (0.0, 1.0)
    assert clustered_t(values, clusters) == NoInterval(ONE_CLUSTER)


def test_two_opposite_clusters_have_the_variances_of_the_small_case() -> None:
    given_, expected = small_case("two_clusters")
    values, clusters = items(given_["sizes"], given_["right"])
    found, t = clustered_mean(values, clusters), clustered_t(values, clusters)
    assert math.sqrt(variance_cr0(values, clusters)) == pytest.approx(expected["cr0"], rel=1e-12)
    assert math.sqrt(variance_cr1(values, clusters)) == pytest.approx(expected["cr1"], rel=1e-12)
    assert math.sqrt(found.variance) == pytest.approx(expected["cr2"], rel=1e-12)
    assert (found.degrees, found.correlation) == pytest.approx((expected["satterthwaite_df"], 1.0))
    assert isinstance(t, Interval)
    assert [t.low, t.high] == pytest.approx(expected["cr2_t"], rel=1e-9)


def test_clusters_that_are_wholly_right_count_as_one_item_each() -> None:
    values, clusters = items([10] * 8, [10] * 8)
    found = clustered_wilson(values, clusters)
    assert isinstance(found, Interval)
    squared = student.ppf(0.975, 7) ** 2
    assert (found.low, found.high) == pytest.approx((8 / (8 + squared), 1.0))


def test_an_item_without_a_cluster_is_a_cluster_of_its_own() -> None:
    values = [1.0, 0.0, 1.0, 1.0]
    assert clustered_mean(values, ["a", "a", None, None]) == clustered_mean(values, ["a", "a", "b", "c"])


def test_rare_right_items_in_clusters_are_flagged() -> None:
    found = clustered_wilson(*items([20] * 10, [2] + [0] * 9))
    assert isinstance(found, Interval)
    assert "too narrow" in found.note


def test_values_and_clusters_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items have 3 clusters"):
        clustered_mean([0.0, 1.0], [1, 2, 3])


clustered = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=2, max_size=8)


@given(clustered)
def test_variance_and_degrees_equal_the_matrices_of_the_papers(groups: list[list[float]]) -> None:
    values = np.array([value for group in groups for value in group])
    codes = np.array([place for place, group in enumerate(groups) for _ in group])
    found = clustered_mean(values, codes)
    variance, degrees = by_matrices(values, codes, found.correlation)
    assert found.variance == pytest.approx(variance, rel=1e-7, abs=1e-12)
    assert found.degrees == pytest.approx(degrees, rel=1e-6)


@given(clustered)
def test_cr1_equals_the_clustered_covariance_of_statsmodels(groups: list[list[float]]) -> None:
    values = np.array([value for group in groups for value in group])
    codes = np.array([place for place, group in enumerate(groups) for _ in group])
    if len(values) == len(groups):
        return
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False}
    )
    count = len(groups)
    assert variance_cr1(values, codes) == pytest.approx(
        fit.cov_params()[0, 0] * count / (count - 1), rel=1e-7, abs=1e-14
    )


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=9), max_size=12),
    st.sampled_from([0.5, 0.8, 0.95, 0.999]),
)
def test_bounded_scores_in_clusters_always_have_an_interval_with_a_width(
    groups: list[list[float]], confidence: float
) -> None:
    values = [value for group in groups for value in group]
    codes = [place for place, group in enumerate(groups) for _ in group]
    found = clustered_wilson(values, codes, confidence=confidence)
    lower, upper = clustered_bounds(values, codes, confidence=confidence)
    assert 0 <= lower <= upper <= 1
    if not values:
        assert isinstance(found, NoInterval)
        return
    assert isinstance(found, Interval)
    assert 0 <= found.low < found.high <= 1
    assert found.low <= np.mean(values) + 1e-12
    assert found.high >= np.mean(values) - 1e-12


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), max_size=6))
def test_unbounded_values_in_clusters_have_an_interval_with_a_width_or_a_reason(groups: list[list[float]]) -> None:
    values = [value for group in groups for value in group]
    found = clustered_t(values, [place for place, group in enumerate(groups) for _ in group])
    assert isinstance(found, NoInterval) or -math.inf < found.low < found.high < math.inf
