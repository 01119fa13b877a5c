"""Blocks of JSON lines by Arrow's parser, several times as fast as Python's, where it gives the very same values.

The types of the columns are learned from rows that Python has read, and given to Arrow, which then guesses nothing. It
is used for texts, whole numbers, truth values, lists of texts, and decimals that print as they are written. A block
that Arrow refuses for any reason, or that holds another number of rows than lines, is for Python, which names what is
wrong.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.json

from evalrun_runner.benchmarks.suites.data.columns import ColumnKind, store, wider

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_. -]+")
_PARSED = frozenset(
    {
        *(ColumnKind.NULL, ColumnKind.BOOL, ColumnKind.INT, ColumnKind.FLOAT, ColumnKind.TEXT, ColumnKind.TEXTS),
    }
)
_THREADED_BYTES = 1 << 20


class BlockParser:
    """Parser of blocks that hold the columns that were seen so far."""

    def __init__(self) -> None:
        self._kinds: dict[str, ColumnKind] = {}
        self._fits = True

    def learn(self, columns: Mapping[str, list[Any] | pa.Array]) -> None:
        """Learn the columns of rows that Python has read."""
        if not self._fits:
            return  # Columns only get wider.
        for name, values in columns.items():
            self._kinds[name] = wider(self._kinds.get(name, ColumnKind.NULL), store(values)[0])
        kinds = self._kinds.values()
        # The text of decimals is found by their keys.
        findable = ColumnKind.FLOAT not in kinds or all(map(_PLAIN_KEY.fullmatch, self._kinds))
        self._fits = _PARSED.issuperset(kinds) and findable

    def parse(self, block: bytes, lines: int) -> dict[str, pa.Array] | None:
        """Return the columns of a block of whole lines; None if it is for Python."""
        if not self._fits or not self._kinds:
            return None
        schema = pa.schema([(name, kind.arrow) for name, kind in self._kinds.items()])
        try:
            table = pa.json.read_json(
                io.BytesIO(block),
                read_options=pa.json.ReadOptions(block_size=min(len(block) + 1, _THREADED_BYTES)),
                parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
            )
            table.validate(full=True)
        except (pa.ArrowException, ValueError):
            return None
        if table.num_rows != lines:
            return None
        columns = {name: _whole(table.column(name)) for name in self._kinds}
        decimals = [name for name, kind in self._kinds.items() if kind is ColumnKind.FLOAT]
        return columns if all(_prints_as_written(name, columns[name], block) for name in decimals) else None


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _prints_as_written(name: str, column: pa.Array, block: bytes) -> bool:
    """Return whether each number of a column is written in the block as Python prints it."""
    # Inside a text, the second quote would have a backslash before it, and no column holds objects: this is the key.
    written = re.findall(rb'"%s"\s*:\s*([-+.0-9eE]+)' % re.escape(name).encode(), block)
    return len(written) == len(column) - column.null_count and all(repr(float(one)).encode() == one for one in written)
