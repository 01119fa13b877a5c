"""Values of data files as they stand: numbers that keep their digits, and JSON that keeps its types."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from datasets.features.features import _FEATURE_TYPES


class WrittenNumber(str):
    """Decimal number as it is written, where a float would print other digits: ``0.10``, ``1E5``."""

    __slots__ = ()


def decimal(text: str) -> float | WrittenNumber:
    """Return a decimal number as a float if that prints as it is written; else as it is written."""
    value = float(text)
    return value if repr(value) == text else WrittenNumber(text)


class RepeatedKeyError(ValueError):
    """A key that stands twice in one JSON object; the message is the key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for place, key in enumerate(keys) if key in keys[:place]))
    return found


def _constant(text: str) -> WrittenNumber | None:
    """Return null for NaN, which is how Python's tables write a cell without a value; infinity as it is written."""
    return None if text == "NaN" else WrittenNumber(text)


DECODER = json.JSONDecoder(parse_float=decimal, parse_constant=_constant, object_pairs_hook=_object)
"""Decoder of JSON that keeps all digits, and refuses an object with one key twice."""


def dumps(value: object) -> str:
    """Encode a value as JSON text. ASCII only, so that lone surrogates survive."""
    return json.dumps(value, separators=(",", ":"))


_MARK = "\x1e"
"""First character of a stored JSON text (RFC 7464). A text that a task's own code puts into the column has none."""


def to_stored(value: object) -> str | None:
    """Return a value of any JSON type as ``WrittenJson`` stores it."""
    return None if value is None else _MARK + dumps(value)


@dataclass
class WrittenJson:
    """Feature of ``datasets`` for values of any JSON type, each row its own.

    ``datasets.Json`` is not enough: it decodes with ujson, which has no integers above 64 bits and rounds decimals.
    """

    decode: bool = True
    id: str | None = field(default=None, repr=False)
    # Another type than that of plain text, by which datasets tells new texts of a task's own code from stored ones.
    pa_type: ClassVar[pa.DataType] = pa.large_string()
    _type: str = field(default="WrittenJson", init=False, repr=False)

    def __call__(self) -> pa.DataType:
        """Return the type that the values are stored in."""
        return self.pa_type

    def encode_example(self, value: object) -> str | None:
        """Return a value as it is stored."""
        return to_stored(value)

    def decode_example(self, value: str | None, token_per_repo_id: object = None) -> Any:
        """Return a stored value; ``token_per_repo_id`` is part of the interface, and unused."""
        return None if value is None else DECODER.decode(value.removeprefix(_MARK))

    def cast_storage(self, storage: pa.Array) -> pa.Array:
        """Return stored values unchanged. ``datasets`` asks for it when the task's own code has made new rows.

        Raises:
            TypeError: These are other values, which ``datasets`` then finds a type for.
        """
        is_text = pa.types.is_string(storage.type) or storage.type.equals(self.pa_type)
        stored = storage.cast(self.pa_type) if is_text or pa.types.is_null(storage.type) else storage
        if not stored.type.equals(self.pa_type) or pc.all(pc.starts_with(stored, _MARK)).as_py() is False:
            raise TypeError("the values are not those of the file")
        return stored


# What register_feature does, without its warning that it is experimental; datasets is pinned.
_FEATURE_TYPES[WrittenJson.__name__] = WrittenJson
