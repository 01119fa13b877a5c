"""Item scores in a CSV file: a row for each item, its name in the first column, a column of scores for each model.

A blank cell is a score that is missing.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evalrun_runner.comparing.facts import RunFacts
from evalrun_runner.comparing.keys import keys_of_names
from evalrun_runner.comparing.scored import FloatArray, IntArray, ItemScores, ItemText, KeyArray, KeyKind, MetricName
from evalrun_runner.errors import InputError

TASK = "items"
"""Name of the one task of a table."""
SCORE = MetricName("score")
"""Name of the one metric of a table."""
_GREATEST = 1e100


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
        self.place = f"{table.file}, column {label}"
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
        twice = Counter(names).most_common(1)[0][0][:80]
        raise InputError(f"{file}: the item {twice!r} is there twice; expected each item in one row")
    scores = np.vstack([np.frombuffer(column, dtype=np.float64) if column else np.empty(0) for column in columns])
    return ScoreTable(file, tuple(names), models, scores)


def _check_header(file: Path, models: Sequence[str]) -> None:
    if not models:
        raise InputError(
            f"{file}: its first line names no model; expected a name for the column of items, then the name of each "
            "model\nhint: cells are separated by commas, not by semicolons or tabs"
        )
    twice = sorted({model for model in models if models.count(model) > 1})
    if not all(models) or twice:
        what = f"names the model {twice[0]!r} twice" if twice and twice[0] else "has a column without a name"
        raise InputError(f"{file}: its first line {what}; expected the name of each model, each once")


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
                column.append(_score(cell))
            except ValueError as error:
                raise InputError(
                    f"{file}:{number}: column {model}: {cell[:40]!r} is no score; expected a number, or nothing where "
                    "it is missing"
                ) from error
    return names, columns


def _score(cell: str) -> float:
    """Return the score of a cell, nan where it is blank or says nan.

    Raises:
        ValueError: It is no number, or too large for sums of squares.
    """
    if not cell.strip():
        return math.nan
    # Python reads 1_0 as ten; a file that has it means something else.
    score = math.nan if "_" in cell else float(cell)
    if "_" in cell or abs(score) > _GREATEST:
        raise ValueError(cell)
    return score
