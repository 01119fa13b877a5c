"""Chat templates: what they render of a conversation, and the moment that they take for now."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from evalrun_runner.benchmarks.chat import ModelChat, chat_template_of, in_first_user_turn
from evalrun_runner.errors import InputError
from support.tokenizers import word_tokenizer

DATED = (
    "{% if strftime_now is defined %}Today: {{ strftime_now('%d %b %Y') }}\n{% endif %}"
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
)
TEXT = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] | trim }}\n{% endfor %}"
PARTS = (
    "{% for message in messages %}[{{ message['role'] }}] {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '\n' }}{% endfor %}"
)
SYSTEM_TEXT_USER_PARTS = (
    "{% for message in messages %}[{{ message['role'] }}] {% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% else %}{{ message['content'][0]['text'] }}{% endif %}{{ '\n' }}{% endfor %}"
)
USER_PARTS_ONLY = (
    "{% for message in messages %}[{{ message['role'] }}] {% if message['role'] == 'user' %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part.text }}{% endfor %}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '\n' }}{% endfor %}"
)
EITHER = (
    "{% for message in messages %}[{{ message['role'] }}] {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}PARTS{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{{ '\n' }}{% endfor %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TEXT
PARTS_NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + PARTS
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 + 1 ="},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 2 ="},
]
WHOLE = "[system] Be brief.\n[user] 1 + 1 =\n[assistant] 2\n[user] 2 + 2 =\n"
QUESTION = [{"role": "user", "content": "What day is it?"}]


def chat_of(template: str, clock: str | None = None) -> ModelChat:
    tokenizer: PreTrainedTokenizerFast = word_tokenizer()
    tokenizer.chat_template = template
    return chat_template_of(tokenizer, clock)


@pytest.mark.parametrize("template", [TEXT, PARTS, SYSTEM_TEXT_USER_PARTS, USER_PARTS_ONLY, EITHER])
def test_every_text_is_rendered_whether_a_template_takes_text_or_lists_of_parts(template: str) -> None:
    assert chat_of(template)(CONVERSATION) == WHOLE


@pytest.mark.parametrize(
    ("template", "roles"),
    [
        (TEXT, set()),
        (EITHER, set()),
        (PARTS, {"system", "user", "assistant"}),
        (SYSTEM_TEXT_USER_PARTS, {"user", "assistant"}),
        (USER_PARTS_ONLY, {"user"}),
        (PARTS_NO_SYSTEM, {"user", "assistant"}),
    ],
)
def test_only_the_roles_that_need_them_get_parts(template: str, roles: set[str]) -> None:
    assert chat_of(template).parts == roles


@pytest.mark.parametrize("template", [NO_SYSTEM, PARTS_NO_SYSTEM])
def test_a_template_that_refuses_a_system_turn_gets_the_conversation_without_it(template: str) -> None:
    assert chat_of(template)(CONVERSATION) == WHOLE.removeprefix("[system] Be brief.\n")


@pytest.mark.parametrize("template", [TEXT, PARTS])
def test_the_beginning_of_an_answer_is_continued(template: str) -> None:
    messages = [{"role": "user", "content": "1 + 1 ="}, {"role": "assistant", "content": "It is"}]
    assert chat_of(template)(messages, add_generation_prompt=False) == "[user] 1 + 1 =\n[assistant] It is"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("Hello!", r"parts; expected a template for"),
        ("{{ raise_exception('tools are needed') }}", r"parts \(tools are needed\); expected"),
        ("{% for message in messages %}", r"parts \(Unexpected end of template"),
    ],
)
def test_a_template_that_renders_no_question_is_refused(template: str, why: str) -> None:
    with pytest.raises(InputError, match=f"does not render the text of a user's turn, .* {why}"):
        chat_of(template)


@pytest.mark.parametrize("template", [NO_SYSTEM, PARTS_NO_SYSTEM, TEXT])
def test_the_system_turn_can_stand_in_the_first_user_turn(template: str) -> None:
    chat = in_first_user_turn(chat_of(template))
    assert chat(CONVERSATION) == "[user] Be brief.\n\n1 + 1 =\n[assistant] 2\n[user] 2 + 2 =\n"
    spaced = [{"role": "system", "content": "Be brief.\n"}, *CONVERSATION[1:2]]
    assert chat(spaced) == "[user] Be brief.\n1 + 1 =\n"
    assert chat(CONVERSATION[1:2]) == "[user] 1 + 1 =\n"


def test_a_template_takes_the_clock_it_is_given_for_now() -> None:
    assert chat_of(DATED, "2024-07-26T10:00:00+00:00")(QUESTION) == "Today: 26 Jul 2024\nuser: What day is it?\n"
    assert chat_of(DATED, "2031-01-02T23:59:59+00:00")(QUESTION).startswith("Today: 02 Jan 2031\n")


def test_a_macro_of_a_template_takes_the_same_clock() -> None:
    template = "{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}{{ day() }} {{ messages[-1]['content'] }}"
    assert chat_of(template, "2024-07-26T10:00:00+00:00")(QUESTION) == "2024-07-26 What day is it?"
