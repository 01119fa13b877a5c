"""Wilson's interval and Clopper and Pearson's bounds, against oracles, scipy, statsmodels and enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from evalrun_runner.statistics.proportions import clopper_pearson, lower_bound, upper_bound, wilson
from support.statistics import small_case, table

counts = st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999])


@pytest.mark.parametrize("file", ["gsm8k_models.csv", "cruxeval_o_models.csv"])
def test_intervals_of_every_model_equal_the_oracle(file: str) -> None:
    for row in table(file):
        right, n = int(row["correct"]), int(row["n"])
        shown, exact = wilson(right, n), clopper_pearson(right, n)
        assert [shown.low, shown.high] == pytest.approx(
            [float(row["wilson_low"]), float(row["wilson_high"])], abs=1e-13
        )
        assert [exact.low, exact.high] == pytest.approx([float(row["cp_low"]), float(row["cp_high"])], abs=1e-13)


def test_one_right_item_has_the_intervals_of_the_small_case() -> None:
    _, expected = small_case("n1")
    assert [wilson(1, 1).low, wilson(1, 1).high] == pytest.approx(expected["wilson"], abs=1e-14)
    assert [clopper_pearson(1, 1).low, clopper_pearson(1, 1).high] == pytest.approx(
        expected["clopper_pearson"], abs=1e-14
    )


def test_twenty_of_twenty_has_the_intervals_of_the_small_case() -> None:
    _, expected = small_case("all_right_20")
    assert [wilson(20, 20).low, wilson(20, 20).high] == pytest.approx(expected["wilson"], abs=1e-14)
    assert [clopper_pearson(20, 20).low, 1.0] == pytest.approx(expected["clopper_pearson"], abs=1e-14)
    assert lower_bound(20, 20, 0.95) == pytest.approx(expected["one_sided_95_lower_cp"], abs=1e-14)


def test_none_of_fifty_has_the_published_intervals() -> None:
    # By the closed forms z²/(n + z²) and 1 - 0.025^(1/n).
    assert wilson(0, 50).high == pytest.approx(1.959963984540054**2 / (50 + 1.959963984540054**2), abs=1e-14)
    assert clopper_pearson(0, 50).high == pytest.approx(1 - 0.025 ** (1 / 50), abs=1e-14)
    assert wilson(0, 50).low == clopper_pearson(0, 50).low == 0.0


@pytest.mark.parametrize("right", ["49", "48", "38"])
def test_gate_bounds_of_fifty_items_equal_the_small_case(right: str) -> None:
    expected = small_case("min_gate_edge")[1][right]
    assert lower_bound(int(right), 50, 0.95) == pytest.approx(expected["lower"], abs=1e-14)
    assert upper_bound(int(right), 50, 0.95) == pytest.approx(expected["upper"], abs=1e-14)


@given(counts, confidences)
def test_wilson_equals_statsmodels(count: tuple[int, int], confidence: float) -> None:
    right, n = count
    found = wilson(right, n, confidence)
    if n == 0:
        assert (found.low, found.high) == (0.0, 1.0)
    else:
        assert (found.low, found.high) == pytest.approx(
            proportion_confint(right, n, 1 - confidence, "wilson"), abs=1e-12
        )


@given(counts, confidences)
def test_clopper_pearson_equals_scipy(count: tuple[int, int], confidence: float) -> None:
    right, n = count
    found = clopper_pearson(right, n, confidence)
    if n == 0:
        assert (found.low, found.high) == (0.0, 1.0)
    else:
        expected = binomtest(right, n).proportion_ci(confidence, "exact")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-10)


@given(counts, confidences)
def test_intervals_hold_their_score_and_have_a_width(count: tuple[int, int], confidence: float) -> None:
    right, n = count
    for found in (wilson(right, n, confidence), clopper_pearson(right, n, confidence)):
        assert 0 <= found.low < found.high <= 1
        assert n == 0 or right / n in found


@given(counts, confidences)
def test_intervals_of_wrong_items_are_mirrored(count: tuple[int, int], confidence: float) -> None:
    right, n = count
    for method in (wilson, clopper_pearson):
        here, there = method(right, n, confidence), method(n - right, n, confidence)
        assert (here.low, here.high) == pytest.approx((1 - there.high, 1 - there.low), abs=1e-12)


@pytest.mark.parametrize("n", [20, 50, 100, 300])
def test_a_clopper_pearson_bound_misses_at_most_as_often_as_it_says(n: int) -> None:
    bounds = np.array([lower_bound(right, n, 0.95) for right in range(n + 1)])
    for share in np.linspace(0.02, 0.98, 193):
        missed = binom.pmf(np.arange(n + 1), n, share)[bounds > share].sum()
        assert missed <= 0.05 + 1e-12


@pytest.mark.parametrize(("n", "least"), [(50, 0.920), (100, 0.933), (300, 0.941)])
def test_wilson_covers_every_hundredth_about_as_often_as_it_says(n: int, least: float) -> None:
    found = [wilson(right, n) for right in range(n + 1)]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    for share in np.linspace(0.02, 0.98, 97):
        assert binom.pmf(np.arange(n + 1), n, share)[(low <= share) & (share <= high)].sum() >= least


@pytest.mark.parametrize(("right", "n"), [(-1, 10), (11, 10), (math.nan, 10), (1, math.inf)])
def test_counts_out_of_range_are_refused(right: float, n: float) -> None:
    with pytest.raises(ValueError, match="is no share"):
        wilson(right, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        clopper_pearson(1, 2, confidence)
