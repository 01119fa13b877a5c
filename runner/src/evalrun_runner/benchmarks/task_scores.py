"""Scores of one leaf task, metric by metric, by lm-eval's own code: a metric that cannot be computed costs itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import _compute_task_aggregations

from evalrun_api.wire.outputs import UnscoredMetric
from evalrun_runner.errors import first_line

RawMetrics = Mapping[tuple[str, str], Sequence[Any]]
"""Map from (metric, filter) to the metric's values in canonical order."""
NO_STDERR = "N/A"
"""lm-eval's word where a score has no standard error."""
_MOST_KINDS = 3


@dataclass
class TaskScores:
    """Scores of a leaf task or a group, and what is to be said of them."""

    entry: dict[str, Any] = field(default_factory=dict)
    """lm-eval's keys ``metric,filter`` and ``metric_stderr,filter``; null where a metric has no value."""
    unscored: list[UnscoredMetric] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Oddities that people should know of, each as a sentence that begins with the metric."""

    @property
    def all_remarks(self) -> list[str]:
        """What people should know: first of the metrics without a value, then the oddities."""
        return [f"{one.metric},{one.filter} has no value: {one.reason}" for one in self.unscored] + self.remarks

    def add_unscored(self, task: str, metric: str, name: str, reason: str) -> None:
        """Record a metric without a value."""
        self.entry[f"{metric},{name}"] = None
        self.entry[f"{metric}_stderr,{name}"] = NO_STDERR
        self.unscored.append(UnscoredMetric(task=task, metric=str(metric), filter=name, reason=reason))


def score_task(name: str, task: Task, raw: RawMetrics, bootstrap_iters: int, known: Mapping[str, str]) -> TaskScores:
    """Compute every metric of a leaf task on its own.

    Args:
        name: The leaf task's name.
        task: lm-eval's task object, which knows the aggregations.
        raw: The values of each metric.
        bootstrap_iters: Number of resamples for each bootstrapped standard error.
        known: Metrics of which is already known why they cannot be computed, with the reason.
    """
    scores = TaskScores()
    for (metric, filter_name), items in raw.items():
        if metric in known:
            scores.add_unscored(name, metric, filter_name, known[metric])
            continue
        if metric not in (task.aggregation() or {}):
            scores.remarks.append(f"{metric},{filter_name} has no aggregation of its own: its mean is taken")
        found = _compute(task, metric, filter_name, items, bootstrap_iters, scores)
        if isinstance(found, str):
            scores.add_unscored(name, metric, filter_name, found)
        else:
            scores.entry |= found
            add_odd_value(scores, name, metric, filter_name, items)
    return scores


def add_odd_value(scores: TaskScores, name: str, metric: str, filter_name: str, items: Sequence[Any] = ()) -> None:
    """Record it where a computed score, or its standard error, is not a finite number.

    What is no number at all stays as lm-eval has it; NaN and infinity become null, as JSON does not know them.
    """
    key, stderr_key = f"{metric},{filter_name}", f"{metric}_stderr,{filter_name}"
    value, stderr = scores.entry[key], scores.entry.get(stderr_key, NO_STDERR)
    if not is_number(value):
        reason = f"its aggregation gives no number but {_kind(value)}"
        scores.unscored.append(UnscoredMetric(task=name, metric=str(metric), filter=filter_name, reason=reason))
    elif not is_finite(value):
        scores.add_unscored(
            name, metric, filter_name, f"its value is not a finite number ({_odd(value)}){_culprits(items)}"
        )
    elif is_number(stderr) and not is_finite(stderr):
        scores.entry[stderr_key] = NO_STDERR
        scores.remarks.append(f"{key} has no standard error: it is not a finite number ({_odd(stderr)})")


def is_number(value: object) -> bool:
    """Return whether a value is a number that a score can be, finite or not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a number is finite, and not too large for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _compute(
    task: Task, metric: str, filter_name: str, items: Sequence[Any], bootstrap_iters: int, scores: TaskScores
) -> dict[str, Any] | str:
    """Compute one metric with its standard error; return why not, in words, if it cannot be computed."""
    raw = {(metric, filter_name): items}
    # The aggregation may be a suite's own code: it may raise anything, or end the process.
    try:
        return _aggregations(task, raw, bootstrap_iters)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        cause = error
    try:
        found = _aggregations(task, raw, 0)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return _in_words(_name_of(task, metric), items, error)
    why = f"{type(cause).__name__}: {first_line(cause)}"
    scores.remarks.append(f"{metric},{filter_name} has no standard error: computing it raised {why}")
    return found


def _aggregations(task: Task, raw: RawMetrics, bootstrap_iters: int) -> dict[str, Any]:
    found: dict[str, Any] = _compute_task_aggregations(task, raw, bootstrap_iters)[0]
    return found


def _name_of(task: Task, metric: str) -> str:
    function = (task.aggregation() or {}).get(metric)
    function = getattr(function, "func", function)
    return "mean" if function is None else str(getattr(function, "__name__", type(function).__name__))


def _in_words(function: str, items: Sequence[Any], error: BaseException) -> str:
    over, raised = f"{function} over {_described(items)}", f"{type(error).__name__}: {first_line(error)}"
    match error:
        case OverflowError():
            return f"{over} is too large for a number ({raised})"
        case ZeroDivisionError():
            return f"{over} divides by zero, as where no text has a word or byte to count ({raised})"
        case TypeError() if not all(is_number(item) or isinstance(item, bool | tuple) for item in items):
            return f"{over} needs numbers ({raised})"
    return f"{over} raised {raised}"


def _described(items: Sequence[Any]) -> str:
    kinds = list(dict.fromkeys(type(item).__name__ for item in items))
    more = ", …" if len(kinds) > _MOST_KINDS else ""
    return f"{len(items):,} values of the type {', '.join(kinds[:_MOST_KINDS])}{more}"


def _kind(value: object) -> str:
    return f"{value!r}" if isinstance(value, bool | str) and len(repr(value)) < 40 else f"a {type(value).__name__}"


def _odd(value: Any) -> str:
    # The digits of a whole number that no float can hold may be too many for Python to write.
    return f"{value}" if isinstance(value, float | np.floating) else "too large for a float"


def _culprits(items: Sequence[Any]) -> str:
    wrong = sum(is_number(item) and not is_finite(item) for item in items)
    return f": {wrong:,} of its {len(items):,} values are not finite" if wrong else ""
