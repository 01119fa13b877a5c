"""Scoring away from the data set: errors fail one item, never score it; filters must look at one document alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import LeafTask, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemStatus, Outcome, Response
from support.suites import Suite

ROWS = [{"question": f"{i} + 1 =", "answer": str(i + 1), "level": i} for i in range(6)]

CODE = """
def across(resps, docs):
    longest = max(len(inst[0]) for inst in resps)
    return [[str(longest - len(inst[0]))] for inst in resps]


def alone(resps, docs):
    return [[text.strip() for text in inst] for inst in resps]


def picky(doc, results):
    if doc["level"] == 2:
        raise ArithmeticError("no level two")
    return {"score": len(results[0])}


def process_docs(docs):
    return docs.map(lambda doc: {"level": doc["level"] * 2})
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", ROWS).with_file("own.py", CODE)


def with_sums(suite: Suite, more: str = "") -> LeafTask:
    suite.with_file(
        "sums.yaml",
        f"""task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: rows.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
""",
    )
    spec = BenchmarkSpec("sums", "sums", source=suite.folder)
    (leaf,) = load_benchmarks([spec], seed=3, allow_code=True).leaves
    return leaf


def answered(*texts: str) -> Outcome:
    return Outcome(ItemStatus.OK, (tuple(Response(text, "stop", 1, 1) for text in texts),))


def right(items: list[Item]) -> list[Outcome]:
    return [answered(item.doc["answer"]) for item in items]


def metric(scores: str | None, name: str = "exact_match", filter_name: str = "none") -> Any:
    assert scores is not None
    return values.decode(scores)[filter_name][name]


def test_right_and_wrong_answers(suite: Suite) -> None:
    leaf = with_sums(suite)
    items = list(iter_items(leaf, None))

    results = Scorer(leaf.recipe).score(items, [answered("1"), *(answered("99") for _ in items[1:])])

    assert [metric(result.scores) for result in results] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert [result.item_hash for result in results] == [item.hash for item in items]


def test_outcomes_that_are_not_ok_pass_through_unscored(suite: Suite) -> None:
    leaf = with_sums(suite)
    items = list(iter_items(leaf, None))[:3]
    outcomes = [
        Outcome(ItemStatus.FAILED, error="too long"),
        answered("2"),
        Outcome(ItemStatus.QUARANTINED, error="killed the engine twice"),
    ]

    results = Scorer(leaf.recipe).score(items, outcomes)

    assert [result.outcome for result in results] == outcomes
    assert [result.scores is None for result in results] == [True, False, True]


def test_an_error_in_a_metric_fails_only_its_item(suite: Suite) -> None:
    leaf = with_sums(suite, "process_results: !function own.picky\nmetric_list: [{metric: score, aggregation: mean}]")
    items = list(iter_items(leaf, None))

    results = Scorer(leaf.recipe).score(items, right(items))

    assert [result.outcome.status for result in results].count(ItemStatus.OK) == 5
    failed = results[2]
    assert failed.outcome.status is ItemStatus.FAILED
    assert failed.outcome.error == "scoring failed: task 'sums', document 2: ArithmeticError: no level two"
    assert failed.outcome.responses == right(items)[2].responses
    assert failed.scores is None
    assert failed.filtered is None


def test_an_error_in_a_filter_fails_only_its_item(suite: Suite) -> None:
    leaf = with_sums(suite, "filter_list: [{name: f, filter: [{function: lowercase}, {function: take_first}]}]")
    items = list(iter_items(leaf, None))
    outcomes = right(items)
    outcomes[4] = Outcome(ItemStatus.OK, ((Response(1.5, "stop", 1, 1),),))

    results = Scorer(leaf.recipe).score(items, outcomes)

    assert [result.outcome.status for result in results].count(ItemStatus.OK) == 5
    assert "document 4: AttributeError" in (results[4].outcome.error or "")


def test_processed_documents_are_not_processed_again(suite: Suite) -> None:
    leaf = with_sums(suite, "process_docs: !function own.process_docs\nprocess_results: !function own.picky\n"
                            "metric_list: [{metric: score, aggregation: mean}]")  # fmt: skip
    items = list(iter_items(leaf, None))

    results = Scorer(leaf.recipe).score(items, right(items))

    assert [item.doc["level"] for item in items] == [0, 2, 4, 6, 8, 10]
    assert [result.doc_id for result in results if result.outcome.status is ItemStatus.FAILED] == [1]


def test_a_custom_filter_is_applied(suite: Suite) -> None:
    leaf = with_sums(suite, """filter_list:
  - name: own
    filter: [{function: custom, filter_fn: !function own.alone}, {function: take_first}]""")  # fmt: skip
    items = list(iter_items(leaf, None))

    (result, *_) = Scorer(leaf.recipe).score(items, [answered(f"  {item.doc['answer']} ") for item in items])

    assert metric(result.scores, filter_name="own") == 1.0
    assert values.decode(result.filtered or "") == {"own": ["1"]}


def test_a_filter_that_looks_across_documents_is_refused(suite: Suite) -> None:
    leaf = with_sums(suite, """filter_list:
  - name: own
    filter: [{function: custom, filter_fn: !function own.across}, {function: take_first}]""")  # fmt: skip
    items = list(iter_items(leaf, None))

    with pytest.raises(
        InputError, match="task 'sums': its filter 'own' gives document 0 another answer when it stands"
    ):
        Scorer(leaf.recipe).score(items, [answered("x" * item.doc_id) for item in items])


def test_a_task_without_code_can_be_scored_without_its_suite(suite: Suite) -> None:
    leaf = with_sums(suite)
    items = list(iter_items(leaf, None))
    for file in suite.folder.iterdir():
        file.unlink()

    results = Scorer(TaskRecipe.from_json(leaf.recipe.to_json())).score(items, right(items))

    assert all(metric(result.scores) == 1.0 for result in results)


def test_a_scorer_reads_neither_the_data_set_nor_lm_evals_index(suite: Suite) -> None:
    recipe = with_sums(suite).recipe.to_json()
    script = """
import sys
import datasets
from lm_eval.tasks import TaskManager
def forbidden(*args, **kwargs):
    raise AssertionError("not for scoring")
datasets.load_dataset = TaskManager.__init__ = forbidden
from evalrun_runner.benchmarks.recipe import TaskRecipe
from evalrun_runner.benchmarks.score import Scorer
Scorer(TaskRecipe.from_json(sys.argv[1]))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, recipe], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
