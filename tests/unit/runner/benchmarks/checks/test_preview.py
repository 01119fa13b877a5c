"""Preview of tasks: what the first document is asked, and what counts as right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.benchmarks.checks.gold import Gold
from evalrun_runner.benchmarks.checks.preview import TaskPreview, plain_turns, preview_tasks
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite

ROWS: list[dict[str, Any]] = [
    {"question": f"{i} + 1 =", "answer": str(i + 1), "options": [str(i), str(i + 1)]} for i in range(9)
]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", ROWS)


def preview_of(suite: Suite, **fields: Any) -> TaskPreview:
    spec = BenchmarkSpec("mine", "sums", source=suite.folder, **fields)
    (preview,) = preview_tasks(load_benchmarks([spec], seed=3, allow_code=False), plain_turns)
    return preview


def test_a_generated_answer_is_previewed_with_prompt_arguments_and_gold(suite: Suite) -> None:
    suite.with_task(
        "sums", data="rows", doc_to_text="{{question}}", doc_to_target="{{answer}}", generation_kwargs={"until": ["."]}
    )

    assert preview_of(suite, limit=4, generation={"max_gen_toks": 7}) == TaskPreview(
        task="sums",
        benchmark="mine",
        output_type="generate_until",
        documents=4,
        num_fewshot=0,
        prompts=("0 + 1 =",),
        choices=(),
        gold=Gold(("1",)),
        generation={"until": ["."], "max_gen_toks": 7},
        repeats=1,
    )


def test_choices_are_previewed_as_they_are_sent(suite: Suite) -> None:
    suite.with_task(
        "sums",
        data="rows",
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="options",
        doc_to_target="{{1}}",
    )
    preview = preview_of(suite)

    assert (preview.prompts, preview.choices) == (("0 + 1 =",), (" 0", " 1"))
    assert preview.gold == Gold(("1",), (1,))


def test_choices_that_are_contexts_are_previewed_as_prompts(suite: Suite) -> None:
    suite.with_task(
        "sums",
        data="rows",
        output_type="multiple_choice",
        doc_to_text="{{1}}",
        doc_to_choice="options",
        doc_to_target="{{answer}}",
    )
    preview = preview_of(suite)

    assert (preview.prompts, preview.choices) == (("0", "1"), (" 1",))
    assert preview.gold == Gold(("1",), (1,))


def test_a_text_without_a_prompt_is_previewed_as_what_is_scored(suite: Suite) -> None:
    suite.with_task(
        "sums", data="rows", output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{question}}"
    )
    preview = preview_of(suite)

    assert (preview.prompts, preview.choices) == ((), ("0 + 1 =",))


def test_a_conversation_shows_its_turns(suite: Suite) -> None:
    suite.with_task("sums", data="rows", doc_to_text="{{question}}", doc_to_target="{{answer}}")
    preview = preview_of(suite, num_fewshot=1, apply_chat_template=True, system_instruction="Be brief.")

    (prompt,) = preview.prompts
    assert preview.num_fewshot == 1
    assert prompt.splitlines()[0] == "[system] Be brief."
    assert prompt.endswith("[user] 0 + 1 =\n[assistant]")
    assert prompt.count("[user]") == 2


def test_a_task_whose_targets_name_no_choice_is_refused_by_its_first_document(suite: Suite) -> None:
    suite.with_task(
        "sums",
        data="rows",
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="options",
        doc_to_target="question",
    )

    with pytest.raises(InputError, match=r"no document is right, document 0: doc_to_target .question. is '0 . 1 ='"):
        preview_of(suite)


def test_a_first_document_that_cannot_be_built_is_named(suite: Suite) -> None:
    suite.with_data("wrong", [{"question": "", "answer": "x"}])
    suite.with_task("sums", data="wrong", doc_to_text="{{ 1 // (question|length) }}", doc_to_target="{{answer}}")

    with pytest.raises(InputError, match="sums"):
        preview_of(suite)
