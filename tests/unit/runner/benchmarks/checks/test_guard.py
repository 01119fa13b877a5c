"""Whatever a check raises is said of the task and of what was looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evalrun_runner.benchmarks.checks.guard import for_each_leaf
from evalrun_runner.benchmarks.checks.objections import Objection
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.errors import InputError

from .conftest import GENERATE, Load


def test_an_unforeseen_exception_names_task_and_step(load: Load) -> None:
    def fail(loaded: LoadedBenchmarks) -> Iterator[Objection]:
        yield Objection(loaded.leaves[0].name, "seen before")
        raise ZeroDivisionError("by the data")

    (objection,) = for_each_leaf("metric_list", load(GENERATE), fail)

    assert objection.task == "sums"
    assert objection.what == "metric_list cannot be checked: ZeroDivisionError: by the data"
    assert objection.refused


def test_a_refusal_of_the_check_itself_stays_as_it_is(load: Load) -> None:
    def refuse(loaded: LoadedBenchmarks) -> Iterator[Objection]:
        raise InputError("said in full")

    with pytest.raises(InputError, match=r"^said in full$"):
        list(for_each_leaf("metric_list", load(GENERATE), refuse))
