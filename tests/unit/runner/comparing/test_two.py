"""Comparison of one score of two runs: numbers against published ones, and what they mean for a margin."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.comparing.score_table import SCORE, read_table
from evalrun_runner.comparing.two import ComparisonFinding, MarginVerdict, ScoreQuestion, compare_scores
from evalrun_runner.errors import InputError
from evalrun_runner.statistics.scores import ScoreKind

DATA = Path(__file__).parents[3] / "data" / "comparing"
PAIRS = list(csv.DictReader((DATA / "gsm8k_pairs.csv").read_text().splitlines()))
QUESTION = ScoreQuestion()


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: f"{row['a']} and {row['b']}")
def test_pairs_of_real_models_have_the_published_numbers(row: dict[str, str]) -> None:
    """Oracle: tests/data/comparing/README.md."""
    table = read_table(DATA / "gsm8k_models.csv")
    first, second = (table.scores[table.models.index(row[name])] for name in ("b", "a"))
    found = compare_scores("gsm8k", SCORE, first, second, QUESTION)
    assert (found.n, found.kind) == (int(row["n"]), ScoreKind.BINARY)
    assert (found.gained, found.lost) == (int(row["n10"]), int(row["n01"]))
    assert found.difference == pytest.approx(float(row["diff"]), abs=1e-12)
    assert found.p == pytest.approx(float(row["mcnemar_exact_p"]), rel=1e-9)
    assert found.mid_p == pytest.approx(float(row["mcnemar_midp"]), rel=1e-9)
    assert found.interval.low == pytest.approx(float(row["tango_low"]), abs=1e-9)
    assert found.interval.high == pytest.approx(float(row["tango_high"]), abs=1e-9)
    expected = ComparisonFinding.UNDECIDED
    if float(row["mcnemar_exact_p"]) <= 0.05:
        expected = ComparisonFinding.BETTER if float(row["diff"]) > 0 else ComparisonFinding.WORSE
    assert found.finding is expected


def scores(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    baseline = [1.0] * both + [1.0] * lost + [0.0] * gained + [0.0] * neither
    candidate = [1.0] * both + [0.0] * lost + [1.0] * gained + [0.0] * neither
    return np.array(baseline), np.array(candidate)


@pytest.mark.parametrize(
    ("counts", "margin", "verdict"),
    [
        ((300, 0, 0, 0), 0.02, MarginVerdict.HELD),
        ((300, 0, 0, 0), 0.005, MarginVerdict.UNDECIDED),
        ((10, 0, 0, 0), 0.01, MarginVerdict.UNDECIDED),
        ((1000, 0, 0, 0), 0.0, MarginVerdict.UNDECIDED),
        ((400, 4, 40, 56), 0.01, MarginVerdict.HELD),
        ((400, 60, 4, 36), 0.01, MarginVerdict.BROKEN),
    ],
)
def test_small_cases_of_a_margin(counts: tuple[int, int, int, int], margin: float, verdict: MarginVerdict) -> None:
    """Cases 9, 10, 14 and 15 of the statistics' small cases, and one that breaks its margin."""
    found = compare_scores("t", SCORE, *scores(*counts), ScoreQuestion(margin=margin))
    assert found.margin is not None
    assert found.margin.verdict is verdict


def test_the_greatest_loss_is_the_one_sided_bound() -> None:
    """Case 10: 300 items, none changed: -0.0089379, one-sided at 95%."""
    found = compare_scores("t", SCORE, *scores(300, 0, 0, 0), ScoreQuestion(margin=0.02))
    assert found.margin is not None
    assert found.margin.worst == pytest.approx(0.0089379, abs=1e-6)
    assert found.margin.equivalent


def test_equality_is_shown_both_ways_or_not_at_all() -> None:
    better = compare_scores("t", SCORE, *scores(400, 4, 40, 56), ScoreQuestion(margin=0.01))
    assert better.margin is not None
    assert better.margin.verdict is MarginVerdict.HELD
    assert not better.margin.equivalent


COUNTS = st.tuples(*[st.integers(0, 40)] * 4)


@given(COUNTS, st.floats(0, 0.5))
def test_lower_is_better_mirrors_higher_is_better(counts: tuple[int, int, int, int], margin: float) -> None:
    baseline, candidate = scores(*counts)
    higher = compare_scores("t", SCORE, baseline, candidate, ScoreQuestion(margin=margin))
    lower = compare_scores("t", SCORE, 1 - baseline, 1 - candidate, ScoreQuestion(margin=margin, lower_is_better=True))
    assert (lower.finding, lower.lost, lower.gained) == (higher.finding, higher.lost, higher.gained)
    assert lower.margin is not None
    assert higher.margin is not None
    assert lower.margin.verdict is higher.margin.verdict
    assert lower.margin.worst == pytest.approx(higher.margin.worst, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_an_interval_of_any_scores_has_a_width_and_holds_the_difference(pairs: list[tuple[float, float]]) -> None:
    baseline, candidate = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
    found = compare_scores("t", SCORE, baseline, candidate, QUESTION)
    assert found.interval.low < found.interval.high
    assert 0 <= found.p <= 1
    if pairs:
        assert found.interval.low - 1e-9 <= found.difference <= found.interval.high + 1e-9


def test_items_without_a_score_are_counted_and_left_out() -> None:
    baseline, candidate = np.array([1.0, np.nan, 0.0, np.nan]), np.array([1.0, 1.0, np.nan, np.nan])
    found = compare_scores("t", SCORE, baseline, candidate, QUESTION)
    assert (found.n, found.missing_baseline, found.missing_candidate) == (1, 2, 2)


def test_scores_beyond_one_are_of_no_range_unless_one_is_given() -> None:
    baseline, candidate = np.array([1.0, 5.0, 3.0]), np.array([2.0, 5.0, 4.0])
    assert compare_scores("t", SCORE, baseline, candidate, QUESTION).kind is ScoreKind.UNBOUNDED
    found = compare_scores("t", SCORE, baseline, candidate, ScoreQuestion(bounds=(1.0, 5.0)))
    assert (found.kind, found.is_share) == (ScoreKind.BOUNDED, False)
    assert -4 <= found.interval.low < found.interval.high <= 4


def test_a_score_outside_the_range_that_was_given_is_refused() -> None:
    with pytest.raises(InputError, match="--range 1:5: there are scores from 2 to 7; expected the least"):
        compare_scores("t", SCORE, np.array([2.0, 7.0]), np.array([2.0, 3.0]), ScoreQuestion(bounds=(1.0, 5.0)))
