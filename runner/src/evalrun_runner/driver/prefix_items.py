"""Items of a part of a run: the parts of its first chunks, read once each, with the results that they come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from evalrun_api import RunConfig
from evalrun_api.wire.outputs import Results, ScoredBy
from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.aggregate import aggregate
from evalrun_runner.benchmarks.declared import declared_fields
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.comparing.declared_clusters import cluster_numbers
from evalrun_runner.comparing.keys import keys_of_hashes
from evalrun_runner.comparing.scored import IntArray
from evalrun_runner.driver.accounts import item_account, run_account
from evalrun_runner.driver.gate_items import LeafItems
from evalrun_runner.driver.preflight import AnsweredBy
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import count
from evalrun_runner.records.answers import cut_thinking
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus
from evalrun_runner.store.read_ahead import in_order


@dataclass
class PrefixItems:
    """Rows of the first chunks of each leaf task; see ``gate_items.ItemReader``. Used by one thread at a time."""

    config: RunConfig
    benchmarks: LoadedBenchmarks
    ledger: Ledger
    made: AnsweredBy
    _chunks: dict[str, tuple[Chunk, ...]] = field(default_factory=dict)
    """All planned chunks of each task."""
    _rows: dict[tuple[str, int], tuple[ItemResult, ...]] = field(default_factory=dict)
    """Rows of each chunk that was read, without their responses."""
    _cut: set[str] = field(default_factory=set)
    """Hashes of the items whose answers were cut in their thinking or after it."""
    _prefix: Mapping[str, int] = field(default_factory=dict)

    def read(self, prefix: Mapping[str, int]) -> tuple[Chunk, ...]:
        """Read the parts of a prefix that were not read yet, and let it be the one that the others are about.

        Args:
            prefix: Number of first chunks of each task.

        Returns:
            Chunks whose part is missing or damaged.
        """
        self._prefix = prefix
        wanted = [chunk for task, first in prefix.items() for chunk in self._planned(task)[:first]]
        missing = [chunk for chunk in wanted if chunk.id not in self._rows]
        damaged = []
        for chunk, rows in zip(missing, in_order(missing, self._read), strict=True):
            if rows is None:
                damaged.append(chunk)
            else:
                self._rows[chunk.id], cut = rows
                self._cut |= cut
        return tuple(damaged)

    def planned(self, task: str) -> int:
        """Return the number of a task's planned items."""
        return sum(chunk.items for chunk in self._planned(task))

    def results(self) -> Results:
        """Return the results that the prefix would have if it were the whole run, without bootstrapped errors."""
        aggregated = aggregate(self.benchmarks, lambda task: iter(self._of(task)), bootstrap_iters=0)
        counts = {leaf.name: count(self._of(leaf.name)) for leaf in self.benchmarks.leaves}
        total = sum(counts.values(), ItemCounts())
        evalrun = ScoredBy(
            engine=self.made.engine,
            numerics=self.made.numerics,
            counts=run_account(total),
            tasks={task: item_account(one) for task, one in counts.items()},
            unscored=list(aggregated.unscored),
            counted={task: dict(fewer) for task, fewer in aggregated.counted.items()},
            intervals=list(aggregated.intervals),
        )
        config = {"model": self.config.model.name, "seed": self.config.spec.seed}
        return Results.model_validate(
            {**aggregated.results, "config": config, "evalrun": evalrun}, by_alias=True, by_name=False
        )

    def leaf(self, task: str, metric: str, filter_name: str) -> LeafItems | None:
        """See ``ItemReader``."""
        rows = self._of(task)
        known: dict[str, float | None] = {}
        found = np.full(len(rows), np.nan)
        for place, row in enumerate(rows):
            if row.outcome.status is not ItemStatus.OK or row.scores is None:
                continue
            if row.scores not in known:
                known[row.scores] = _number(values.decode(row.scores).get(filter_name, {}).get(metric))
            value = known[row.scores]
            if value is None:
                return None
            found[place] = value
        if not rows:
            return None
        return LeafItems(
            task,
            found,
            lambda: keys_of_hashes([row.item_hash for row in rows]),
            clusters=_clusters(self.benchmarks.leaf(task), rows),
            cut=np.array([row.item_hash in self._cut for row in rows]) if self._cut else None,
        )

    def _of(self, task: str) -> Sequence[ItemResult]:
        """Return the rows of the prefix in the order of their documents."""
        first = self._prefix.get(task, 0)
        rows: Iterator[ItemResult] = (row for chunk in self._planned(task)[:first] for row in self._rows[chunk.id])
        return sorted(rows, key=lambda row: row.doc_id)

    def _planned(self, task: str) -> tuple[Chunk, ...]:
        if task not in self._chunks:
            self._chunks[task] = self.ledger.planned_chunks(task)
        return self._chunks[task]

    def _read(self, chunk: Chunk) -> tuple[tuple[ItemResult, ...], set[str]] | None:
        try:
            part = self.ledger.read_part(chunk)
        except (LedgerCorrupt, ObjectMissing):
            return None
        bare = tuple(replace(row, outcome=replace(row.outcome, responses=()), filtered=None) for row in part.rows)
        return bare, {row.item_hash for row in part.rows if cut_thinking(row.outcome)}


def _number(value: object) -> float | None:
    if not isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _clusters(leaf: LeafTask, rows: Sequence[ItemResult]) -> IntArray | None:
    try:
        cluster = declared_fields(leaf.task.get_config("metadata")).cluster
    except InputError:
        return None
    if cluster is None:
        return None
    documents = leaf.task.eval_docs
    return cluster_numbers(documents[row.doc_id].get(cluster) for row in rows)
