"""Choice of one of a model's chat templates: by name, from a file, or the default.

transformers gives a tokenizer's ``chat_template`` as one text, or as a map from name to text where the model has
several (a list in tokenizer_config.json, or files in ``additional_chat_templates/``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from evalrun_runner.errors import InputError

DEFAULT = "default"
MAX_BYTES = 1 << 20
"""Maximum size of a file with a chat template; real ones have up to 30 KB."""

Templates = str | Mapping[str, str] | None
"""What a tokenizer holds for a chat template."""


def named_template(templates: Templates, wanted: str) -> str:
    """Return the text of the chat template that the spec names.

    Args:
        templates: The tokenizer's.
        wanted: Name of one of them, or file:///path.

    Raises:
        InputError: There is none of this name, or the file cannot be read.
    """
    if wanted.startswith("file://"):
        return _read(Path(unquote(urlsplit(wanted).path)))
    there = _by_name(templates)
    if wanted in there:
        return there[wanted]
    near = difflib.get_close_matches(wanted, there, n=1)
    known = f"it has {', '.join(sorted(there))}" if there else "it has none at all"
    hint = f"did you mean {near[0]}?" if near else f"a file is written with '/' or .jinja, as in ./{wanted}.jinja"
    raise InputError(f"spec.model.chatTemplate: the model has no chat template named {wanted!r}; {known}\nhint: {hint}")


def default_template(templates: str | Mapping[str, str]) -> str:
    """Return the text of the model's default chat template.

    Raises:
        InputError: The model has several and none is the default.
    """
    there = _by_name(templates)
    if DEFAULT not in there:
        raise InputError(
            f"spec.model: the model has {len(there)} chat templates ({', '.join(sorted(there))}) and none is named "
            "default; expected the name of the one to use\n"
            f"hint: spec.model.chatTemplate: {min(there)}"
        )
    return there[DEFAULT]


def _by_name(templates: Templates) -> Mapping[str, str]:
    if not templates:
        return {}
    return {DEFAULT: templates} if isinstance(templates, str) else templates


def _read(path: Path) -> str:
    expected = "expected a Jinja template in UTF-8"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"spec.model.chatTemplate: {path} has more than {MAX_BYTES >> 20} MiB; {expected}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"spec.model.chatTemplate: {path} cannot be read: {error.strerror}; {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"spec.model.chatTemplate: {path} is not UTF-8 ({error.reason}); {expected}") from error
    if not text.strip():
        raise InputError(f"spec.model.chatTemplate: {path} is empty; {expected}")
    return text
