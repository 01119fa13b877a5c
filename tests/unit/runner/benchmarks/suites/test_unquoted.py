"""Answers and choices without quotes: what YAML makes of them is named with line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite

HEAD = """task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
doc_to_text: "{{question}}"
"""
CHOICE = "output_type: multiple_choice\ndoc_to_target: answer\n"


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data(
        "rows", [{"question": "1+1", "answer": 1}, {"question": "2", "answer": 0}]
    )


def load(suite: Suite) -> None:
    load_benchmarks([BenchmarkSpec("sums", "sums", source=suite.folder)], seed=1, allow_code=False)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            CHOICE + "doc_to_choice: [yes, no]\n",
            [
                'sums.yaml:8: doc_to_choice holds true, not text: write "yes" in quotes',
                'sums.yaml:8: doc_to_choice holds false, not text: write "no" in quotes',
            ],
        ),
        (
            CHOICE + "doc_to_choice:\n  - zero\n  - 1\n",
            ['sums.yaml:10: doc_to_choice holds 1, a number, not text: write "1" in quotes'],
        ),
        (CHOICE + "doc_to_choice: {a: On, b: 'Off'}\n", ['doc_to_choice holds true, not text: write "On" in quotes']),
        (
            CHOICE + "doc_to_choice: [a, null]\n",
            ['doc_to_choice holds null, nothing, not text: write "null" in quotes'],
        ),
        (CHOICE + "doc_to_choice: [a, 2024-01-02]\n", ["doc_to_choice holds 2024-01-02, a date, not text"]),
        (CHOICE + "doc_to_choice:\n  - a\n  -\n", ["doc_to_choice holds nothing, not text: write the text, or drop"]),
        ("doc_to_target: yes\n", ['sums.yaml:6: doc_to_target holds true, not text: write "yes" in quotes']),
        ("doc_to_target: [4, four]\n", ['doc_to_target holds 4, a number, not text: write "4" in quotes']),
        (
            'doc_to_target: "{{answer}}"\nfewshot_config: {doc_to_target: no}\n',
            ["fewshot_config.doc_to_target holds false"],
        ),
    ],
)
def test_what_is_no_text_is_named_with_the_quotes_that_it_needs(suite: Suite, text: str, messages: list[str]) -> None:
    suite.with_file("sums.yaml", HEAD + text)

    with pytest.raises(InputError) as refused:
        load(suite)
    assert all(message in str(refused.value) for message in messages), refused.value


def test_a_task_in_a_group_is_looked_at_too(suite: Suite) -> None:
    suite.with_file("sums.yaml", HEAD + 'doc_to_target: "{{answer}}"\n')
    suite.with_file("all.yaml", "group: all\ntask:\n  - task: sums\n    doc_to_choice: [yes, no]\n")

    with pytest.raises(InputError, match=r"all.yaml:4: task.doc_to_choice holds true, not text: write .yes. in quotes"):
        load(suite)


@pytest.mark.parametrize(
    "text",
    [
        CHOICE + 'doc_to_choice: ["yes", "no"]\n',
        CHOICE + "doc_to_choice: [Yes please, No way]\n",
        "output_type: multiple_choice\ndoc_to_choice: [a, b]\ndoc_to_target: 1\n",
        "output_type: multiple_choice\ndoc_to_choice: [a, b]\ndoc_to_target: [0, 1]\n",
        'doc_to_target: ["4", four]\n',
    ],
)
def test_texts_and_indices_are_accepted(suite: Suite, text: str) -> None:
    suite.with_file("sums.yaml", HEAD + text)

    load(suite)
