"""Loading: what may go wrong is said in one sentence, relative data is the suite's, overrides are lm-eval's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.listing import list_tasks
from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import RequestType
from support.suites import Suite

ROWS = [{"question": f"{i} + 1 =", "answer": str(i + 1)} for i in range(12)]
GENERATE: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", ROWS)


def load(suite: Suite, *tasks: str, allow_code: bool = False, **fields: Any) -> LoadedBenchmarks:
    specs = [BenchmarkSpec(task, task, source=suite.folder, **fields) for task in tasks]
    return load_benchmarks(specs, seed=7, allow_code=allow_code)


def test_leaves_are_in_the_order_of_the_benchmarks_then_lm_evals(suite: Suite) -> None:
    for name in ("b", "a", "d", "c"):
        suite.with_task(name, data="rows", **GENERATE)
    suite.with_group("pair", ["d", "c"])

    loaded = load(suite, "b", "pair", "a")

    assert [leaf.name for leaf in loaded.leaves] == ["b", "d", "c", "a"]
    assert [(leaf.benchmark.name, leaf.name) for leaf in loaded.leaves] == [
        ("b", "b"),
        ("pair", "d"),
        ("pair", "c"),
        ("a", "a"),
    ]
    assert list(loaded.groups) == ["pair"]


def test_relative_data_is_the_suites_wherever_the_process_runs(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
    }
    suite.with_task("sums", **files, **GENERATE)
    suite.with_group("inline", [{"task": "own", **files, **GENERATE}])
    monkeypatch.chdir(tmp_path)

    loaded = load(suite, "sums", "inline")

    assert [(leaf.name, leaf.documents) for leaf in loaded.leaves] == [("sums", 12), ("inline::own", 12)]


@pytest.mark.parametrize(
    ("own", "asked", "used"), [(None, None, 0), (None, 3, 3), (2, None, 2), (2, 3, 3), (0, 3, 0), (2, 0, 0)]
)
def test_shots_are_overridden_as_in_lm_eval(suite: Suite, own: int | None, asked: int | None, used: int) -> None:
    suite.with_task("sums", data="rows", **GENERATE, **({} if own is None else {"num_fewshot": own}))

    (leaf,) = load(suite, "sums", num_fewshot=asked).leaves

    assert leaf.task.config.num_fewshot == used


@pytest.mark.parametrize(("shots", "kept"), [(0, 0), (2, 12)])
def test_few_shot_documents_are_stored_only_if_they_are_used(suite: Suite, shots: int, kept: int) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    (leaf,) = load(suite, "sums", num_fewshot=shots).leaves

    assert len(leaf.task.sampler.df) == kept


def test_a_task_that_exits_the_process_is_an_input_error(suite: Suite) -> None:
    suite.with_file("rude.py", "import sys\nsys.exit('install the prover first')\n")
    suite.with_file("sums.yaml", "task: sums\nprocess_docs: !function rude.docs\n")

    with pytest.raises(InputError, match=r"task 'sums' cannot be loaded: .*install the prover first"):
        load(suite, "sums", allow_code=True)


def test_generation_arguments_are_updated_not_replaced(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE, generation_kwargs={"until": ["\n"], "max_gen_toks": 5})

    (leaf,) = load(suite, "sums", generation={"max_gen_toks": 9, "temperature": 0.5}).leaves

    (request,) = next(iter_items(leaf, None)).requests
    assert request.type is RequestType.GENERATE_UNTIL
    assert request.arguments[1] == {"until": ["\n"], "max_gen_toks": 9, "temperature": 0.5}


@pytest.mark.parametrize(("limit", "documents"), [(None, 12), (5, 5), (100, 12), (0.25, 3), (0.3, 4), (1, 1)])
def test_limits(suite: Suite, limit: float | None, documents: int) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    (leaf,) = load(suite, "sums", limit=limit).leaves

    assert leaf.documents == documents
    assert len(list(iter_items(leaf, None))) == documents


def test_a_recipe_survives_json(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    (leaf,) = load(suite, "sums", num_fewshot=1, generation={"temperature": 0.1}).leaves

    assert TaskRecipe.from_json(leaf.recipe.to_json()) == leaf.recipe


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (["summs"], r"there is no 'summs' in the suite .*did you mean sums\? `evalrun tasks --source /"),
        (["qqqqq"], "it holds both, other, sums"),
        (["./sums.yaml"], r"there is no './sums.yaml'"),
        (["sums", "both"], "benchmarks 'sums' and 'both' both hold 'sums'"),
        (["sums", "sums"], "two benchmarks are named 'sums'"),
        ([], "no benchmarks"),
    ],
)
def test_wrong_names(suite: Suite, tasks: list[str], said: str) -> None:
    suite.with_task("sums", data="rows", **GENERATE).with_task("other", data="rows", **GENERATE)
    suite.with_group("both", ["sums", "other"])

    with pytest.raises(InputError, match=said):
        load(suite, *tasks)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"limit": 0}, "limit is 0"), ({"limit": -1}, "limit is -1"), ({"num_fewshot": -1}, "numFewshot is -1")],
)
def test_wrong_numbers(suite: Suite, fields: dict[str, Any], said: str) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    with pytest.raises(InputError, match=f"benchmark 'sums': {said}"):
        load(suite, "sums", **fields)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_wrong_seeds(suite: Suite, seed: int) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    with pytest.raises(InputError, match=r"seed .* out of range"):
        load_benchmarks([BenchmarkSpec("sums", "sums", source=suite.folder)], seed=seed, allow_code=False)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dataset_kwargs": {"data_files": "gone.jsonl"}}, "its data is missing: .*gone.jsonl"),
        ({"dataset_kwargs": {"data_files": {"test": "empty.jsonl"}}}, "empty"),
        ({"dataset_kwargs": {"data_files": {"test": "broken.jsonl"}}}, "its data cannot be read: .*"),
        ({"test_split": "exam"}, "no field or split 'exam'"),
        ({"doc_to_text": "{{nothing}}"}, "does not have: 'nothing' is undefined"),
        ({"dataset_path": "nobody/nothing-of-this-name", "dataset_kwargs": {}}, "its data set cannot be reached"),
        ({"doc_to_image": "picture"}, "images or audio"),
    ],
)
def test_broken_tasks_are_reported_with_the_problem(
    suite: Suite, config: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    suite.with_file("empty.jsonl", "").with_file("broken.jsonl", '{"question": \n[')
    files: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
    }
    suite.with_task("sums", **{**files, **GENERATE, **config})

    with pytest.raises(InputError, match=f"(?s)task 'sums'.*{said}"):
        load(suite, "sums")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"output_type": "dance"}, "output_type: there is no 'dance'; expected one of generate_until"),
        ({"filter_list": [{"name": "x", "filter": [{"function": "polish"}]}]}, "there is no 'polish'; expected one of"),
        ({"metric_list": [{"metric": "exact_match", "aggregation": "sum"}]}, "aggregation: there is no 'sum'"),
    ],
)
def test_names_that_lm_eval_does_not_know_are_answered_by_those_that_it_does(
    suite: Suite, config: dict[str, Any], said: str
) -> None:
    suite.with_task("sums", data="rows", **{**GENERATE, **config})

    with pytest.raises(InputError, match=rf"sums.yaml:\d+: .*{said}"):
        load(suite, "sums")


def test_running_code_of_the_model_needs_permission(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE, unsafe_code=True)

    with pytest.raises(InputError, match=r"unsafe_code.*\n.*set allowCode: true on this benchmark"):
        load(suite, "sums", allow_code=True)


def test_a_group_with_an_unknown_member_is_refused(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.with_task("sums", data="rows", **GENERATE).with_group("all", ["sums", "gone"])
    # lm-eval's own index takes seconds, and would not hold it either.
    monkeypatch.setattr("evalrun_runner.benchmarks.load._names_others", lambda manager: False)

    with pytest.raises(InputError, match="group 'all' lists 'gone'"):
        load(suite, "all")


def test_the_tasks_of_a_suite_are_listed(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE, tag="maths").with_task("other", data="rows", **GENERATE)
    suite.with_group("all", ["sums", "other"])

    rows = [(row.name, row.kind, row.output_type, row.path) for row in list_tasks(source=suite.folder)]

    assert rows == [
        ("all", "group", "", "all.yaml"),
        ("maths", "tag", "", ""),
        ("other", "task", "generate_until", "other.yaml"),
        ("sums", "task", "generate_until", "sums.yaml"),
    ]
    assert [row.name for row in list_tasks("um", suite.folder)] == ["sums"]
    assert [row.name for row in list_tasks("*th*", suite.folder)] == ["maths", "other"]
