"""Kinds of columns: how values of a column are stored in Arrow, such that each comes back as it stands in the file.

A column has a kind after each batch. Where the next batch does not fit, the column takes a wider kind, and what is
stored is converted without a loss: a float is stored as one only if it prints as it was written.
"""

from __future__ import annotations

from enum import Enum
from itertools import chain
from typing import Any

import datasets
import pyarrow as pa

from evalrun_runner.benchmarks.suites.data.values import WrittenJson, WrittenNumber, to_stored


class ColumnKind(Enum):
    """How a column is stored."""

    NULL = "null"
    BOOL = "bool"
    INT = "int64"
    FLOAT = "float64"
    DECIMAL = "decimal"
    """Decimal numbers as text, because one of them would print otherwise than it is written."""
    TEXT = "string"
    TEXTS = "list of strings"
    JSON = "json"
    """Values of several types, lists and objects, each as JSON text."""

    @property
    def arrow(self) -> pa.DataType:
        """Type of the stored values."""
        return _STORED.get(self, pa.string())

    @property
    def feature(self) -> Any:
        """Feature of ``datasets`` that gives the values back."""
        match self:
            case ColumnKind.JSON:
                return WrittenJson()
            case ColumnKind.TEXTS:
                return datasets.List(datasets.Value("string"))
            case ColumnKind.DECIMAL:
                return datasets.Value("string")
        return datasets.Value(self.value)


_STORED = {
    ColumnKind.NULL: pa.null(),
    ColumnKind.BOOL: pa.bool_(),
    ColumnKind.INT: pa.int64(),
    ColumnKind.FLOAT: pa.float64(),
    ColumnKind.TEXTS: pa.list_(pa.string()),
    ColumnKind.JSON: WrittenJson.pa_type,
}
_BY_TYPES = {
    frozenset[type](): ColumnKind.NULL,
    frozenset({bool}): ColumnKind.BOOL,
    frozenset({int}): ColumnKind.INT,
    frozenset({float}): ColumnKind.FLOAT,
    frozenset({WrittenNumber}): ColumnKind.DECIMAL,
    frozenset({float, WrittenNumber}): ColumnKind.DECIMAL,
    frozenset({str}): ColumnKind.TEXT,
}
_NULL = type(None)


def store(values: list[Any] | pa.Array) -> tuple[ColumnKind, pa.Array]:
    """Store the values of one batch in the narrowest kind that fits them."""
    if isinstance(values, pa.Array):
        return _kind_of_arrow(values.type), values
    types = frozenset(map(type, values)) - {_NULL}
    kind = _BY_TYPES.get(types, ColumnKind.JSON)
    if types == {list} and {str}.issuperset(map(type, chain.from_iterable(filter(None, values)))):
        kind = ColumnKind.TEXTS
    if kind is ColumnKind.DECIMAL:
        values = [repr(value) if type(value) is float else value for value in values]
    if kind is not ColumnKind.JSON:
        try:
            return kind, pa.array(values, type=kind.arrow)
        except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
            pass  # An integer of more than 64 bits, or half of a surrogate pair: JSON text holds both.
    return ColumnKind.JSON, pa.array([to_stored(value) for value in values], type=WrittenJson.pa_type)


def wider(one: ColumnKind, other: ColumnKind) -> ColumnKind:
    """Return the narrowest kind that holds the values of both."""
    if one is other or other is ColumnKind.NULL:
        return one
    if one is ColumnKind.NULL:
        return other
    return ColumnKind.DECIMAL if {one, other} == {ColumnKind.FLOAT, ColumnKind.DECIMAL} else ColumnKind.JSON


def convert(stored: pa.Array, kind: ColumnKind, to: ColumnKind) -> pa.Array:
    """Convert stored values of one kind to a wider kind."""
    if kind is to:
        return stored
    if kind is ColumnKind.NULL:
        return pa.nulls(len(stored), to.arrow)
    write = repr if to is ColumnKind.DECIMAL else to_stored
    return pa.array([None if value is None else write(value) for value in stored.to_pylist()], type=to.arrow)


def _kind_of_arrow(stored: pa.DataType) -> ColumnKind:
    return next((kind for kind, arrow in _STORED.items() if stored.equals(arrow)), ColumnKind.TEXT)
