"""Items that a gate's score is made of, and their pairs in a baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol

import numpy as np

from evalrun_api.wire.outputs import Results
from evalrun_runner.comparing.evalrun_output import EvalRunOutput
from evalrun_runner.comparing.pairing import pair
from evalrun_runner.comparing.scored import BoolArray, FloatArray, IntArray, ItemScores, KeyArray, KeyKind, MetricName
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.store.base import ObjectStore

CLOSE = 1e-6
"""Difference by which the mean of the items' values may miss a score that is their mean: sums are rounded."""


@dataclass(frozen=True, slots=True)
class LeafItems:
    """Values of the items of one leaf task for one metric after one filter."""

    task: str
    """Leaf task."""
    values: FloatArray
    """Value of each item, shape (items,); nan where an item has none: it failed."""
    keys: Callable[[], KeyArray]
    """Read the key of each item by its hash, shape (items,)."""
    order: str | None = None
    """Digest of the items in their order: two runs with the same one have the same items. None: not known."""
    clusters: IntArray | None = None
    """Number of each item's declared cluster, shape (items,); None: none are declared."""
    cut: BoolArray | None = None
    """Whether the answer of each item was cut in its thinking or after it, shape (items,); None: none was."""

    @property
    def uncertain(self) -> BoolArray:
        """Whether each item might have another value: it has none, or its answer was cut."""
        absent = np.isnan(self.values)
        return absent if self.cut is None else absent | self.cut


class ItemReader(Protocol):
    """Items of a finished run. May raise ``LedgerCorrupt`` and the errors of the store."""

    def leaf(self, task: str, metric: str, filter_name: str) -> LeafItems | None:
        """Read the items of a leaf task; None if the metric has no numbers for them."""


class OutputItems:
    """Items of a finished run, read from its output; see ``ItemReader``."""

    def __init__(self, store: ObjectStore, results: Results) -> None:
        """Prepare to read; nothing is read before it is asked for.

        Args:
            store: The run's output.
            results: Its results, which count the items without a score.
        """
        self._store = store
        self._results = results
        self._scores: dict[str, ItemScores] = {}

    @cached_property
    def _run(self) -> EvalRunOutput:
        return EvalRunOutput(self._store, self._store.uri)

    def leaf(self, task: str, metric: str, filter_name: str) -> LeafItems | None:
        """See ``ItemReader``."""
        if task not in self._run.tasks:
            return None
        if task not in self._scores:
            self._scores[task] = self._run.scores(task)
        scores = self._scores[task]
        values = scores.values.get(MetricName(metric, filter_name))
        if values is None:
            return None
        clusters, cut = self._clusters(task, len(values)), self._run.cut(task)
        account = self._results.evalrun.tasks.get(task)
        there = ~np.isnan(values)
        if account is not None and not account.without_score and not there.all():
            # Every item has an end, so that those without a value are no loss: the metric is not made of them.
            of_metric = None if clusters is None else clusters[there]
            cut = None if cut is None else cut[there]
            return LeafItems(
                task, values[there], lambda: self._run.keys(task, KeyKind.ITEM)[there], None, of_metric, cut
            )
        return LeafItems(task, values, lambda: self._run.keys(task, KeyKind.ITEM), scores.order, clusters, cut)

    def _clusters(self, task: str, items: int) -> IntArray | None:
        clusters = self._run.clusters(task)
        if clusters is not None and len(clusters) != items:
            raise LedgerCorrupt(f"task {task}: {len(clusters)} documents are planned, and {items} items have an end")
        return clusters


class Weighting(StrEnum):
    """What counts alike in the mean of a group; in that of a single task the items."""

    ITEMS = "items"
    TASKS = "tasks"


@dataclass(frozen=True)
class ScoreItems:
    """Items of a score: of one leaf task, or of the leaf tasks of a group."""

    value: float
    """The score."""
    leaves: tuple[LeafItems, ...]
    """Leaf tasks that have it."""

    @property
    def missing(self) -> int:
        """Number of items without a value."""
        return sum(int(np.isnan(leaf.values).sum()) for leaf in self.leaves)

    @property
    def cut(self) -> int:
        """Number of items with a value whose answers were cut in their thinking or after it."""
        return sum(int((leaf.cut & ~np.isnan(leaf.values)).sum()) for leaf in self.leaves if leaf.cut is not None)

    @cached_property
    def extremes(self) -> tuple[float, float] | None:
        """The score with every cut answer wrong, and with every one right; None where that is not known."""
        if self.weighting is None or any((leaf.values < 0).any() or (leaf.values > 1).any() for leaf in self.leaves):
            return None
        filled = [[np.where(leaf.uncertain, fill, leaf.values) for leaf in self.leaves] for fill in (0.0, 1.0)]
        if self.weighting is Weighting.ITEMS:
            low, high = (float(np.concatenate(leaves).mean()) for leaves in filled)
        else:
            low, high = (float(np.mean([values.mean() for values in leaves])) for leaves in filled)
        return low, high

    @cached_property
    def weighting(self) -> Weighting | None:
        """What the score is the mean of; None if it is no mean of its items' values. The score itself tells it."""
        present = [leaf.values[~np.isnan(leaf.values)] for leaf in self.leaves]
        if not present or not all(len(values) for values in present):
            return None
        scale = CLOSE * max(1.0, abs(self.value))
        if abs(float(np.concatenate(present).mean()) - self.value) <= scale:
            return Weighting.ITEMS
        if abs(float(np.mean([values.mean() for values in present])) - self.value) <= scale:
            return Weighting.TASKS
        return None


@dataclass(frozen=True, slots=True)
class PairedLeaf:
    """Values of the items that two runs have in common, in one order."""

    candidate: FloatArray
    baseline: FloatArray
    only_here: int
    """Items of the candidate that the baseline does not have."""
    clusters: IntArray | None
    candidate_cut: BoolArray | None = None
    """Items of the candidate whose answers were cut, as in ``LeafItems.cut``."""
    baseline_cut: BoolArray | None = None


def pair_leaf(own: LeafItems, earlier: LeafItems) -> PairedLeaf:
    """Pair the items of a leaf task by their hashes: the same document, prompt and generation arguments."""
    if own.order is not None and own.order == earlier.order:
        return PairedLeaf(own.values, earlier.values, 0, own.clusters, own.cut, earlier.cut)
    places = pair(own.keys(), earlier.keys())
    clusters = None if own.clusters is None else own.clusters[places.first]
    return PairedLeaf(
        own.values[places.first],
        earlier.values[places.second],
        len(places.only_first),
        clusters,
        None if own.cut is None else own.cut[places.first],
        None if earlier.cut is None else earlier.cut[places.second],
    )
