"""Sample sizes: against simulated comparisons and gates, and the measured numbers of the design."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.comparing.sample_sizes import (
    EXACT_ITEMS,
    ChangedShare,
    chance_to_pass,
    detectable_difference,
    items_for_difference,
    usual_changed_share,
)
from evalrun_runner.statistics.paired_arrays import mcnemar_p
from evalrun_runner.statistics.tango import tango_z

USUAL = ChangedShare(usual_changed_share(0.8))
DRAWS = 4000


def simulated(items: int, share: float, difference: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw lost and gained items of many comparisons."""
    lost, gained = (share - difference) / 2, (share + difference) / 2
    counts = np.random.default_rng(7).multinomial(items, [lost, gained, 1 - share], size=DRAWS)
    return counts[:, 0], counts[:, 1]


def test_the_usual_share_is_that_of_correlated_models() -> None:
    assert USUAL.share == pytest.approx(0.128)


def test_the_items_that_it_takes_find_the_difference_as_often_as_promised() -> None:
    items = items_for_difference(0.02, USUAL, 0.95, 0.8)
    assert items == 2512
    lost, gained = simulated(items, USUAL.share, 0.02)
    assert float(np.mean(mcnemar_p(lost, gained)[0] <= 0.05)) == pytest.approx(0.8, abs=0.03)


def test_a_gate_passes_as_often_as_promised() -> None:
    """With 1,000 items, a margin of 2 points and no difference: 54 of 100 (measured)."""
    assert chance_to_pass(1000, 0.02, USUAL, 0.95) == pytest.approx(0.54, abs=0.02)
    lost, gained = simulated(1000, USUAL.share, 0.0)
    passed = tango_z(lost, gained, 1000, -0.02) >= 1.6449
    assert float(np.mean(passed)) == pytest.approx(chance_to_pass(1000, 0.02, USUAL, 0.95), abs=0.03)
    above = chance_to_pass(EXACT_ITEMS + 1, 0.005, USUAL, 0.95)
    assert above == pytest.approx(chance_to_pass(EXACT_ITEMS, 0.005, USUAL, 0.95), abs=0.01)


SHARES = st.floats(0.01, 0.5)


@given(SHARES, st.floats(0.005, 0.3), st.floats(0.55, 0.99))
def test_what_so_many_items_find_takes_so_many_items(share: float, difference: float, chance: float) -> None:
    changed = ChangedShare(max(share, difference))
    items = items_for_difference(difference, changed, 0.95, chance)
    found = detectable_difference(items, changed, 0.95, chance)
    assert found is not None
    assert found <= difference * (1 + 1e-9)


@given(SHARES, st.floats(0, 1), st.integers(1, 50))
def test_repeats_remove_noise_and_nothing_else(share: float, part: float, repeats: int) -> None:
    changed = ChangedShare(share, share * part, repeats)
    assert share * (1 - part) - 1e-12 <= changed.effective <= share + 1e-12
    once = items_for_difference(0.01, ChangedShare(share, share * part), 0.95, 0.8)
    assert items_for_difference(0.01, changed, 0.95, 0.8) <= once
