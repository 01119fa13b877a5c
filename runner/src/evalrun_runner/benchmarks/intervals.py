"""Intervals of the scores of leaf tasks, of their strata, and of groups, as records of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.metrics import mean
from numpy.typing import NDArray

from evalrun_api import IntervalTarget
from evalrun_api.wire.outputs import IntervalRecord
from evalrun_runner.benchmarks.estimates import MEANS, estimate, numbers_of
from evalrun_runner.benchmarks.item_labels import ItemLabels
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.benchmarks.task_scores import RawMetrics, TaskScores, is_finite, is_number
from evalrun_runner.statistics.groups import Leaf, group_interval
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, NoInterval
from evalrun_runner.statistics.scores import UNIT

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Key = tuple[str, str]
"""(metric, filter)."""


@dataclass(frozen=True)
class LeafValues:
    """Values of the scored items of a leaf task."""

    raw: RawMetrics
    """Values of each metric."""
    documents: Mapping[Key, Sequence[int]]
    """Document's number of each value; empty where the task declares no fields."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Items of a score: all of a task's, or those of one stratum."""

    task: str
    key: Key
    items: Sequence[Any]
    clusters: IntArray | None = None
    note: str | None = None
    stratum: str | None = None

    def of_stratum(self, stratum: str, inside: IntArray) -> _Part:
        clusters = None if self.clusters is None else self.clusters[inside]
        return replace(self, items=[self.items[place] for place in inside], clusters=clusters, stratum=stratum)


@dataclass
class Intervals:
    """Intervals of a run, collected task by task."""

    records: list[IntervalRecord] = field(default_factory=list)
    _means: dict[tuple[str, Key], tuple[FloatArray, IntArray | None]] = field(default_factory=dict)
    """Values and clusters of each leaf task's means, from which groups are made."""

    def add_leaf(self, leaf: LeafTask, scores: TaskScores, values: LeafValues, labels: ItemLabels) -> None:
        """Add the intervals of a leaf task and of its strata.

        Args:
            leaf: The leaf task.
            scores: Its scores.
            values: Values of its items.
            labels: Its clusters and strata.
        """
        note = _note(leaf)
        aggregations = leaf.task.aggregation() or {}
        for key, items in values.raw.items():
            value = scores.entry.get(",".join(key))
            if not _is_score(value):
                continue
            aggregation = aggregations.get(key[0], mean)
            documents = np.array(values.documents.get(key, ()), dtype=np.int64)
            part = _Part(leaf.name, key, items, None if labels.clusters is None else labels.clusters[documents], note)
            self.records.append(_record(part, value, _estimate(aggregation, part)))
            if aggregation in MEANS and (numbers := numbers_of(items)) is not None:
                self._means[leaf.name, key] = numbers, part.clusters
            for stratum, members in labels.strata.items():
                self._add_stratum(aggregation, part.of_stratum(stratum, np.flatnonzero(np.isin(documents, members))))

    def add_group(self, group: Group, scores: TaskScores) -> None:
        """Add the intervals of a group over its leaf tasks, after these were added.

        Args:
            group: The group, with all its members.
            scores: Its scores.
        """
        members = [task.task_name for task in group.get_all_tasks()]
        by_size = {config.metric: bool(config.weight_by_size) for config in group.aggregate_metric_list or ()}
        for name, value in scores.entry.items():
            metric, comma, filter_name = name.partition(",")
            if not comma or metric.endswith("_stderr") or not _is_score(value):
                continue
            key = (metric, filter_name)
            there = [self._means[member, key] for member in members if (member, key) in self._means]
            record = _record(_Part(group.name, key, ()), value, _group(there, by_size=by_size.get(metric, True)))
            self.records.append(record.model_copy(update={"n": sum(len(values) for values, _ in there)}))

    def _add_stratum(self, aggregation: Any, part: _Part) -> None:
        if not part.items:
            return
        try:
            value = aggregation(part.items)
        except Exception:  # noqa: BLE001  the aggregation may be a suite's own code; the whole score has its reason
            return
        if _is_score(value):
            self.records.append(_record(part, value, _estimate(aggregation, part)))


def _is_score(value: object) -> bool:
    return is_number(value) and is_finite(value)


def _estimate(aggregation: Any, part: _Part) -> Interval | NoInterval:
    try:
        return estimate(aggregation, part.items, part.clusters)
    except (ValueError, TypeError) as error:
        # A task's own values may be of any kind: one score without an interval costs no other.
        return NoInterval(f"none can be computed of its items' values: {error}"[:200])


def _group(leaves: Sequence[tuple[FloatArray, IntArray | None]], *, by_size: bool) -> Interval | NoInterval:
    if not leaves:
        return NoInterval("its tasks' scores are no means of their items' values")
    in_unit = all(bool(np.all((values >= UNIT[0]) & (values <= UNIT[1]))) for values, _ in leaves)
    parts = [
        Leaf(values, len(values) if by_size else 1.0, UNIT if in_unit else None, clusters)
        for values, clusters in leaves
    ]
    return group_interval(parts, CONFIDENCE)


def _record(part: _Part, value: Any, found: Interval | NoInterval) -> IntervalRecord:
    interval = found if isinstance(found, Interval) else None
    said = [text for text in (found.note if isinstance(found, Interval) else found.reason, part.note) if text]
    return IntervalRecord(
        task=part.task,
        metric=str(part.key[0]),
        filter=part.key[1],
        **({"stratum": part.stratum} if part.stratum is not None else {}),
        value=float(value),
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        confidence=CONFIDENCE if interval is None else interval.confidence,
        method=None if interval is None else interval.method.value,
        target=IntervalTarget.ITEMS if interval is None else IntervalTarget(interval.target.value),
        n=len(part.items),
        **({"clusters": len(np.unique(part.clusters))} if part.clusters is not None else {}),
        **({"note": "; ".join(said)} if said else {}),
    )


def _note(leaf: LeafTask) -> str | None:
    if leaf.limit is None or leaf.limit >= len(leaf.task.eval_docs):
        return None
    return f"the first {leaf.limit:,} documents of the task, which may differ from the rest"
