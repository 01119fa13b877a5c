"""Scores of ``results.json``, and which of them a gate means. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from evalrun_api import Benchmark, Gate, Score, ScoreInterval
from evalrun_api.wire.outputs import Results

UNFILTERED = "none"
"""lm-eval's name for the answers without a filter."""


def scores_in(results: Results) -> tuple[Score, ...]:
    """List every score, tasks in the order of the results; one without a finite value has none."""
    intervals = _intervals(results)
    return tuple(
        _score(results, task, key, intervals)
        for task, entry in results.results.items()
        for key in entry
        if _is_score(key)
    )


def score_of(results: Results, task: str, metric: str, filter_name: str) -> Score | None:
    """Find one score; None if it is not there. It may be there without a value."""
    key = f"{metric},{filter_name}"
    return _score(results, task, key, _intervals(results)) if key in results.results.get(task, {}) else None


def keys_of(results: Results, task: str) -> list[str]:
    """Return the ``metric,filter`` of each score of a task or group."""
    return [key for key in results.results.get(task, {}) if _is_score(key)]


def meant_task(task: str, there: Collection[str], benchmarks: Sequence[Benchmark]) -> str:
    """Return the task or group that a gate's ``task`` means: itself, or the one that a benchmark of that name runs.

    Args:
        task: What the gate says.
        there: Tasks and groups of the run.
        benchmarks: The run's benchmarks.
    """
    if task in there:
        return task
    named = (benchmark.task for benchmark in benchmarks if benchmark.resolved_name == task)
    return next((one for one in named if one in there), task)


def meant_filter(gate: Gate, keys: Collection[str]) -> str | None:
    """Return the filter that a gate means among the ``metric,filter`` of its task; None if it could be several.

    A gate without a filter means the unfiltered answers, or the only filter that its metric has.
    """
    if gate.filter is not None:
        return gate.filter
    filters = filters_with(gate.metric, keys)
    if UNFILTERED in filters or not filters:
        return UNFILTERED
    return filters[0] if len(filters) == 1 else None


def filters_with(metric: str, keys: Collection[str]) -> list[str]:
    """Return the filters of a metric among the ``metric,filter`` of a task."""
    return [key.partition(",")[2] for key in keys if key.partition(",")[0] == metric]


def _is_score(key: str) -> bool:
    metric, comma, _ = key.partition(",")
    return bool(comma) and not metric.endswith("_stderr")


def _score(results: Results, task: str, key: str, intervals: Mapping[tuple[str, str], ScoreInterval | None]) -> Score:
    entry = results.results[task]
    metric, _, filter_name = key.partition(",")
    return Score(
        task=_clipped(task, 256),
        metric=_clipped(metric, 128),
        filter=_clipped(filter_name, 128),
        value=_number(entry[key]),
        stderr=_number(entry.get(f"{metric}_stderr,{filter_name}")),
        n=_items(results, task, key, entry),
        interval=intervals.get((task, key)),
        lower_is_better=True if results.higher_is_better.get(task, {}).get(metric) is False else None,
    )


def _intervals(results: Results) -> Mapping[tuple[str, str], ScoreInterval | None]:
    """Return the interval of each score of all items, by task and ``metric,filter``."""
    return {
        (one.task, f"{one.metric},{one.filter}"): one.interval
        for one in results.evalrun.intervals or ()
        if one.stratum is None
    }


def _clipped(name: str, most: int) -> str:
    """Shorten a name of a suite's own to what a status may hold."""
    return name if len(name) <= most else name[: most - 1] + "…"


def _items(results: Results, task: str, key: str, entry: Mapping[str, Any]) -> int:
    """Return the number of items in a score: lm-eval counts per metric for groups, EvalRun where they differ."""
    for counts in (entry.get("sample_count"), (results.evalrun.counted or {}).get(task)):
        if isinstance(counts, dict) and isinstance(counts.get(key), int):
            return int(counts[key])
    size = entry.get("sample_len")
    return size if isinstance(size, int) else 0


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None
