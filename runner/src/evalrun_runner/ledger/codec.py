"""Exact JSON for what requests and documents hold.

Plain JSON forgets tuples. Here a tuple is ``{"$tuple": […]}``, a reference to a shared text ``{"$text": n}``, and an
object that happens to look like one of these ``{"$dict": {…}}``; everything else is itself. NaN and the infinities are
written as Python's json writes them (``NaN``, ``Infinity``), since log-probabilities may be infinite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from evalrun_runner.errors import InputError

_TUPLE, _DICT, _TEXT = "$tuple", "$dict", "$text"
_SHARED_FROM = 64
"""Characters from which a text is worth a place in the table of shared texts."""


class Texts:
    """The distinct long texts of one item: the four choices of a question share one context, which is kept once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """The text's place in the table, given at its first use."""
        return self._places.setdefault(text, len(self._places))

    @property
    def table(self) -> list[str]:
        """The texts in the order of their places."""
        return list(self._places)


def pack(value: Any, field: str, texts: Texts | None = None) -> Any:
    """The value as plain JSON types; long texts as references if a table is given.

    Raises ``InputError`` for what JSON cannot hold; ``field`` says where in the item the value is.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return {_TEXT: texts.place(value)} if texts is not None and len(value) >= _SHARED_FROM else value
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
    """The inverse of ``pack``; mappings come back as dicts, in their order."""
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
    """Compact JSON text that a Parquet string can hold: readable, lone surrogates as escapes."""
    return escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def escaped(text: str) -> str:
    r"""The text with lone surrogates as ``\udXXX``, which UTF-8 cannot hold; within JSON that is the same value."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
