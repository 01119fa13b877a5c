"""Rows of CSV files: every cell is the text that stands in the file.

An empty cell is an empty text, and a cell that a short row lacks is null. The options are those of pandas, which
``datasets`` reads CSV with.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from evalrun_runner.benchmarks.suites.data.batches import CHARACTERS, ROWS, DataBatch
from evalrun_runner.benchmarks.suites.spelling import suggestion
from evalrun_runner.errors import InputError, first_line

PANDAS_NULLS = frozenset(
    {
        *("", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
        *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    }
)
"""Cells that pandas takes for nothing; here only where ``keep_default_na: true`` asks for it."""
_OTHER_DELIMITERS = ";\t|"


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a CSV file is laid out."""

    delimiter: str = ","
    header: int | None = 0
    """Number of the row with the names, from 0; None where there is none."""
    names: list[str] | None = None
    columns: list[str | int] | None = None
    """Columns to read; None for all."""
    skipped: int | frozenset[int] = 0
    """Number of lines to skip at the start, or the numbers of those to skip, from 0."""
    limit: int | None = None
    """Maximum number of rows."""
    comment: str | None = None
    nulls: frozenset[str] = frozenset()
    reader: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``csv.reader``."""


def read_csv(name: str, text: io.TextIOBase, layout: CsvFormat) -> Iterator[DataBatch]:
    """Yield the rows of a CSV file.

    Raises:
        InputError: A name stands twice in the header, a row has more cells than the header, or a quote never ends; the
            message names the row, counted as a spreadsheet does: the header is one.
    """
    csv.field_size_limit(sys.maxsize)
    table = _CsvTable(name, layout)
    rows = table.rows(text)
    header, rows = table.header(rows)
    chosen = table.chosen(header)
    for batch in _in_batches(islice(rows, layout.limit)):
        cells = list(zip(*(table.fitted(number, row, len(header)) for number, row in batch), strict=True))
        columns = {header[place]: table.cells(cells[place]) for place in chosen}
        yield DataBatch(name, [number for number, _ in batch], columns)


class _Lines:
    """Lines of a file without those to skip; says whether the end was reached, as an open quote swallows it."""

    def __init__(self, text: Iterable[str], layout: CsvFormat) -> None:
        skipped = layout.skipped
        places = frozenset(range(skipped)) if isinstance(skipped, int) else skipped
        self._lines = (line for place, line in enumerate(text) if place not in places) if places else iter(text)
        self._comment = layout.comment
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if self._comment is None or not line.lstrip().startswith(self._comment):
                yield line
        self.ended = True


class _CsvTable:
    def __init__(self, name: str, layout: CsvFormat) -> None:
        self._name = name
        self._layout = layout

    def rows(self, text: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that are not blank, with their numbers."""
        lines = _Lines(text, self._layout)
        reader = csv.reader(lines, delimiter=self._layout.delimiter, **self._layout.reader)
        number = 0
        while True:
            number += 1
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise self._error(number, first_line(error)) from error
            if row is None:
                return
            if lines.ended:
                raise self._error(number, "a quote opens here and never ends")
            if len(row) > 1 or (row and not row[0].isspace()):
                yield number, row

    def header(self, rows: Iterator[tuple[int, list[str]]]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """Return the columns' names and the rows with data."""
        layout = self._layout
        first: tuple[int, list[str]] | None = None
        for _ in range((layout.header or 0) + 1):
            first = next(rows, None)
        if first is None:
            return layout.names or [], iter(())
        number, cells = first
        if layout.header is None:
            names = layout.names or [str(place) for place in range(len(cells))]
            if layout.names and [cell.strip() for cell in cells[: len(names)]] == names:
                raise self._error(number, "repeats the column names; add dataset_kwargs: {header: 0}")
            rows = chain([first], rows)
        else:
            names = layout.names or [cell or f"Unnamed: {place}" for place, cell in enumerate(cells)]
            if len(names) < len(cells):
                raise self._error(number, f"has {len(cells)} columns, and names has {len(names)}")
        for place, one in enumerate(names):
            if one in names[:place]:
                raise self._error(number, f"the column {one!r} stands twice in the header")
        if len(names) == 1:
            self._check_delimiter(names[0])
        return names, rows

    def chosen(self, header: list[str]) -> list[int]:
        """Return the places of the columns to read."""
        if self._layout.columns is None:
            return list(range(len(header)))
        chosen = []
        for column in self._layout.columns:
            if isinstance(column, int) and 0 <= column < len(header):
                chosen.append(column)
            elif column in header:
                chosen.append(header.index(str(column)))
            else:
                raise InputError(
                    f"its data cannot be read: {self._name} has no column {column!r} (usecols); "
                    + suggestion(str(column), header)
                )
        return sorted(chosen)

    def fitted(self, number: int, row: list[str], width: int) -> list[str | None]:
        """Return a row of the header's width: cells that it lacks are null, empty cells beyond it are dropped."""
        if len(row) < width:
            return [*row, *[None] * (width - len(row))]
        if len(row) > width and any(row[width:]):
            raise self._error(number, f"has {len(row)} cells, and the header {width}")
        if self._layout.comment and any(self._layout.comment in cell for cell in row):
            raise self._error(number, f"holds {self._layout.comment!r}; only whole lines can be comments")
        return [*row[:width]]

    def cells(self, cells: tuple[str | None, ...]) -> list[Any]:
        """Return a column's cells, with null for those that the task takes for nothing."""
        nulls = self._layout.nulls
        return [None if cell in nulls else cell for cell in cells] if nulls else list(cells)

    def _check_delimiter(self, name: str) -> None:
        for other in _OTHER_DELIMITERS:
            if other in name and other != self._layout.delimiter:
                raise InputError(
                    f"its data cannot be read: {self._name} has one column, {name!r}: it is not delimited by "
                    f'{self._layout.delimiter!r}\nhint: dataset_kwargs: {{delimiter: "{repr(other)[1:-1]}"}}'
                )

    def _error(self, number: int, why: str) -> InputError:
        return InputError(f"its data cannot be read: {self._name}, row {number}: {why}")


def _in_batches(rows: Iterable[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    held: list[tuple[int, list[str]]] = []
    characters = 0
    for number, row in rows:
        held.append((number, row))
        characters += sum(map(len, row))
        if len(held) >= ROWS or characters >= CHARACTERS:
            yield held
            held, characters = [], 0
    if held:
        yield held
