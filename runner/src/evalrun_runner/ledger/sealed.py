"""Parquet files whose integrity is verified before anything parses them. The only module that imports pyarrow.

The file's metadata contains the sha256 of the file itself, computed with zeros in place of the digits. Any changed or
missing byte is thus found before damaged bytes reach the Parquet reader, and every Parquet tool can still read the
file. Parquet's own page checksums would cover pages only. The bytes depend on the content only, not on time or chance.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow._parquet import ParquetReader

from evalrun_api.wire.outputs import FORMAT_VERSION, format_version_of
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.formats import check_readable

_META = "evalrun"
_SEAL = "evalrun.sealed"
_MARK = b"evalrun.sealed-sha256:"
_ZEROS = b"0" * 64
_SCHEMA = 1
"""Never changed: what EvalRun looked for before there was ``formatVersion``."""

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()
"""Types of columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """Column with its name, its type and one value per row."""

    name: str
    type: Any
    values: Sequence[Any]


def write_sealed(kind: str, meta: Mapping[str, Any], columns: Sequence[Column], rows_per_group: int) -> bytes:
    """Encode a sealed Parquet file (zstd).

    Args:
        kind: Kind of the object.
        meta: Further metadata, of JSON types only.
        columns: The columns.
        rows_per_group: Number of rows that can be read separately.

    Raises:
        LedgerCorrupt: This version of pyarrow orders the footer differently.
    """
    table = pa.table(
        [pa.array(column.values, column.type) for column in columns],
        schema=pa.schema([(column.name, column.type) for column in columns]),
    )
    buffer = io.BytesIO()
    # Statistics would copy long texts into the footer. An Arrow schema is redundant for plain Parquet types.
    with pq.ParquetWriter(
        buffer, table.schema, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False
    ) as writer:
        writer.write_table(table, row_group_size=rows_per_group)
        writer.add_key_value_metadata(
            {
                _META: json.dumps({"kind": kind, "schema": _SCHEMA, "formatVersion": FORMAT_VERSION, **meta}),
                _SEAL: (_MARK + _ZEROS).decode(),
            }
        )
    blank = buffer.getvalue()
    place = _digits(blank)
    if blank[place : place + 64] != _ZEROS:
        raise LedgerCorrupt(f"the {kind} cannot be sealed: this pyarrow ({pa.__version__}) orders the footer otherwise")
    return blank[:place] + hashlib.sha256(blank).hexdigest().encode() + blank[place + 64 :]


class SealedFile:
    """Sealed file whose integrity was verified."""

    def __init__(self, data: bytes, kind: str, where: str) -> None:
        """Open a file.

        Args:
            data: Its content.
            kind: What it must hold.
            where: The object, for messages.

        Raises:
            LedgerCorrupt: Its seal does not hold, or it is of another kind.
            OtherFormat: A newer EvalRun wrote it.
        """
        _verify(data, where)
        # What pq.ParquetFile wraps: beside a small part, its Python takes as long as the decoding itself.
        self._file = ParquetReader()
        self._file.open(pa.BufferReader(data))
        self._footer = self._file.metadata
        self.meta: dict[str, Any] = json.loads(self._footer.metadata[_META.encode()])
        if self.meta["kind"] != kind:
            raise LedgerCorrupt(f"{where} is a {self.meta['kind']}; expected a {kind}. It belongs elsewhere")
        try:
            version = format_version_of(self.meta)
        except ValueError as error:
            raise LedgerCorrupt(f"{where} is damaged: {error}") from error
        check_readable(version, where)

    @property
    def row_count(self) -> int:
        """Number of rows in the file."""
        return int(self._footer.num_rows)

    def rows(self, first: int, count: int) -> list[dict[str, Any]]:
        """Read ``count`` rows from ``first`` on as ``{column: value}``, decoding only their row groups."""
        groups: list[int] = []
        skipped = start = 0
        for group in range(self._footer.num_row_groups):
            rows = self._footer.row_group(group).num_rows
            if start + rows <= first:
                skipped += rows
            elif start < first + count:
                groups.append(group)
            start += rows
        table = self._file.read_row_groups(groups, use_threads=False)
        rows_read: list[dict[str, Any]] = table.slice(first - skipped, count).to_pylist()
        return rows_read

    def has(self, column: str) -> bool:
        """Return whether there is such a column."""
        try:
            self._file.column_name_idx(column)
        except KeyError:
            return False
        return True

    def columns(self, *names: str) -> list[list[Any]]:
        """Read whole columns, decoding no others; one that the file lacks raises ``KeyError``."""
        return [self._file.read_column(self._file.column_name_idx(name)).to_pylist() for name in names]


def _verify(data: bytes, where: str) -> None:
    place = _digits(data)
    if place < 0:
        raise LedgerCorrupt(
            f"{where} is damaged: it has no seal ({len(data)} bytes). It must be set aside and made again"
        )
    digits = data[place : place + 64]
    found = hashlib.sha256(data[:place] + _ZEROS + data[place + 64 :]).hexdigest().encode()
    if digits != found:
        raise LedgerCorrupt(
            f"{where} is damaged: its content has the sha256 {found.decode()}, but "
            f"{digits.decode(errors='replace')} was written. It must be set aside and made again"
        )


def _digits(data: bytes) -> int:
    """Return the position of the seal's digits, or -1. The footer comes last, so the last mark is the seal's."""
    place = data.rfind(_MARK)
    return place + len(_MARK) if place >= 0 else -1
