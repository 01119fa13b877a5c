"""Batches of rows, which every reader yields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

ROWS = 10_000
CHARACTERS = 8 << 20
"""Bounds of a batch: rows, and characters of text."""


@dataclass(frozen=True, slots=True)
class DataBatch:
    """Rows of one file, by column. Columns that a row lacks are null in it."""

    file: str
    rows: Sequence[int]
    """Number of each row in the file, the first is 1."""
    columns: Mapping[str, list[Any] | pa.Array]
    """Values of each column: plain Python values, or Arrow values of a plain type."""


def batches_of(file: str, rows: Iterable[tuple[int, dict[str, Any], int]]) -> Iterator[DataBatch]:
    """Yield batches of rows that are mappings, each given with its number and its length in characters."""
    numbers: list[int] = []
    held: list[dict[str, Any]] = []
    characters = 0
    for number, row, length in rows:
        numbers.append(number)
        held.append(row)
        characters += length
        if len(held) >= ROWS or characters >= CHARACTERS:
            yield DataBatch(file, numbers, _columns(held))
            numbers, held, characters = [], [], 0
    if held:
        yield DataBatch(file, numbers, _columns(held))


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names: dict[str, None] = {}
    for row in rows:
        if row.keys() != names.keys():
            names.update(dict.fromkeys(row))
    return {name: [row.get(name) for row in rows] for name in names}
