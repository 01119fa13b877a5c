"""The statistics of the benchmarks and their document; no engine."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench import workloads
from bench.before import compare, environment, medians
from bench.pairs import Goal, Spread, in_rounds, percentile
from bench.report import Row, Section, render, render_section

NUMBERS = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30)


@given(NUMBERS)
def test_spread_is_ordered_and_within_its_values(values: list[float]) -> None:
    spread = Spread.of(values)

    assert spread.least == min(values) <= spread.median <= max(values) == spread.greatest
    assert spread.count == len(values)


def test_ratios_are_computed_pair_by_pair() -> None:
    # The ratio of the medians would be 1: the pairs tell that one side is always slower.
    spread = Spread.of_ratios([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])

    assert (spread.least, spread.median, spread.greatest) == (0.5, 0.5, 0.5)


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        Spread.of_ratios([1.0], [1.0, 2.0])


def test_empty_sample_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.951, 96.0), (1.0, 100.0)])
def test_percentiles_are_values_that_occurred(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


@given(NUMBERS, st.floats(0, 1))
def test_percentile_share_of_values_is_at_or_below_it(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.parametrize(
    ("goal", "median", "met"),
    [
        (Goal(at_least=0.99), 0.99, True),
        (Goal(at_least=0.99), 0.98, False),
        (Goal(at_most=0.1), 0.1, True),
        (Goal(at_most=0.1), 0.11, False),
        (Goal(), 7.0, True),
    ],
)
def test_goal_is_compared_with_the_median(goal: Goal, median: float, met: bool) -> None:
    assert goal.met(Spread(0.0, median, 9.0, 3)) is met


def test_rounds_alternate_their_order() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    sides = {name: partial(side, name) for name in "AB"}

    taken = in_rounds(sides, 3)

    assert "".join(order) == "ABBAAB"
    assert taken == {"A": [1, 4, 5], "B": [2, 3, 6]}


def test_section_shows_spread_goal_and_verdict() -> None:
    rows = [
        Row("tokens/s", Spread(0.9, 0.995, 1.1, 4), Goal(at_least=0.99)),
        Row("wall time", Spread(0.1, 0.2, 0.3, 4), Goal(at_most=0.1)),
        Row("dispatched", Spread(1e6, 2e6, 3e6, 3), unit="/s"),
    ]

    text = render_section(Section("A ÷ B", "How it was taken.", rows, {"A": "3 s"}))

    assert text.splitlines()[0] == "## A ÷ B"
    assert "| tokens/s | 0.900 | 0.995 | 1.100 | 4 | ≥ 0.99 | met |" in text
    assert "| wall time | 0.100 | 0.200 | 0.300 | 4 | ≤ 0.1 | **missed** |" in text
    assert "| dispatched | 1,000,000 /s | 2,000,000 /s | 3,000,000 /s | 3 |  |  |" in text
    assert text.endswith("On this machine: A 3 s.")


def test_document_describes_its_environment_and_warns() -> None:
    text = render([], {"machine": "2 cores"}, ["the machine was busy"])

    assert "| machine | 2 cores |" in text
    assert "**Warning:** the machine was busy" in text
    assert text.endswith("\n")


def test_medians_of_a_document_are_parsed_and_compared() -> None:
    def document(median: float, median_ms: float) -> str:
        rows = [Row("a ratio", Spread(0.5, median, 2.0, 3)), Row("a time", Spread(1, median_ms, 9000, 3), unit="ms")]
        return render([Section("First", "how", rows), Section("Second", "how", rows[:1])], {"date": "today"}, [])

    before, now = medians(document(1.0, 1234)), medians(document(1.1, 617))

    assert before == {("First", "a ratio"): 1.0, ("First", "a time"): 1234.0, ("Second", "a ratio"): 1.0}
    assert compare({"before": [before], "now": [now]}) == [
        ["First: a ratio", "1", "1.1", "1.100"],
        ["First: a time", "1234", "617", "0.500"],
        ["Second: a ratio", "1", "1.1", "1.100"],
    ]


def test_both_trees_measure_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suite in ("gsm8k", "mmlu"):
        (tmp_path / "data" / suite).mkdir(parents=True)
    monkeypatch.setenv(workloads.DATA_VARIABLE, str(tmp_path / "data"))
    assert environment()[workloads.DATA_VARIABLE] == str(tmp_path / "data")

    monkeypatch.setenv(workloads.DATA_VARIABLE, str(tmp_path / "nothing"))
    monkeypatch.setenv(workloads.DATA_VARIABLE, environment()[workloads.DATA_VARIABLE])
    assert workloads.data_folder() is None, "where this tree has no data, a tree that lies beside some finds none"
