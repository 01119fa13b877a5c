"""Ratios of sums: the linearised variance, and the promise at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.statistics.clusters import clustered_mean
from evalrun_runner.statistics.interval import Interval, Method, NoInterval, Target
from evalrun_runner.statistics.means import t_quantile
from evalrun_runner.statistics.ratios import RatioData, ratio_bounds, ratio_interval


def interval(found: Interval | NoInterval) -> Interval:
    assert isinstance(found, Interval), found
    return found


def test_items_of_equal_length_have_the_variance_of_a_mean() -> None:
    right = [3.0, 5.0, 1.0, 4.0, 4.0, 2.0]
    found = interval(ratio_interval(RatioData(right, [5.0] * 6, is_share=False)))
    mean = clustered_mean([value / 5 for value in right], list(range(6)))
    half = t_quantile(0.95, 5) * math.sqrt(mean.variance)
    assert (found.low, found.high) == pytest.approx((mean.mean - half, mean.mean + half))


def test_tokens_of_one_item_are_no_items() -> None:
    # 20 items of 50 tokens, each wholly right or wrong: about as sure as 20 items, not as 1,000.
    right = [50.0] * 15 + [0.0] * 5
    found = interval(ratio_interval(RatioData(right, [50.0] * 20)))
    assert found.method is Method.WILSON_RATIO
    assert 0.3 < found.width < 0.45


def test_clusters_of_items_widen_the_interval() -> None:
    right, clusters = [9.0, 10.0, 8.0] * 4 + [1.0, 2.0, 0.0] * 4, [place // 3 for place in range(24)]
    alone = interval(ratio_interval(RatioData(right, [10.0] * 24)))
    whole = interval(ratio_interval(RatioData(right, [10.0] * 24, clusters)))
    assert whole.width > 1.3 * alone.width
    assert whole.target is Target.CLUSTERS


def test_no_denominator_has_a_reason_and_the_widest_gate_bounds() -> None:
    data = RatioData([0.0, 0.0], [0.0, 0.0])
    assert ratio_interval(data) == NoInterval("the sum of the denominators is 0: the ratio is not defined")
    assert ratio_bounds(data) == (0.0, 1.0)


def test_more_right_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"numerators\[1\] is 4.0: expected 0 to its denominator 3.0"):
        ratio_interval(RatioData([1.0, 4.0], [2.0, 3.0]))


pairs = st.lists(
    st.integers(0, 40).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))), max_size=30
)


@given(pairs, st.booleans(), st.sampled_from([0.5, 0.95, 0.999]))
def test_every_ratio_has_an_interval_with_a_width_or_a_reason(
    items: list[tuple[int, int]], in_clusters: bool, confidence: float
) -> None:
    above, below = [float(one) for one, _ in items], [float(one) for _, one in items]
    clusters = [place // 4 for place in range(len(items))] if in_clusters else None
    for is_share in (True, False):
        data = RatioData(above, below, clusters, is_share)
        found, (lower, upper) = ratio_interval(data, confidence), ratio_bounds(data, confidence)
        assert lower <= upper
        if isinstance(found, Interval):
            assert -math.inf < found.low < found.high < math.inf
            assert found.low - 1e-9 <= np.sum(above) / np.sum(below) <= found.high + 1e-9
        else:
            assert found.reason
