"""Exact JSON codec for requests and documents.

Plain JSON has no tuples. Here a tuple is ``{"$tuple": […]}``, a reference to a shared text ``{"$text": n}``, and an
object that happens to look like one of these ``{"$dict": {…}}``; everything else is plain JSON. NaN and the infinities
are written as Python's json writes them (``NaN``, ``Infinity``), because log-probabilities may be infinite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from evalrun_runner.errors import InputError

_TUPLE, _DICT, _TEXT = "$tuple", "$dict", "$text"
_SHARED_FROM = 64
"""Minimum length in characters of a text that is stored in the table of shared texts."""


class Texts:
    """Table of one item's distinct long texts: a question's four choices share one context, which is stored once."""

    def __init__(self) -> None:
        self._indexes: dict[str, int] = {}

    def index(self, text: str) -> int:
        """Return the text's index in the table, adding the text at its first use."""
        return self._indexes.setdefault(text, len(self._indexes))

    @property
    def table(self) -> list[str]:
        """Texts in the order of their indexes."""
        return list(self._indexes)


def pack(value: Any, field: str, texts: Texts | None = None) -> Any:
    """Convert a value to plain JSON types.

    Args:
        value: The value.
        field: Location of the value in the item, for the error message.
        texts: Table of shared texts to which long texts are moved; None to keep them in place.

    Raises:
        InputError: JSON cannot represent the value.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return {_TEXT: texts.index(value)} if texts is not None and len(value) >= _SHARED_FROM else value
        case tuple():
            return {_TUPLE: [pack(one, f"{field}[{n}]", texts) for n, one in enumerate(value)]}
        case list():
            return [pack(one, f"{field}[{n}]", texts) for n, one in enumerate(value)]
        case Mapping():
            return _pack_mapping(value, field, texts)
        case _:
            raise InputError(
                f"{field} holds a {type(value).__name__}, which the manifest cannot keep: expected text, numbers, "
                "true, false, null, lists and objects. Convert or drop it in the task's process_docs or doc_to_text"
            )


def _pack_mapping(value: Mapping[Any, Any], field: str, texts: Texts | None) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise InputError(
                f"{field} has the key {key!r}, which is no text: expected an object with texts as its keys"
            )
    packed = {key: pack(one, f"{field}.{key}", texts) for key, one in value.items()}
    return {_DICT: packed} if _is_tag(packed) else packed


def unpack(value: Any, texts: Sequence[str] = ()) -> Any:
    """Invert ``pack``; mappings become dicts with their order preserved."""
    if isinstance(value, list):
        return [unpack(one, texts) for one in value]
    if not isinstance(value, dict):
        return value
    if not _is_tag(value):
        return {key: unpack(one, texts) for key, one in value.items()}
    ((tag, inner),) = value.items()
    match tag:
        case "$tuple":
            return tuple(unpack(one, texts) for one in inner)
        case "$text":
            return texts[inner]
        case _:
            return {key: unpack(one, texts) for key, one in inner.items()}


def _is_tag(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in {_TUPLE, _DICT, _TEXT}


def to_json(value: Any) -> str:
    """Encode a value as compact, readable JSON text that is valid UTF-8: lone surrogates are escaped."""
    return escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def escaped(text: str) -> str:
    r"""Escape lone surrogates, which UTF-8 cannot encode, as ``\udXXX``; in JSON, the value stays the same."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
