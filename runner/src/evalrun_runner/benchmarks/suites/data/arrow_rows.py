"""Rows of Parquet and Arrow files. What JSON has no type for becomes text: dates, times, exact decimals, bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from evalrun_runner.benchmarks.suites.data.batches import ROWS, DataBatch
from evalrun_runner.benchmarks.suites.spelling import suggestion
from evalrun_runner.errors import InputError


def read_parquet(file: Path, columns: list[str] | None) -> Iterator[DataBatch]:
    """Yield the rows of a Parquet file; ``columns`` are those to read, None for all."""
    with pq.ParquetFile(file) as parquet:
        _check_columns(file, columns, parquet.schema_arrow.names)
        yield from _batches(file, parquet.iter_batches(batch_size=ROWS, columns=columns))


def read_arrow(file: Path, columns: list[str] | None) -> Iterator[DataBatch]:
    """Yield the rows of an Arrow file, be it of the streaming or the file format."""
    with pa.memory_map(str(file)) as source:
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_file(source)
        _check_columns(file, columns, stream.schema.names)
        batches = (
            iter(stream)
            if isinstance(stream, pa.RecordBatchReader)
            else (stream.get_batch(place) for place in range(stream.num_record_batches))
        )
        yield from _batches(file, (batch.select(columns) if columns else batch for batch in batches))


def _check_columns(file: Path, columns: list[str] | None, there: list[str]) -> None:
    for column in columns or ():
        if column not in there:
            raise InputError(
                f"its data cannot be read: {file.name} has no column {column!r}; {suggestion(column, there)}"
            )


def _batches(file: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[DataBatch]:
    start = 1
    for batch in batches:
        columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
        yield DataBatch(file.name, range(start, start + batch.num_rows), columns)
        start += batch.num_rows


def _values(column: pa.Array) -> list[Any] | pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_string(kind):
        return column
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            if value and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
                return {str(_plain(key)): _plain(entry) for key, entry in value}
            return [_plain(entry) for entry in value]
        case dict():
            return {key: _plain(entry) for key, entry in value.items()}
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
    return str(value)
