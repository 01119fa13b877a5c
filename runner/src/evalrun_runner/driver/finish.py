"""The end of a run: verify every part, aggregate once in canonical order, say COMPLETE."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evalrun_api import RunConfig, Score
from evalrun_runner import layout
from evalrun_runner.benchmarks.aggregate import aggregate
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.samples import sample_lines
from evalrun_runner.errors import LedgerCorrupt, ObjectMissing, RunFailed
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records import Chunk, Counts, Item, ItemResult
from evalrun_runner.store.base import ObjectStore

READERS = 16

PlanOf = Mapping[str, tuple[Chunk, ...]]
"""Leaf task -> its chunks in canonical order."""


def damaged_parts(chunks: Iterable[Chunk], ledger: Ledger) -> list[Chunk]:
    """The chunks whose part is missing or fails its checks."""

    def damaged(chunk: Chunk) -> bool:
        try:
            ledger.read_part(chunk)
        except (LedgerCorrupt, ObjectMissing):
            return True
        return False

    listed = list(chunks)
    with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as readers:
        return [chunk for chunk, bad in zip(listed, readers.map(damaged, listed), strict=True) if bad]


def count_by_task(plan: PlanOf, ledger: Ledger) -> dict[str, Counts]:
    """How the items of each leaf task ended. Raises ``RunFailed`` unless every planned item has exactly one end."""
    counts: dict[str, Counts] = {}
    with ThreadPoolExecutor(READERS, thread_name_prefix="count") as readers:
        for task, chunks in plan.items():
            total = sum((part.counts for part in readers.map(ledger.read_part, chunks)), Counts())
            planned = sum(chunk.items for chunk in chunks)
            if total.total != planned:
                raise RunFailed(
                    f"task {task}: {planned} items were planned, but {total.ok} ok + {total.failed} failed + "
                    f"{total.quarantined} quarantined are {total.total}; nothing was scored. This is a defect: please "
                    "report it with the run's manifest and parts"
                )
            counts[task] = total
    return counts


def make_results(
    config: RunConfig,
    benchmarks: LoadedBenchmarks,
    plan: PlanOf,
    ledger: Ledger,
    counts: Mapping[str, Counts],
) -> dict[str, Any]:
    """The content of ``results.json``: made of plan and parts alone, so that any driver makes the same."""

    def rows(task: str) -> Iterator[ItemResult]:
        for chunk in plan[task]:
            yield from ledger.read_part(chunk).rows

    results = aggregate(benchmarks, rows)
    total = sum(counts.values(), Counts())
    return results | {
        "config": {"model": config.model.name, "seed": config.spec.seed},
        "evalrun": {
            "engine": "mock" if config.spec.engine.mock is not None else "vllm",
            "numerics": config.spec.engine.numerics.value,
            "counts": {"planned": total.total, **_count_dict(total)},
            "tasks": {task: _count_dict(count) for task, count in counts.items()},
        },
    }


def encode_results(results: Mapping[str, Any]) -> bytes:
    """``results.json`` as bytes."""
    return json.dumps(results, indent=2, ensure_ascii=False).encode()


def write_samples(benchmarks: LoadedBenchmarks, plan: PlanOf, ledger: Ledger, store: ObjectStore) -> None:
    """lm-eval's ``samples_<task>.jsonl`` of every leaf task."""
    for leaf in benchmarks.leaves:

        def pairs(chunks: tuple[Chunk, ...] = plan[leaf.name]) -> Iterator[tuple[Item, ItemResult]]:
            for chunk in chunks:
                yield from zip(ledger.read_items(chunk), ledger.read_part(chunk).rows, strict=True)

        store.put(layout.samples(leaf.name), "".join(f"{line}\n" for line in sample_lines(leaf, pairs)).encode())


def scores_in(results: Mapping[str, Any]) -> tuple[Score, ...]:
    """Every score of ``results.json``, tasks in its order."""
    scores = []
    for task, entry in results["results"].items():
        for name, value in entry.items():
            metric, comma, filter_name = name.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = entry.get(f"{metric}_stderr,{filter_name}")
            scores.append(
                Score(
                    task=task,
                    metric=metric,
                    filter=filter_name,
                    value=_number(value),
                    stderr=_number(stderr),
                    n=entry.get("sample_len", 0),
                )
            )
    return tuple(scores)


def failed_examples(plan: PlanOf, ledger: Ledger, most: int = 3) -> list[str]:
    """A few of the items without a score, with their errors, for people."""
    found = []
    for task, chunks in plan.items():
        for chunk in chunks:
            for row in ledger.read_part(chunk).rows:
                if row.outcome.error is not None:
                    found.append(f"{task} document {row.doc_id}: {row.outcome.status}: {row.outcome.error}")
                    if len(found) == most:
                        return found
    return found


def _count_dict(counts: Counts) -> dict[str, int]:
    return {"ok": counts.ok, "failed": counts.failed, "quarantined": counts.quarantined}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  NaN
        return None
    return float(value)
