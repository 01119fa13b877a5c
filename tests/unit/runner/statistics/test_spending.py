"""Levels of looks: published boundaries, an independent integration, and the exact errors of a gate with looks."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multivariate_normal

from evalrun_runner.statistics.proportions import lower_bound, upper_bound
from evalrun_runner.statistics.spending import look_boundaries, look_levels, spent

EQUAL = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_five_equal_looks_have_the_published_boundaries() -> None:
    """Values of Lan and DeMets' spending of O'Brien and Fleming's type, as R's gsDesign (sfLDOF) and ldbounds have."""
    assert look_boundaries(0.025, EQUAL) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=5e-4)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.2, 0.6, 1.0), (0.35, 0.4, 0.9)])
def test_the_error_over_all_looks_is_what_may_be_spent(level: float, shares: tuple[float, ...]) -> None:
    """Checked by scipy's multivariate normal: looks correlate by the root of the ratio of their shares."""
    bounds = look_boundaries(level, shares)
    correlation = [[min(a, b) / np.sqrt(a * b) for b in shares] for a in shares]
    for looks in range(1, len(shares) + 1):
        block = [row[:looks] for row in correlation[:looks]]
        inside = multivariate_normal.cdf(bounds[:looks], np.zeros(looks), block, abseps=1e-8, releps=1e-8)
        assert 1 - inside == pytest.approx(spent(level, shares[looks - 1]), abs=2e-6)


@settings(max_examples=30, deadline=None)
@given(level=st.floats(0.001, 0.5), looks=st.integers(2, 20))
def test_later_looks_are_easier_and_none_is_as_easy_as_a_single_one(level: float, looks: int) -> None:
    levels = look_levels(level, [look / looks for look in range(1, looks + 1)])
    assert all(a < b for a, b in pairwise(levels))
    assert levels[-1] <= level


@pytest.mark.parametrize("shares", [[], [0.0, 1.0], [0.5, 0.5], [0.5, 1.1]])
def test_shares_that_do_not_rise_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares of looks rise"):
        look_boundaries(0.05, shares)


def crossing(items: int, looks: int, rate: float, passes: list[int], fails: list[int]) -> tuple[float, float]:
    """Return the exact chances that a count of right items first reaches ``passes`` or ``fails`` at a look.

    Args:
        items: Number of items.
        looks: Number of looks, at equal shares.
        rate: Chance of an item to be right.
        passes: Least number of right items with which each look passes.
        fails: Greatest number with which it fails.
    """
    sizes = [-(-items * look // looks) for look in range(1, looks + 1)]
    going, before, passed, failed = np.array([1.0]), 0, 0.0, 0.0
    for size, high, low in zip(sizes, passes, fails, strict=True):
        going = np.convolve(going, binom.pmf(np.arange(size - before + 1), size - before, rate))
        passed += float(going[high:].sum())
        failed += float(going[: low + 1].sum())
        going[high:] = 0.0
        going[: low + 1] = 0.0
        before = size
    return passed, failed


def limits(items: int, looks: int, least: float) -> tuple[list[int], list[int]]:
    """Return what each look needs to pass and to fail a gate with a minimum, by Clopper and Pearson at its level."""
    passes, fails = [], []
    for look, level in enumerate(look_levels(0.05, [look / looks for look in range(1, looks + 1)]), start=1):
        size = -(-items * look // looks)
        low = partial(lower_bound, n=size, confidence=1 - level)
        high = partial(upper_bound, n=size, confidence=1 - level)
        passes.append(next((right for right in range(size + 1) if low(right) >= least), size + 1))
        fails.append(next((right for right in range(size, -1, -1) if high(right) < least), -1))
    return passes, fails


@pytest.mark.parametrize("items", [100, 300, 1319])
@pytest.mark.parametrize("least", [0.5, 0.8, 0.95])
def test_a_gate_that_is_looked_at_five_times_errs_as_it_says(items: int, least: float) -> None:
    """Exact: at most 5.6% each way, at the bound itself, which is the worst case."""
    passes, fails = limits(items, 5, least)
    passed, failed = crossing(items, 5, least, passes, fails)
    assert passed <= 0.056
    assert failed <= 0.056


@pytest.mark.parametrize(("items", "least", "rate"), [(300, 0.8, 0.87), (1319, 0.8, 0.84), (1319, 0.5, 0.55)])
def test_looking_costs_at_most_three_points_of_power(items: int, least: float, rate: float) -> None:
    looked, _ = crossing(items, 5, rate, *limits(items, 5, least))
    single = next(right for right in range(items + 1) if lower_bound(right, items, 0.95) >= least)
    assert looked >= binom.sf(single - 1, items, rate) - 0.03
