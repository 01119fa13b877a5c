"""The proof of the intervals: its tables and its page, at a size that shows nothing but that they work."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics.exact_shares import gate_error, wilson_coverage
from bench.statistics.page import Claim, CoverageTable, render, simulate
from bench.statistics.simulated_means import labels
from evalrun_runner.statistics.interval import Interval, Method, NoInterval


def test_exact_coverage_equals_the_published_minima_of_wilson() -> None:
    # Brown, Cai and DasGupta (2001) count outcomes as here; the minima in steps of 0.01 were computed independently.
    for n, least in ((50, 92.16), (100, 93.32), (300, 94.11)):
        assert wilson_coverage(n, np.linspace(0.02, 0.98, 97)).min() == pytest.approx(least, abs=0.01)


def test_the_bound_of_a_gate_is_never_wrong_more_often_than_promised() -> None:
    assert gate_error(300, np.linspace(0.001, 0.999, 999)).max() <= 5 + 1e-9


def test_an_answer_without_interval_holds_every_value() -> None:
    tally = simulate(lambda random: NoInterval("nothing"), 0.5, 200, (1,))
    assert (tally.covered, tally.above, tally.below) == (100, 0, 0)


def test_misses_are_counted_on_their_side() -> None:
    tally = simulate(lambda random: Interval(0.6, 0.7, 0.95, Method.WILSON), 0.5, 200, (1,))
    assert (tally.covered, tally.above, tally.below) == (0, 100, 0)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (Claim("", 95.0, at_least=94.0), "met"),
        (Claim("", 93.9, at_least=94.0, error=0.1), "within the simulation's error"),
        (Claim("", 93.9, at_least=94.0), "**missed**"),
        (Claim("", 5.2, at_most=5.0), "**missed**"),
    ],
)
def test_a_claim_is_met_missed_or_within_the_error(claim: Claim, verdict: str) -> None:
    assert claim.verdict == verdict


def test_the_page_says_claims_first_and_how_it_was_made() -> None:
    table = CoverageTable("Shares", "Counted.", ["n"], [["5"]], [Claim("holds", 95.0, at_least=94.0)])
    text = render("# Title", [table], {"repetitions": "200"})
    assert text.index("holds") < text.index("repetitions 200") < text.index("## Shares") < text.index("Counted.")


def test_a_simulated_table_has_a_row_for_each_cell() -> None:
    table = labels(200)
    assert len(table.rows) == 9
    assert all(len(row) == len(table.header) for row in table.rows)
