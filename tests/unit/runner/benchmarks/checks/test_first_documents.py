"""First documents: rendered by the model's chat template, and planned as the engine would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pytest

from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.first_documents import build_first, check_requests
from evalrun_runner.benchmarks.checks.objections import Objection
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.errors import InputError
from support.suites import Suite

from .conftest import CHOOSE, GENERATE, ROWS, Load


class MergingTokenizer(ByteTokenizer):
    """Tokenizer with one token for each word, so that a choice without a space joins the word before it."""

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        return {"input_ids": [[len(word) for word in part.split()] for part in text]}


def objections(
    loaded: LoadedBenchmarks, *, limit: int = 1000, may_fail: int = 0, merging: bool = False
) -> list[Objection]:
    codec = TextCodec(MergingTokenizer() if merging else ByteTokenizer())
    planner = RequestPlanner(codec, max_model_len=limit, fast=True, seed=0)
    return list(check_requests(build_first(loaded, None), planner, codec, may_fail))


def raising(error: Exception) -> ChatTemplate:
    def chat(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        raise error

    return chat


def test_the_error_of_a_chat_template_is_named_with_the_turns(load: Load) -> None:
    loaded = load(GENERATE, apply_chat_template=True, system_instruction="Be brief.", num_fewshot=1)
    chat = raising(jinja2.TemplateError("roles must alternate"))

    expected = (
        r"task 'sums', document 0 cannot be built: the model's chat template cannot render its turns "
        r"\(system, user, assistant, user\): roles must alternate"
    )
    with pytest.raises(InputError, match=expected):
        build_first(loaded, chat)


def test_a_prompt_that_leaves_no_room_for_the_answer_is_found_with_what_sets_the_room(load: Load) -> None:
    config = {**GENERATE, "generation_kwargs": {"until": ["."], "max_gen_toks": 95}}
    (objection,) = objections(load(config), limit=100)

    assert objection.what == (
        "document 0: ContextTooLong: 7 prompt tokens and 95 to generate are 102, more than the engine's 100 "
        "(spec.engine.vllm.maxModelLen; generation.max_gen_toks)"
    )
    assert objections(load(config), limit=102) == []


def test_documents_that_may_fail_refuse_nothing(load: Load) -> None:
    config = {**GENERATE, "generation_kwargs": {"until": ["."], "max_gen_toks": 95}}

    assert objections(load(config), limit=100, may_fail=3) == []


def test_an_empty_prompt_is_found(suite: Suite, load: Load) -> None:
    suite.with_data("blank", [{**row, "question": ""} for row in ROWS])
    (objection,) = objections(load(GENERATE, data="blank"))

    assert "document 0: EmptyPrompt" in objection.what


def test_a_choice_without_a_token_of_its_own_is_found(load: Load) -> None:
    (objection,) = objections(load({**CHOOSE, "target_delimiter": ""}), merging=True)

    assert objection.refused
    assert "document 0: '0' has no token of its own after its prompt, which ends in '0 + 1 ='" in objection.what
    assert objections(load(CHOOSE), merging=True) == []


def test_a_choice_without_a_token_is_only_warned_of_in_a_task_of_lm_evals_own(load: Load) -> None:
    loaded = load({**CHOOSE, "target_delimiter": ""})
    leaf = loaded.leaves[0]
    own = type(leaf)(leaf.name, type(leaf.benchmark)("sums", "sums"), leaf.task, leaf.recipe, leaf.random_state)

    (objection,) = objections(LoadedBenchmarks((own,), {}), merging=True)
    assert not objection.refused
