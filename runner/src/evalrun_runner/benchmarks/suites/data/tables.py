"""Tables out of batches, in little memory: a large one lies in a temporary file that has no name and is mapped."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.ipc

from evalrun_runner.benchmarks.suites.data.batches import DataBatch
from evalrun_runner.benchmarks.suites.data.columns import ColumnKind, convert, store, wider
from evalrun_runner.benchmarks.suites.data.features import ColumnType
from evalrun_runner.benchmarks.suites.data.values import WrittenNumber

LARGE_BYTES = 64 << 20
"""Size of a split's files from which its table is mapped from a temporary file."""
_TYPE_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    WrittenNumber: "a number",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """First value of a type in a column."""

    file: str
    row: int
    value: Any


@dataclass(frozen=True)
class DataTable:
    """All rows of one split."""

    table: pa.Table
    features: datasets.Features
    kinds: Mapping[str, ColumnKind]
    """Kinds of the columns whose type the task does not give."""
    seen: Mapping[str, Mapping[str, FirstSeen]]
    """By column, the types of its values that are not null, each with its first value."""


@dataclass
class _Column:
    kind: ColumnKind = ColumnKind.NULL
    given: ColumnType | None = None
    seen: dict[str, FirstSeen] = field(default_factory=dict)

    @property
    def arrow(self) -> pa.DataType:
        return self.given.arrow if self.given else self.kind.arrow

    @property
    def feature(self) -> Any:
        return self.given.feature if self.given else self.kind.feature


def make_table(batches: Iterable[DataBatch], types: Mapping[str, ColumnType], *, large: bool) -> DataTable:
    """Make a table of all batches.

    Args:
        batches: The rows, gone through once.
        types: Types of columns that the task gives.
        large: Whether to keep the table in a temporary file instead of in memory.

    Raises:
        InputError: A value has not the type that the task gives its column.
    """
    maker = _TableMaker(types, large=large)
    for batch in batches:
        maker.add(batch)
    return maker.finish()


class _TableMaker:
    def __init__(self, types: Mapping[str, ColumnType], *, large: bool) -> None:
        self._types = types
        self._large = large
        self._columns: dict[str, _Column] = {}
        self._segments: list[_Segment] = []

    def add(self, batch: DataBatch) -> None:
        """Add rows behind those that are there."""
        stored: dict[str, tuple[ColumnKind, pa.Array]] = {}
        for name, values in batch.columns.items():
            column = self._columns.setdefault(name, _Column(given=self._types.get(name)))
            _note_types(column.seen, batch, values)
            if column.given:
                stored[name] = column.kind, column.given.store(name, batch.file, batch.rows, values)
            else:
                stored[name] = store(values)
                column.kind = wider(column.kind, stored[name][0])
        self._write(stored, len(batch.rows))

    def finish(self) -> DataTable:
        """Return the table of all rows."""
        schema = self._schema()
        tables = [segment.table() if segment.schema == schema else self._widened(segment) for segment in self._segments]
        kinds = {name: column.kind for name, column in self._columns.items() if column.given is None}
        features = datasets.Features({name: column.feature for name, column in self._columns.items()})
        seen = {name: column.seen for name, column in self._columns.items()}
        return DataTable(pa.concat_tables(tables) if tables else schema.empty_table(), features, kinds, seen)

    def _write(self, stored: Mapping[str, tuple[ColumnKind, pa.Array]], length: int) -> None:
        schema = self._schema()
        if not self._segments or self._segments[-1].schema != schema:
            kinds = {name: column.kind for name, column in self._columns.items()}
            self._segments.append(_Segment(schema, kinds, large=self._large))
        arrays = []
        for name, column in self._columns.items():
            if name not in stored:
                arrays.append(pa.nulls(length, column.arrow))
            elif column.given:
                arrays.append(stored[name][1])
            else:
                arrays.append(convert(stored[name][1], stored[name][0], column.kind))
        self._segments[-1].add(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def _widened(self, segment: _Segment) -> pa.Table:
        """Return a segment's rows in the columns and kinds that came later."""
        rewritten = _TableMaker(self._types, large=self._large)
        rewritten._columns = self._columns
        for batch in segment.table().to_batches():
            names = batch.schema.names
            rewritten._write(
                {name: (segment.kinds[name], column) for name, column in zip(names, batch.columns, strict=True)},
                batch.num_rows,
            )
        return rewritten._segments[-1].table() if rewritten._segments else self._schema().empty_table()

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, column.arrow) for name, column in self._columns.items()])


class _Segment:
    """Consecutive batches of one schema, in memory or in a temporary file."""

    def __init__(self, schema: pa.Schema, kinds: Mapping[str, ColumnKind], *, large: bool) -> None:
        self.schema = schema
        self.kinds = kinds
        self._file = tempfile.TemporaryFile() if large else None  # noqa: SIM115  # closed by table()
        self._sink = pa.PythonFile(self._file, "w") if self._file else pa.BufferOutputStream()
        self._writer = pa.ipc.new_stream(self._sink, schema)
        self._table: pa.Table | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def table(self) -> pa.Table:
        """Return the batches as a table; none can be added after it."""
        if self._table is None:
            self._writer.close()
            self._table = pa.ipc.open_stream(self._content()).read_all()
        return self._table

    def _content(self) -> pa.Buffer:
        if self._file is None:
            return self._sink.getvalue()
        self._file.flush()
        # The mapping holds the file, which has no name any more: it is gone when the table is.
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        return pa.py_buffer(mapped)


def _note_types(seen: dict[str, FirstSeen], batch: DataBatch, values: list[Any] | pa.Array) -> None:
    if isinstance(values, pa.Array):
        values = values.to_pylist() if not seen else []
    for kind in set(map(type, values)):
        name = _TYPE_NAMES.get(kind)
        if name is not None and name not in seen:
            place = next(place for place, value in enumerate(values) if type(value) is kind)
            seen[name] = FirstSeen(batch.file, batch.rows[place], values[place])


def column_values(table: DataTable, name: str) -> Iterator[Any]:
    """Yield a column's values as documents hold them."""
    feature = table.features[name]
    decode = getattr(feature, "decode_example", None)
    for chunk in table.table.column(name).chunks:
        for value in chunk.to_pylist():
            yield decode(value) if decode and value is not None else value
