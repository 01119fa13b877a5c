"""Settings of a suite's task that lm-eval would take and not mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite

GENERATE: dict[str, Any] = {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
CHOOSE: dict[str, Any] = {"output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "answer"}
FIRST = {"name": "a", "filter": [{"function": "take_first"}]}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", [{"question": "1+1", "answer": "2"}] * 3)


def load(suite: Suite, config: dict[str, Any], task: str = "sums") -> Any:
    suite.with_task("sums", data="rows", **config)
    return load_benchmarks([BenchmarkSpec(task, task, source=suite.folder)], seed=1, allow_code=False)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**GENERATE, "filter_list": [FIRST, FIRST]}, "filter_list: 'a' stands twice"),
        ({**GENERATE, "filter_list": []}, "filter_list is empty"),
        (
            {**GENERATE, "metric_list": [{"metric": "exact_match"}, {"metric": "exact_match", "ignore_case": True}]},
            "metric_list: exact_match stands twice",
        ),
        ({**GENERATE, "metric_list": []}, "metric_list is empty: no score would come of it"),
        (
            {**GENERATE, "metric_list": [{"metric": "exact_match", "higher_is_better": "no"}]},
            "exact_match: higher_is_better is 'no'; expected true or false",
        ),
        (
            {**GENERATE, "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ","}]},
            "exact_match: regexes_to_ignore is ','; expected a list: [',']",
        ),
        ({**GENERATE, "repeats": "two"}, "repeats is 'two'; expected a whole number from 1"),
        ({**GENERATE, "repeats": 0}, "repeats is 0; expected a whole number from 1"),
        ({**GENERATE, "repeats": True}, "repeats is True; expected a whole number from 1"),
        ({**GENERATE, "num_fewshot": -1}, "num_fewshot is -1; expected a whole number from 0"),
        ({**GENERATE, "num_fewshot": "two"}, "num_fewshot is 'two'; expected a whole number from 0"),
        ({**GENERATE, "generation_kwargs": ["a"]}, "generation_kwargs is ['a']; expected a mapping"),
        (
            {**GENERATE, "generation_kwargs": {"temperature": "hot"}},
            "generation_kwargs.temperature is 'hot'; expected a number",
        ),
        ({"doc_to_target": "{{answer}}"}, "doc_to_text is missing; expected a template, or the name of a column"),
        ({"doc_to_text": "{{question}}"}, "doc_to_target is missing; expected a template, or the name of a column"),
        (CHOOSE, "doc_to_choice is missing, which output_type multiple_choice needs"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_task_file_and_field(
    suite: Suite, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        load(suite, config)

    assert str(error.value).startswith("task 'sums' (sums.yaml): ")
    assert message in str(error.value)


def test_all_such_settings_of_a_task_are_said_at_once(suite: Suite) -> None:
    with pytest.raises(InputError) as error:
        load(suite, {"doc_to_text": "{{question}}", "repeats": 0})

    assert "doc_to_target is missing" in str(error.value)
    assert "repeats is 0" in str(error.value)


def test_what_is_left_out_has_the_values_of_lm_eval(suite: Suite) -> None:
    (leaf,) = load(suite, GENERATE).leaves

    assert list(leaf.task.aggregation()) == ["exact_match"]
    assert [ensemble.name for ensemble in leaf.task._filters] == ["none"]


def test_a_task_that_a_group_defines_itself_is_checked_as_well(suite: Suite) -> None:
    suite.with_group("both", ["sums", {"task": "more", **suite.reading("rows"), **GENERATE, "repeats": 0}])

    with pytest.raises(InputError, match="task 'both::more': repeats is 0"):
        load(suite, GENERATE, "both")


def test_a_group_that_a_group_defines_itself_holds_tasks_by_name(suite: Suite) -> None:
    total = [{"metric": "exact_match", "weight_by_size": False, "filter_list": "none"}]
    inner = {"group": "inner", "task": ["sums"], "aggregate_metric_list": total}
    suite.with_task("others", data="rows", **GENERATE)
    suite.with_group("all", [inner, "others"], aggregate_metric_list=total)

    loaded = load(suite, GENERATE, "all")

    assert {leaf.name for leaf in loaded.leaves} == {"sums", "others"}
    assert set(loaded.groups) == {"all", "all::inner"}
