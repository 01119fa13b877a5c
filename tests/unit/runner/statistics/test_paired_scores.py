"""Differences of scores that are not 0 or 1, and the sign-flip test, against scipy and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from evalrun_runner.statistics.interval import Method, Target
from evalrun_runner.statistics.paired_data import PairedData, paired_interval
from evalrun_runner.statistics.paired_scores import paired_bounded
from evalrun_runner.statistics.sign_flip import sign_flip

differences = st.lists(st.floats(-1, 1), max_size=80)


def test_many_changed_items_have_the_t_interval_of_scipy() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 150)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = paired_bounded(values, 1)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert found.method is Method.PAIRED_T


def test_few_changed_items_have_the_t_interval_with_one_more_lost_and_gained() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, 40)
    expected = ttest_1samp(np.append(values, [1, -1]), 0).confidence_interval(0.95)
    found = paired_bounded(values, 1)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert found.method is Method.PAIRED_PLUS_TWO


@given(differences, st.sampled_from([0.5, 0.95, 0.999]))
def test_no_interval_is_nan_or_without_width_or_without_the_mean(values: list[float], confidence: float) -> None:
    found = paired_bounded(values, 1, confidence)
    mean = float(np.mean(values)) if values else 0.0
    assert -1 <= found.low <= mean + 1e-12
    assert mean - 1e-12 <= found.high <= 1
    assert found.width > 0


def test_all_items_changed_by_the_same_amount_still_have_a_width() -> None:
    assert paired_bounded([0.5] * 500, 1).width > 0


def test_clusters_widen_the_interval_and_are_its_target() -> None:
    rng = np.random.default_rng(3)
    passages = np.repeat(np.arange(30), 10)
    base = rng.uniform(0.2, 0.8, 300)
    new = np.clip(base + np.repeat(rng.normal(0, 0.1, 30), 10), 0, 1)
    alone = paired_interval(PairedData(new, base))
    clustered = paired_interval(PairedData(new, base, clusters=passages.tolist()))
    assert clustered.width > 2 * alone.width
    assert clustered.target is Target.CLUSTERS


def test_one_cluster_allows_every_difference() -> None:
    found = paired_interval(PairedData([0, 1, 1], [1, 1, 1], clusters=["a"] * 3))
    assert (found.low, found.high) == (-1, 1)
    assert "single cluster" in found.note


def test_clusters_of_one_item_are_no_clusters() -> None:
    data = PairedData([0, 1, 1, 0], [1, 1, 0, 0])
    assert paired_interval(PairedData([0, 1, 1, 0], [1, 1, 0, 0], clusters=[1, 2, 3, 4])) == paired_interval(data)


@given(st.integers(0, 60), st.integers(0, 60))
def test_differences_of_one_size_have_the_binomial_p_value(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert sign_flip([-0.5] * lost + [0.5] * gained) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.sampled_from([-3, -2, -1, -0.5, 0, 0.25, 1, 2, 3]), min_size=1, max_size=11))
def test_the_p_value_is_the_share_of_all_choices_of_signs(values: list[float]) -> None:
    choices = np.array(list(itertools.product([-1, 1], repeat=len(values))))
    sums = np.abs(choices @ np.array(values))
    expected = float((sums >= abs(sum(values)) - 1e-9).mean())
    assert sign_flip(values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("kind", ["judge", "continuous"])
def test_the_saddlepoint_is_within_a_fiftieth_of_random_flips(shift: float, kind: str) -> None:
    rng = np.random.default_rng(11)
    values = rng.choice([-2, -1, 1, 2], 60, p=[0.2, 0.3 - shift / 3, 0.3 + shift / 3, 0.2])
    if kind == "continuous":
        values = rng.normal(shift / 2, 1, 60)
    signs = rng.integers(0, 2, (200_000, 60), dtype=np.int8) * 2 - 1
    hits = int((np.abs(signs @ values) >= abs(values.sum()) - 1e-9).sum())
    expected = hits / 200_000
    noise = 4 * np.sqrt(max(expected * (1 - expected), 1e-6) / 200_000)
    assert sign_flip(values) == pytest.approx(expected, rel=0.02, abs=float(noise))


def test_identical_answers_have_p_1() -> None:
    assert sign_flip([0.0] * 10) == 1.0
    assert sign_flip([]) == 1.0
