"""Arguments of a chat template: variables that its text reads, such as enable_thinking."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

RESERVED_ARGUMENTS = frozenset(
    {
        *("add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents"),
        *("max_length", "messages", "padding", "raise_exception", "return_assistant_tokens_mask", "return_dict"),
        *("return_tensors", "self", "strftime_now", "tokenize", "tokenizer_kwargs", "tools", "truncation"),
    }
)
"""Names that are no variables of a template but the renderer's own: transformers takes them for its settings."""


_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,63}"


def _name(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(_VARIABLE, value):
        raise PydanticCustomError("template_argument", "must be the name of a variable, such as enable_thinking")
    if value in RESERVED_ARGUMENTS:
        raise PydanticCustomError(
            "template_argument", "is the renderer's own, not a variable of a template; expected one that it reads"
        )
    return value


def _plain(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("template_value", "must be a text, a number, true or false")
    return value


TemplateArgument = Annotated[str, Field(max_length=64), BeforeValidator(_name)]
"""Name of a variable of a chat template."""
TemplateValue = Annotated[
    bool | int | float | Annotated[str, Field(max_length=4096)],
    BeforeValidator(_plain),
    WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
]
"""Value of such a variable: the API server's schemas know no choice of types."""
