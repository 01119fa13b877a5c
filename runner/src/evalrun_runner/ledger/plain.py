"""Plain columns of a part, for pandas, DuckDB, Spark and people: what the exact columns hold, where a cell can hold it.

The columns are named with lm-eval's keys, as ``results.json`` names scores: ``exact_match,strict-match`` is a metric's
value with a filter, ``filtered,strict-match`` what this filter made of the first response. A comma keeps them apart
from all other columns, whatever a metric is called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from evalrun_runner.ledger.codec import escaped
from evalrun_runner.ledger.sealed import FLOAT, TEXT, Column
from evalrun_runner.records.results import ItemResult

MOST_COLUMNS = 100
"""Plain columns of a part: a task's own code may name a metric after every document."""
FILTERED = "filtered"
_TAG = "$"


def plain_columns(rows: Sequence[ItemResult]) -> list[Column]:
    """Make a column of each filter and of each metric that some row has a value of.

    Args:
        rows: The rows of a part; ``scores`` and ``filtered`` are texts of ``benchmarks.values``.

    Returns:
        At most ``MOST_COLUMNS``, in the order in which they occur. A metric's cell is null where its value is no single
        number, such as the pairs that perplexities are made of.
    """
    filtered: dict[str, list[str | None]] = {}
    scores: dict[str, list[float | None]] = {}
    # Most items of a chunk have one of a few values.
    seen: dict[str, dict[str, float | None]] = {}
    for number, row in enumerate(rows):
        for name, answers in _by_filter(row.filtered).items():
            _put(filtered, f"{FILTERED},{name}", number, _text(answers), len(rows))
        if row.scores is not None:
            if row.scores not in seen:
                seen[row.scores] = _numbers(row.scores)
            for name, value in seen[row.scores].items():
                _put(scores, name, number, value, len(rows))
    texts = [Column(escaped(name), TEXT, values) for name, values in filtered.items()]
    numbers = [Column(escaped(name), FLOAT, values) for name, values in scores.items() if name not in filtered]
    return [*texts, *numbers][:MOST_COLUMNS]


def _by_filter(text: str | None) -> dict[str, Any]:
    """Return what a text of ``benchmarks.values`` holds by filter; nothing where it is in no plain form."""
    try:
        found = {} if text is None else json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and _TAG not in found else {}


def _numbers(text: str) -> dict[str, float | None]:
    """Return the numbers of an item's scores by the names of their columns."""
    return {
        f"{metric},{name}": _number(value)
        for name, metrics in _by_filter(text).items()
        if isinstance(metrics, dict) and _TAG not in metrics
        for metric, value in metrics.items()
    }


def _put(columns: dict[str, list[Any]], name: str, row: int, value: Any, rows: int) -> None:
    if name not in columns:
        if len(columns) == MOST_COLUMNS:
            return
        columns[name] = [None] * rows
    columns[name][row] = value


def _text(answers: Any) -> str | None:
    """Return the first of an item's filtered responses: texts as they are, all else as JSON."""
    first = answers[0] if isinstance(answers, list) and answers else None
    if first is None or isinstance(first, str):
        return None if first is None else escaped(first)
    return json.dumps(first)


def _number(value: Any) -> float | None:
    if isinstance(value, dict) and value.get(_TAG) in ("numpy", "float"):
        value = _unfinite(value["v"])
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _unfinite(value: Any) -> Any:
    """Return a number of the codec, which writes what is not finite as text, within a numpy scalar once more."""
    inner = value.get("v") if isinstance(value, dict) else value
    return float(inner) if inner in ("nan", "inf", "-inf") else inner
