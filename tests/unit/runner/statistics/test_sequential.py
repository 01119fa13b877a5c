"""Intervals of runs that are looked at before their end, against closed values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalrun_runner.statistics.sequential import Stop, adjusted_interval, anytime_half_width


def test_a_stop_at_the_first_look_has_the_ordinary_interval() -> None:
    found = adjusted_interval([0.25], [3.2], Stop(0.05, 0.0125, -0.02))
    assert [found.low, found.high, found.median] == pytest.approx(
        [0.05 - 1.959964 * 0.0125, 0.05 + 1.959964 * 0.0125, 0.05], abs=1e-6
    )


def test_a_later_stop_moves_the_interval_towards_what_was_compared_with() -> None:
    found = adjusted_interval([0.2, 0.4, 0.6], [4.229, 2.888, 2.298], Stop(0.05, 0.0125, -0.02))
    assert found.low < found.median < found.high
    assert found.median < 0.05


def test_the_adjusted_interval_holds_the_true_value_as_often_as_it_says() -> None:
    boundaries = [3.200, 2.141, 1.695]
    rng, drift, held = np.random.default_rng(9), 2.0, 0
    for _ in range(80):
        steps = np.cumsum(rng.normal(drift / 3, math.sqrt(1 / 3), 3))
        z = steps / np.sqrt(np.arange(1, 4) / 3)
        stop = next((k for k in range(2) if abs(z[k]) >= boundaries[k]), 2)
        time = (stop + 1) / 3
        found = adjusted_interval(
            [1 / 3, 2 / 3, 1.0][: stop + 1],
            boundaries[: stop + 1],
            Stop(steps[stop] / time, 1 / math.sqrt(time), 0.0),
        )
        held += found.low <= drift <= found.high
    assert held / 80 >= 0.88


def test_an_interval_for_all_times_holds_at_all_of_them() -> None:
    rng, missed = np.random.default_rng(4), 0
    for _ in range(400):
        values = rng.integers(0, 2, 1000)
        n = np.arange(1, 1001)
        means = np.cumsum(values) / n
        missed += any(
            abs(means[k - 1] - 0.5) > anytime_half_width(float(values[:k].var()), k, 1000) for k in range(50, 1001, 10)
        )
    assert missed / 400 <= 0.06


def test_an_interval_for_all_times_is_at_most_60_percent_wider_at_the_end() -> None:
    ratio = anytime_half_width(0.25, 1000, 1000) / (1.96 * 0.5 / math.sqrt(1000))
    assert 1.2 <= ratio <= 1.6
    assert anytime_half_width(0.0, 1000, 1000) > 0
    assert anytime_half_width(0.0, 1, 1000) == math.inf
