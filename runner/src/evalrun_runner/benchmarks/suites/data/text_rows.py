"""Rows of text files, by line, by paragraph or as a whole, as ``datasets`` reads them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Literal

from evalrun_runner.benchmarks.suites.data.batches import DataBatch, batches_of

SampleBy = Literal["line", "paragraph", "document"]


def read_text(
    name: str, text: io.TextIOBase, column: str, by: SampleBy, *, keep_linebreaks: bool
) -> Iterator[DataBatch]:
    """Yield the rows of a text file, whose line ends are single newlines, under one column."""
    match by:
        case "line":
            rows: Iterator[str] = (line if keep_linebreaks else line.removesuffix("\n") for line in text)
        case "paragraph":
            rows = (paragraph for paragraph in text.read().split("\n\n") if paragraph)
        case "document":
            rows = iter([text.read()])
    yield from batches_of(name, ((number, {column: row}, len(row)) for number, row in enumerate(rows, 1)))
