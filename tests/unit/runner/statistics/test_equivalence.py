"""Equivalence and non-inferiority of paired runs."""

from __future__ import annotations

import pytest

from evalrun_runner.statistics.equivalence import equivalent, noninferior
from evalrun_runner.statistics.paired_data import PairedData


def test_the_same_answers_on_ten_items_are_not_shown_to_be_alike() -> None:
    # statsmodels 0.15.0 ttost_paired gives p = 0 here.
    assert not equivalent(PairedData([1] * 10, [1] * 10), 0.05).shown
    assert equivalent(PairedData([1] * 150, [1] * 150), 0.02).shown


def test_a_better_candidate_is_not_inferior_and_not_equivalent() -> None:
    data = PairedData([1] * 440 + [0] * 60, [0] * 40 + [1] * 400 + [0] * 60)
    assert noninferior(data, 0.01).shown
    assert not equivalent(data, 0.01).shown
    assert noninferior(data, 0.01).low > 0


def test_equivalence_is_what_both_bounds_within_the_margin_say() -> None:
    data = PairedData([1] * 980 + [0] * 20, [1] * 970 + [0] * 10 + [1] * 10 + [0] * 10)
    found = equivalent(data, 0.02)
    assert found.shown
    assert -0.02 < found.low < found.high < 0.02


def test_a_margin_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        equivalent(PairedData([1], [1]), 0.0)
