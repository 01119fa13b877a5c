"""The choice of the interval by the kind of data, and its promise: never nan, never raised, never without a width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.statistics.interval import Interval, Method, NoInterval, Target
from evalrun_runner.statistics.scores import ScoreData, gate_bounds, score_interval
from support.statistics import small_case

confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
binary = st.lists(st.sampled_from([0.0, 1.0]), max_size=60)
bounded = st.one_of(
    st.lists(st.floats(0, 1), max_size=60), st.integers(1, 60).flatmap(lambda n: st.floats(0, 1).map(lambda x: [x] * n))
)
unbounded = st.one_of(
    st.lists(st.floats(-1e12, 1e12), max_size=60),
    st.integers(1, 60).flatmap(lambda n: st.floats(-1e12, 1e12).map(lambda x: [x] * n)),
)


def data(values: list[float], bounds: tuple[float, float] | None = (0.0, 1.0)) -> ScoreData:
    return ScoreData(values, bounds=bounds)


def interval(scores: ScoreData, confidence: float = 0.95) -> Interval:
    found = score_interval(scores, confidence)
    assert isinstance(found, Interval)
    return found


def test_no_scored_item_has_no_interval_and_the_widest_gate_bounds() -> None:
    assert score_interval(data([])) == NoInterval("no scored item")
    assert gate_bounds(data([])) == (0.0, 1.0)
    assert gate_bounds(data([], bounds=None)) == (-math.inf, math.inf)


def test_right_and_wrong_items_have_wilsons_interval() -> None:
    assert interval(data([1.0] * 20)).low == pytest.approx(small_case("all_right_20")[1]["wilson"][0], abs=1e-14)
    assert interval(data([1.0] * 20)).method is Method.WILSON


def test_right_and_wrong_items_are_decided_by_clopper_and_pearson() -> None:
    expected = small_case("min_gate_edge")[1]["48"]
    assert gate_bounds(data([1.0] * 48 + [0.0] * 2)) == pytest.approx((expected["lower"], expected["upper"]), abs=1e-14)


def test_scores_between_their_bounds_have_the_plus_four_interval() -> None:
    values = [0.0, 0.25, 1.0, 1.0, 0.5]
    augmented = np.array([*values, 0, 0, 1, 1])
    half = 2.306004135204166 * augmented.std(ddof=1) / 3  # t of 0.975 and 8 degrees of freedom
    found = interval(data(values))
    assert found.method is Method.PLUS_FOUR
    assert (found.low, found.high) == pytest.approx((augmented.mean() - half, augmented.mean() + half), abs=1e-12)


def test_a_range_other_than_0_to_1_scales_the_interval() -> None:
    five, unit = interval(data([1.0, 3.0, 5.0, 4.0], (1.0, 5.0))), interval(data([0.0, 0.5, 1.0, 0.75]))
    assert (five.low, five.high) == pytest.approx((1 + 4 * unit.low, 1 + 4 * unit.high), abs=1e-12)


def test_unbounded_values_have_students_interval() -> None:
    # Student's sleep data, group 2: mean 2.33, standard deviation 2.002249, n = 10, t = 2.262157 (R's t.test: 0.8976775
    # to 3.7623225).
    sleep = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = interval(data(sleep, bounds=None))
    assert (found.low, found.high) == pytest.approx((0.8976775, 3.7623225), abs=1e-7)


@pytest.mark.parametrize("values", [[-3.5], [2.0, 2.0, 2.0]])
def test_unbounded_values_without_spread_have_a_reason_instead(values: list[float]) -> None:
    assert isinstance(score_interval(data(values, bounds=None)), NoInterval)
    assert gate_bounds(data(values, bounds=None)) == (-math.inf, math.inf)


@given(st.one_of(binary, bounded), confidences)
def test_bounded_scores_always_have_an_interval_with_a_width_around_their_mean(
    values: list[float], confidence: float
) -> None:
    found = score_interval(data(values), confidence)
    if not values:
        assert isinstance(found, NoInterval)
        return
    assert isinstance(found, Interval)
    assert 0 <= found.low < found.high <= 1
    assert found.low - 1e-12 <= np.mean(values) <= found.high + 1e-12


@given(unbounded, confidences)
def test_unbounded_values_have_an_interval_with_a_width_or_a_reason(values: list[float], confidence: float) -> None:
    found = score_interval(data(values, bounds=None), confidence)
    if isinstance(found, Interval):
        assert -math.inf < found.low < found.high < math.inf
    else:
        assert found.reason


@given(st.one_of(binary, bounded), confidences)
def test_gate_bounds_are_in_order_and_widen_with_the_confidence(values: list[float], confidence: float) -> None:
    lower, upper = gate_bounds(data(values), confidence)
    surer = gate_bounds(data(values), (1 + confidence) / 2)
    assert 0 <= surer[0] <= lower + 1e-9
    assert lower <= upper + 1e-9
    assert upper - 1e-9 <= surer[1] <= 1


def test_a_score_outside_its_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values\[1\] is 1.5: outside the bounds"):
        score_interval(data([1.0, 1.5, 0.5]))


def test_a_missing_score_is_refused() -> None:
    with pytest.raises(ValueError, match="leave missing items out"):
        score_interval(data([1.0, math.nan]))


def test_a_gate_refuses_a_confidence_below_one_half() -> None:
    with pytest.raises(ValueError, match="of a gate is not between"):
        gate_bounds(data([1.0]), 0.4)


def test_declared_clusters_decide_the_method_and_the_target() -> None:
    found = interval(ScoreData([1.0, 1.0, 0.0, 0.0, 1.0, 0.0], clusters=["a", "a", "b", "b", "c", "c"]))
    assert (found.method, found.target) == (Method.WILSON_CLUSTERED, Target.CLUSTERS)


def test_clusters_of_one_item_each_are_items() -> None:
    values = [1.0, 1.0, 0.0, 1.0]
    assert score_interval(ScoreData(values, clusters=[1, 2, 3, 4])) == score_interval(ScoreData(values))
    assert gate_bounds(ScoreData(values, clusters=[1, 2, 3, 4])) == gate_bounds(ScoreData(values))


def test_skewed_unbounded_values_have_bca_in_their_note() -> None:
    values = [0.0] * 30 + [100.0, 900.0]
    assert "BCa gives" in interval(data(values, bounds=None)).note
    assert not interval(data([float(place) for place in range(30)], bounds=None)).note
