"""Chat templates with the semantics of lm-eval's own model classes (``HFLM.apply_chat_template``).

Two things are added. A template that renders text only from a list of parts (``{"type": "text", "text": …}``, as those
of many vision models do) gets parts: lm-eval gives it plain text, and such a template drops that, question included,
without an error. And the text of the system turn can be put into the first user turn, for templates without that turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import jinja2
from lm_eval.api.utils import maybe_delimit

from evalrun_runner.errors import InputError, first_line

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
Message = Mapping[str, Any]
TURN_DELIMITER = "\n\n"
"""Text between the system turn's text and the first user turn's, unless one of them brings white space."""


class ChatTemplate(Protocol):
    """Callable that renders a conversation as the text of a prompt."""

    def __call__(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Render ``{"role", "content"}`` messages; without a generation prompt the last message is continued."""


@dataclass(frozen=True, slots=True)
class ModelChat:
    """The chat template of a model: a ``ChatTemplate``."""

    render: Callable[..., str]
    """Renders messages as they are, with or without a generation prompt, and with values (``more``) for some of the
    template's variables; raises jinja2's errors."""
    parts: frozenset[str]
    """Roles whose text the template takes only from a list of parts."""

    def with_arguments(self, arguments: Mapping[str, Any]) -> ModelChat:
        """Return the template with values for some of its variables."""
        return replace(self, render=partial(self.render, more=arguments))

    def __call__(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation. A template that refuses system messages gets none, as in lm-eval."""
        shaped = _shaped(messages, self.parts)
        try:
            return self.render(shaped, add_generation_prompt)
        except jinja2.TemplateError:
            return self.render([message for message in shaped if message["role"] != SYSTEM], add_generation_prompt)


def chat_template_of(tokenizer: Any, clock: str | None = None, **arguments: Any) -> ModelChat:
    """Return the chat template of a transformers tokenizer.

    Args:
        tokenizer: The transformers tokenizer.
        clock: Moment that the template takes for now, ISO 8601; None for the present moment.
        arguments: Arguments passed on to the template, such as ``enable_thinking``.

    Raises:
        InputError: The template renders no text of the user.
    """
    render = partial(_render, tokenizer, {**_clock(tokenizer, clock), **arguments})
    return ModelChat(render, _roles_in_parts(render))


def in_first_user_turn(chat: ChatTemplate) -> ChatTemplate:
    """Return the template with the text of a system turn put in front of the first user turn's."""

    def apply(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        system = [message["content"] for message in messages if message["role"] == SYSTEM]
        others = [message for message in messages if message["role"] != SYSTEM]
        first = next((number for number, message in enumerate(others) if message["role"] == USER), None)
        if system and first is not None:
            text = maybe_delimit(TURN_DELIMITER.join(system), others[first]["content"], TURN_DELIMITER)
            others[first] = {**others[first], "content": text}
            messages = others
        return chat(messages, add_generation_prompt)

    return apply


def _render(
    tokenizer: Any,
    arguments: Mapping[str, Any],
    messages: list[Message],
    add_generation_prompt: bool,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    return str(
        tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **{**arguments, **more},
        )
    )


def _clock(tokenizer: Any, moment: str | None) -> dict[str, Any]:
    """Return the argument that stops the clock of a template that reads one.

    transformers gives every template the function ``strftime_now`` as a global of Jinja's environment; a variable of
    the same name, which ``apply_chat_template`` passes on as it does every further argument, comes before a global.
    """
    if moment is None or "strftime_now" not in str(tokenizer.chat_template):
        return {}
    return {"strftime_now": datetime.fromisoformat(moment).strftime}


def _shaped(messages: Sequence[Mapping[str, str]], parts: frozenset[str]) -> list[Message]:
    return [
        {**message, "content": [{"type": "text", "text": message["content"]}]} if message["role"] in parts else message
        for message in messages
    ]


# What a template renders ---------------------------------------------------------------------------------------------

PROBES = {role: f"probetextof{role}" for role in (SYSTEM, USER, ASSISTANT)}
"""Texts by role that no template holds or rewrites: one word of small letters."""


def probe(*roles: str) -> list[Message]:
    """Return a conversation of these roles, each with its probe for a text."""
    return [{"role": role, "content": PROBES[role]} for role in roles]


def _roles_in_parts(render: Callable[[list[Message], bool], str]) -> frozenset[str]:
    """Find the roles whose text is rendered from a list of parts and not from plain text.

    Raises:
        InputError: Text of the user is rendered from neither.
    """
    trouble: list[jinja2.TemplateError] = []

    def renders(roles: Sequence[str], wanted: str, parts: frozenset[str]) -> bool:
        try:
            text = render(_shaped(probe(*roles), parts), True)
            # A template that expects plain text prints a list as Python writes it.
            return PROBES[wanted] in text and "'type': 'text'" not in text
        except jinja2.TemplateError as error:
            trouble.append(error)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError):
            pass  # text where a template counts on a list, or a list where it counts on text
        return False

    parts: frozenset[str] = frozenset()
    for roles in ((USER,), (USER, ASSISTANT, USER), (SYSTEM, USER)):
        wanted = next(role for role in (ASSISTANT, SYSTEM, USER) if role in roles)
        if not renders(roles, wanted, parts):
            if renders(roles, wanted, parts | {wanted}):
                parts |= {wanted}
            elif wanted == USER:
                why = f" ({first_line(trouble[-1])})" if trouble else ""
                raise InputError(
                    f"spec.model: the chat template does not render the text of a user's turn, neither from plain text "
                    f"nor from a list of parts{why}; expected a template for conversations of text\n"
                    "hint: name another of the model's templates or a file in spec.model.chatTemplate, or leave "
                    "applyChatTemplate out"
                )
    return parts
