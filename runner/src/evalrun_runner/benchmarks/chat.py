"""Chat templates with the semantics of lm-eval's own model classes (``HFLM.apply_chat_template``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jinja2


class ChatTemplate(Protocol):
    """Callable that renders a conversation as the text of a prompt."""

    def __call__(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Render ``{"role", "content"}`` messages; without a generation prompt the last message is continued."""


def chat_template_of(tokenizer: Any, **arguments: Any) -> ChatTemplate:
    """Return the chat template of a transformers tokenizer.

    A template that refuses system messages gets the conversation without them, as in lm-eval.

    Args:
        tokenizer: The transformers tokenizer.
        arguments: Arguments passed on to the template, such as ``enable_thinking``.
    """

    def apply(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        def render(conversation: list[Mapping[str, str]]) -> str:
            text = tokenizer.apply_chat_template(
                conversation,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                **arguments,
            )
            return str(text)

        try:
            return render(list(messages))
        except jinja2.TemplateError:
            return render([message for message in messages if message["role"] != "system"])

    return apply
