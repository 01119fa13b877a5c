"""Running scores: what items add to means, and how sure a mean is."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lm_eval.api.metrics import mean, mean_stderr

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.running_scores import add, mean_and_stderr, tally
from evalrun_runner.records.results import ItemResult, ItemStatus, MeanTally, Outcome

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def row(scores: Any, status: ItemStatus = ItemStatus.OK) -> ItemResult:
    return ItemResult(0, "h", Outcome(status), None if scores is None else values.encode(scores))


def tally_of(numbers: list[float]) -> MeanTally:
    return tally(row({"none": {"m": number}}) for number in numbers).get(("m", "none"), MeanTally())


def test_metrics_and_filters_are_separated() -> None:
    rows = [row({"strict": {"acc": 1, "f1": 0.5}, "loose": {"acc": number}}) for number in (0, 1, 1)]
    assert tally(rows) == {
        ("acc", "strict"): MeanTally(3, 3.0, 3.0),
        ("f1", "strict"): MeanTally(3, 1.5, 0.75),
        ("acc", "loose"): MeanTally(3, 2.0, 2.0),
    }


@pytest.mark.parametrize(
    ("value", "number"),
    [(True, 1.0), (3, 3.0), (-0.5, -0.5), (np.float64(2.5), 2.5), (np.float32(0.25), 0.25), (np.int32(7), 7.0),
     (np.bool_(True), 1.0)],
)  # fmt: skip
def test_plain_numbers_of_any_type_count(value: Any, number: float) -> None:
    assert tally([row({"none": {"m": value}})]) == {("m", "none"): MeanTally(1, number, number * number)}


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, np.float64("nan"), 10**400, (1.0, 2), [1.0], "1", None, {"a": 1}, np.array([1.0]), 1j],
    ids=repr,
)
def test_other_values_are_skipped_but_their_neighbors_are_not(value: Any) -> None:
    assert tally([row({"none": {"odd": value, "m": 2}})]) == {("m", "none"): MeanTally(1, 2.0, 4.0)}


def test_only_ok_items_count() -> None:
    scored = {"none": {"m": 1}}
    rows = [row(scored), row(None), row(scored, ItemStatus.FAILED), row(None, ItemStatus.QUARANTINED)]
    assert tally(rows) == {("m", "none"): MeanTally(1, 1.0, 1.0)}
    assert tally([]) == {}


@given(NUMBERS, st.integers(0, 60))
def test_parts_add_up_to_the_whole(numbers: list[float], cut: int) -> None:
    rows = [row({"none": {"m": number}, "other": {"m": 1}}) for number in numbers]
    both = add([tally(rows[:cut]), tally(rows[cut:])])
    whole = tally(rows)
    assert both.keys() == whole.keys()
    for key, one in whole.items():
        size = sum(abs(number) for number in numbers)
        assert both[key].n == one.n
        assert both[key].total == pytest.approx(one.total, abs=1e-12 * size)
        assert both[key].squares == pytest.approx(one.squares, rel=1e-12)


@given(NUMBERS)
def test_mean_and_error_are_those_of_lm_eval(numbers: list[float]) -> None:
    found, stderr = mean_and_stderr(tally_of(numbers))
    size = max(map(abs, numbers))
    assert found == pytest.approx(mean(numbers), abs=1e-12 * size)
    if len(numbers) == 1:
        assert stderr is None
        return
    assert stderr is not None
    # The squares' own rounding is all that is lost; it shows where the spread is tiny beside the values.
    squared = 1e-13 * sum(number * number for number in numbers) / (len(numbers) - 1) / len(numbers)
    for expected in (mean_stderr(numbers), statistics.stdev(numbers) / math.sqrt(len(numbers))):
        assert stderr**2 == pytest.approx(expected**2, rel=1e-9, abs=squared)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=500))
def test_the_error_of_right_and_wrong_answers_is_exact(numbers: list[float]) -> None:
    assume(len(set(numbers)) > 1)
    _, stderr = mean_and_stderr(tally_of(numbers))
    assert stderr == pytest.approx(mean_stderr(numbers), rel=1e-12)


@given(st.floats(-1e150, 1e150), st.integers(2, 200))
def test_equal_values_have_almost_no_error(number: float, times: int) -> None:
    found, stderr = mean_and_stderr(tally_of([number] * times))
    assert found == pytest.approx(number, rel=1e-12)
    assert stderr is not None
    assert 0 <= stderr <= 1e-7 * abs(number)


def test_an_error_too_large_for_a_float_is_none() -> None:
    assert mean_and_stderr(tally_of([1e200, -1e200])) == (0.0, None)


def test_running_scores_do_not_import_lm_eval() -> None:
    program = (
        "import sys, evalrun_runner.replica.assembly\n"
        "sys.exit(any(name in sys.modules for name in ('lm_eval', 'datasets')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
