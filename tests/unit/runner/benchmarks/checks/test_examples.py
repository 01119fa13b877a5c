"""Few-shot examples that hold the answer of the item that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.checks.remarks import Remarks
from evalrun_runner.benchmarks.load import LeafTask, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.records.plan import PlanNote
from support.suites import Suite

ROWS: list[dict[str, Any]] = [{"id": n, "question": f"{n} and {n}?", "answer": str(2 * n)} for n in range(8)]
WRITE: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match"}],
}


def leaf_of(suite: Suite, **config: Any) -> LeafTask:
    suite.with_data("rows", ROWS).with_task("t", **{**WRITE, **suite.reading("rows", train="rows"), **config})
    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=False).leaves
    return leaf


def notes_of(leaf: LeafTask) -> tuple[int, tuple[PlanNote, ...]]:
    """How many prompts hold their own question twice, and the notes."""
    remarks = Remarks(leaf.task, survey=False)
    items = list(iter_items(leaf, None, remarks))
    own = sum(item.requests[0].arguments[0].count(f"{item.doc['question']} {item.doc['answer']}") for item in items)
    return own, remarks.notes()


def test_prompts_that_show_their_own_answer_are_counted(tmp_path: Path) -> None:
    leaf = leaf_of(Suite(tmp_path / "suite"), training_split="train", num_fewshot=3)
    shown, (note,) = notes_of(leaf)
    assert 0 < shown == note.count < len(ROWS)
    assert f"{shown} of 8 prompts show the answer that they ask for" in note.message


def test_examples_of_another_split_with_the_same_rows_are_found_by_the_fields_that_are_read(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "suite").with_data("copies", [{**row, "id": 100 + row["id"]} for row in ROWS])
    files = suite.reading("rows", train="copies")
    shown, (note,) = notes_of(leaf_of(suite, **files, training_split="train", num_fewshot=3))
    assert note.count == shown > 0


def test_lm_eval_leaves_the_own_document_out_where_the_splits_have_one_name(tmp_path: Path) -> None:
    leaf = leaf_of(Suite(tmp_path / "suite"), fewshot_split="test", num_fewshot=3)
    assert notes_of(leaf) == (0, ())


def test_without_examples_there_is_nothing_to_note(tmp_path: Path) -> None:
    assert notes_of(leaf_of(Suite(tmp_path / "suite"), num_fewshot=0)) == (0, ())


def test_the_task_draws_as_before_when_nobody_watches(tmp_path: Path) -> None:
    leaf = leaf_of(Suite(tmp_path / "suite"), training_split="train", num_fewshot=3)
    assert list(iter_items(leaf, None)) == list(iter_items(leaf, None, Remarks(leaf.task, survey=True)))
    assert "sample" not in vars(leaf.task.sampler)
