"""Chat templates: what they render, and the moment that they take for now."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from evalrun_runner.benchmarks.chat import chat_template_of
from support.tokenizers import word_tokenizer

DATED = (
    "{% if strftime_now is defined %}Today: {{ strftime_now('%d %b %Y') }}\n{% endif %}"
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
)
QUESTION = [{"role": "user", "content": "What day is it?"}]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


def test_a_template_takes_the_clock_it_is_given_for_now(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = DATED
    chat = chat_template_of(tokenizer, "2024-07-26T10:00:00+00:00")
    assert chat(QUESTION) == "Today: 26 Jul 2024\nuser: What day is it?\n"
    assert chat_template_of(tokenizer, "2031-01-02T23:59:59+00:00")(QUESTION).startswith("Today: 02 Jan 2031\n")


def test_a_macro_of_a_template_takes_the_same_clock(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = (
        "{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}{{ day() }} {{ messages[0]['content'] }}"
    )
    assert chat_template_of(tokenizer, "2024-07-26T10:00:00+00:00")(QUESTION) == "2024-07-26 What day is it?"
