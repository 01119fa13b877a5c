"""Item scores in a CSV file: a row for each item, its name in the first column, a column of scores for each model.

A blank cell is a score that is missing.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalrun_runner.comparing.facts import RunFacts
from evalrun_runner.comparing.keys import keys_of_names
from evalrun_runner.comparing.scored import FloatArray, IntArray, ItemScores, ItemText, KeyArray, KeyKind, MetricName
from evalrun_runner.errors import InputError, listed

TASK = "items"
"""Name of the one task of a table."""
SCORE = MetricName("score")
"""Name of the one metric of a table."""


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Table of items and models."""

    file: Path
    items: tuple[str, ...]
    models: tuple[str, ...]
    scores: FloatArray
    """Shape (models, items); nan where a score is missing."""


class TableColumn:
    """One model of a table; see ``ScoredRun``."""

    def __init__(self, table: ScoreTable, model: str, label: str) -> None:
        self.label = label
        self.place = f"{table.file}, column {model}"
        self.facts = RunFacts("table", model=model, metrics={TASK: (SCORE.metric,)})
        self.tasks: Sequence[str] = (TASK,)
        self.key_kinds: Sequence[KeyKind] = (KeyKind.NAME,)
        self._table = table
        self._column = table.scores[table.models.index(model)]

    def scores(self, task: str) -> ItemScores:
        """See ``ScoredRun``."""
        return ItemScores({SCORE: self._column}, {}, {}, order=str(self._table.file), size=len(self._column))

    def keys(self, task: str, kind: KeyKind) -> KeyArray:
        """See ``ScoredRun``."""
        return keys_of_names(self._table.items)

    def clusters(self, task: str) -> IntArray | None:
        """See ``ScoredRun``."""
        return None

    def names(self, task: str, rows: Sequence[int]) -> list[str]:
        """See ``ScoredRun``."""
        return [self._table.items[row] for row in rows]

    def texts(self, task: str, rows: Sequence[int]) -> list[ItemText]:
        """See ``ScoredRun``."""
        return [ItemText(self._table.items[row], "", "", "") for row in rows]


def read_table(file: Path) -> ScoreTable:
    """Read a table.

    Raises:
        InputError: It cannot be read, has no models, a row too long or too short, an item twice, or a cell that is no
            number; the message names the row and the column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            models = tuple(name.strip() for name in header[1:])
            _check_header(file, models)
            names, columns = _cells(file, rows, models)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as a CSV file in UTF-8: {error}") from error
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in set(names[:place]))
        raise InputError(f"{file}: the item {twice!r} is there twice; expected each item in one row")
    scores = np.vstack([np.frombuffer(column, dtype=np.float64) if column else np.empty(0) for column in columns])
    return ScoreTable(file, tuple(names), models, scores)


def _check_header(file: Path, models: Sequence[str]) -> None:
    if not models or not all(models) or len(set(models)) < len(models):
        raise InputError(
            f"{file}: its first line is {listed(list(models), 5) or 'empty'}; expected a name for the column of items, "
            "then the name of each model, each once"
        )


def _cells(file: Path, rows: Iterator[list[str]], models: Sequence[str]) -> tuple[list[str], list[array[float]]]:
    names: list[str] = []
    columns = [array("d") for _ in models]
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(models) + 1:
            raise InputError(f"{file}:{number}: {len(row)} cells; expected {len(models) + 1}, as in the first line")
        names.append(row[0])
        for model, column, cell in zip(models, columns, row[1:], strict=True):
            try:
                value = float(cell) if cell.strip() else math.nan
            except ValueError as error:
                raise InputError(
                    f"{file}:{number}: column {model}: {cell[:40]!r} is no score; expected a number, or nothing where "
                    "it is missing"
                ) from error
            if math.isinf(value):
                raise InputError(f"{file}:{number}: column {model}: an infinite score cannot be compared")
            column.append(value)
    return names, columns
