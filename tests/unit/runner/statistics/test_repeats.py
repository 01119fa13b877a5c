"""Repeats of items: their means, reruns, pass@k."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.statistics.interval import Interval, NoInterval, Target
from evalrun_runner.statistics.repeats import item_means, pass_at_k, rerun_interval
from evalrun_runner.statistics.scores import ScoreData, rerun_score_interval

NAN = math.nan


def interval(found: Interval | NoInterval) -> Interval:
    assert isinstance(found, Interval), found
    return found


def test_an_item_counts_once_with_the_mean_of_the_repeats_that_it_has() -> None:
    assert item_means([[1.0, 0.0, 1.0, 0.0], [1.0, NAN, NAN, 1.0], [NAN] * 4]).tolist() == [0.5, 1.0]


def test_reruns_vary_by_the_spread_within_items() -> None:
    # Σ p(1 - p) / (K - 1) / n² with p = ¼, ½, 1 and K = 4: (.1875 + .25) / 3 / 9.
    found = interval(rerun_interval([[1.0, 0, 0, 0], [1.0, 1, 0, 0], [1.0, 1, 1, 1]]))
    half, mean = 1.959963984540054 * math.sqrt(0.4375 / 3 / 9), 1.75 / 3
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.target is Target.RERUN


def test_reruns_without_any_flip_keep_a_width() -> None:
    found = interval(rerun_interval([[1.0, 1.0]] * 30 + [[0.0, 0.0]] * 10))
    assert 0.7 < found.low < 0.75 < found.high < 0.8


def test_one_repeat_says_nothing_about_reruns() -> None:
    assert rerun_interval([[1.0], [0.0]]) == NoInterval("no item has two repeats")
    assert rerun_score_interval(ScoreData([1.0, 0.0])) == NoInterval("no item has two repeats")


def test_pass_at_k_equals_the_share_of_subsets_with_a_right_one() -> None:
    for n, right, k in [(4, 0, 2), (4, 1, 2), (5, 2, 3), (6, 6, 1), (6, 1, 6), (10, 3, 5)]:
        subsets = list(combinations([1] * right + [0] * (n - right), k))
        assert pass_at_k([right], [n], k)[0] == pytest.approx(np.mean([max(one) for one in subsets]))


def test_pass_at_k_of_too_few_repeats_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 5 repeats"):
        pass_at_k([1], [4], 5)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, NAN]), min_size=3, max_size=3), max_size=12),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_every_rerun_has_an_interval_with_a_width_or_a_reason(repeats: list[list[float]], confidence: float) -> None:
    for bounds in ((0.0, 1.0), None):
        found = rerun_interval(repeats, bounds, confidence)
        assert found.low < found.high if isinstance(found, Interval) else found.reason
