"""Groups over fixed leaves: stratified variances, and the promise at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.statistics.groups import Leaf, group_bounds, group_interval
from evalrun_runner.statistics.interval import Interval, Method, NoInterval
from evalrun_runner.statistics.proportions import lower_bound, upper_bound, wilson
from support.statistics import document, table


def interval(found: Interval | NoInterval) -> Interval:
    assert isinstance(found, Interval), found
    return found


def leaf(right: int, n: int, weight: float = 1.0) -> Leaf:
    return Leaf([1.0] * right + [0.0] * (n - right), weight)


def test_mmlu_has_nearly_the_stratified_standard_errors_of_the_oracle() -> None:
    # The oracle has no pseudo-items; subjects have 100 items and more, so that they change the width by 2% at most.
    subjects = table("mmlu_helm_subjects.csv")
    for expected in document("mmlu_helm_clustered.json")["rows"]:
        counts = [(int(row[expected["model"]]), int(row["items"])) for row in subjects]
        macro = interval(group_interval([leaf(right, n) for right, n in counts]))
        weighted = interval(group_interval([leaf(right, n, n) for right, n in counts]))
        assert macro.width == pytest.approx(2 * 1.959964 * expected["macro_stderr_stratified"], rel=0.03)
        assert weighted.width == pytest.approx(2 * 1.959964 * expected["weighted_stderr_stratified"], rel=0.03)
        assert expected["macro"] in macro
        assert expected["score"] in weighted


def test_a_group_of_one_leaf_has_the_interval_of_the_leaf() -> None:
    found, alone = interval(group_interval([leaf(17, 20)])), wilson(17, 20)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert group_bounds([leaf(17, 20)]) == pytest.approx((lower_bound(17, 20), upper_bound(17, 20)), rel=1e-12)


def test_leaves_that_are_wholly_right_have_a_width() -> None:
    found = interval(group_interval([leaf(5, 5) for _ in range(57)]))
    assert 0.97 < found.low < found.high == 1.0


def test_leaves_without_a_weight_are_left_out() -> None:
    assert group_interval([leaf(3, 4), leaf(0, 9, weight=0.0)]) == group_interval([leaf(3, 4)])


def test_a_leaf_without_items_leaves_the_group_without_an_interval() -> None:
    found = group_interval([leaf(3, 4), leaf(0, 0)])
    assert found == NoInterval("a leaf of the group has no interval: no scored item")
    assert group_bounds([leaf(3, 4), leaf(0, 0)]) == (0.0, 1.0)


def test_unbounded_leaves_have_welchs_interval() -> None:
    # The mean of two leaves is half of Welch's sum; scipy's ttest_ind(a, -b, equal_var=False) has its interval.
    from scipy.stats import ttest_ind

    first, second = [1.0, 4.0, 2.0, 8.0], [3.0, 3.5, 1.0, 2.0, 9.0]
    found = interval(group_interval([Leaf(first, 1.0, None), Leaf(second, 1.0, None)]))
    expected = ttest_ind(first, [-value for value in second], equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low / 2, expected.high / 2), rel=1e-9)
    assert found.method is Method.STUDENT_T_STRATIFIED


def test_leaves_of_different_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="different bounds"):
        group_interval([Leaf([1.0], 1.0), Leaf([1.0], 1.0, (1.0, 5.0))])


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        group_interval([leaf(1, 2, weight=-1.0)])


scores = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), max_size=8)


@given(
    st.lists(st.tuples(scores, st.floats(0.01, 100), st.booleans()), max_size=6), st.sampled_from([0.5, 0.95, 0.999])
)
def test_every_group_has_an_interval_with_a_width_or_a_reason(
    leaves: list[tuple[list[float], float, bool]], confidence: float
) -> None:
    built = [
        Leaf(values, weight, clusters=[place // 2 for place in range(len(values))] if in_clusters else None)
        for values, weight, in_clusters in leaves
    ]
    found, (lower, upper) = group_interval(built, confidence), group_bounds(built, confidence)
    assert lower <= upper
    if isinstance(found, Interval):
        mean = np.average([np.mean(values) for values, _, _ in leaves], weights=[one.weight for one in built])
        assert 0 <= found.low < found.high <= 1
        assert found.low - 1e-9 <= mean <= found.high + 1e-9
        assert math.isfinite(lower + upper)
    else:
        assert found.reason
