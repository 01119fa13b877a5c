"""Warnings of the turns that a chat template drops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.benchmarks.chat import chat_template_of
from evalrun_runner.benchmarks.checks.turns import check_turns
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite
from support.tokenizers import word_tokenizer

TEXT = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
RAISES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TEXT
PASSES_OVER = (
    "{% for message in messages if message['role'] != 'system' %}[{{ message['role'] }}] {{ message['content'] }}\n"
    "{% endfor %}"
)
LAST_ONLY = "{{ messages[-1]['content'] }}"
PARTS = "{% for message in messages %}{% for part in message['content'] %}{{ part['text'] }}\n{% endfor %}{% endfor %}"
HINT = "hint: systemInstructionIn: firstUserTurn puts the text before the first question"


def warned(tmp_path: Path, template: str, task: dict[str, Any] | None = None, **fields: Any) -> list[tuple[str, str]]:
    suite = Suite(tmp_path / "suite").with_data("rows", [{"q": "1 + 1 =", "a": "2"}, {"q": "2 + 2 =", "a": "4"}])
    question = {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
    suite.with_task(
        "sums", **{**suite.reading("rows", train="rows"), "training_split": "train", **question, **(task or {})}
    )
    spec = BenchmarkSpec("mine", "sums", source=suite.folder, apply_chat_template=True, **fields)
    tokenizer = word_tokenizer()
    tokenizer.chat_template = template
    loaded = load_benchmarks([spec], seed=3, allow_code=False)
    return [(warning.about, warning.message) for warning in check_turns(loaded, chat_template_of(tokenizer))]


@pytest.mark.parametrize("template", [RAISES, PASSES_OVER])
def test_a_dropped_system_turn_is_named_with_what_was_in_it(tmp_path: Path, template: str) -> None:
    ((about, message),) = warned(
        tmp_path, template, {"description": "Answer BANANA.\n"}, system_instruction="You are a pirate."
    )
    assert about == "mine"
    assert message.startswith("systemInstruction and the description of sums are in no prompt: the chat template drops")
    assert message.endswith(HINT)


def test_a_dropped_description_alone_is_named_too(tmp_path: Path) -> None:
    ((_, message),) = warned(tmp_path, RAISES, {"description": "Answer BANANA."})
    assert message.startswith("the description of sums is in no prompt")


@pytest.mark.parametrize("template", [RAISES, PASSES_OVER])
def test_a_system_turn_in_the_first_user_turn_is_not_dropped(tmp_path: Path, template: str) -> None:
    assert not warned(tmp_path, template, system_instruction="You are a pirate.", system_in_first_user_turn=True)


@pytest.mark.parametrize("template", [TEXT, TEXT.replace("message['content']", "message['content'] | trim")])
def test_what_a_template_keeps_is_not_mentioned(tmp_path: Path, template: str) -> None:
    task = {"description": "Answer.\n", "gen_prefix": "It is"}
    assert not warned(tmp_path, template, task, system_instruction=" You are\n a pirate. ", num_fewshot=1)
    assert not warned(tmp_path, RAISES)


def test_an_instruction_that_a_template_changes_is_mentioned(tmp_path: Path) -> None:
    template = TEXT.replace("message['content']", "message['content'] | replace('/no_think', '')")
    ((_, message),) = warned(tmp_path, template, system_instruction="Answer. /no_think")
    assert message == "systemInstruction is not in the prompts as it stands: the chat template changes it"


def test_dropped_examples_are_named_with_the_way_to_keep_them(tmp_path: Path) -> None:
    ((_, message),) = warned(tmp_path, LAST_ONLY, num_fewshot=1)
    assert message.startswith("the chat template drops the turns of few-shot examples (sums); hint: fewshotAsMulti")
    assert not warned(tmp_path, LAST_ONLY, num_fewshot=1, fewshot_as_multiturn=False)


def test_a_template_that_drops_the_question_before_a_begun_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"benchmark 'mine': the chat template drops the question from .* user, assistant"
    ):
        warned(tmp_path, LAST_ONLY, {"gen_prefix": "It is"})


def test_a_conversation_that_a_template_cannot_render_is_refused(tmp_path: Path) -> None:
    template = "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + TEXT
    with pytest.raises(
        InputError, match="cannot render a conversation of the turns user, assistant, user: one turn only"
    ):
        warned(tmp_path, template, num_fewshot=1)


def test_parts_are_mentioned_because_lm_eval_gives_none(tmp_path: Path) -> None:
    ((about, message),) = warned(tmp_path, PARTS, system_instruction="You are a pirate.", num_fewshot=1)
    assert (about, message.partition(" only")[0]) == (
        "spec.model",
        "its chat template renders the text of assistant, system, user turns",
    )
