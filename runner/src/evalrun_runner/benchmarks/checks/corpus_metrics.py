"""Metrics over all documents at once whose documents do not fit together, whatever a model answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from lm_eval.api.registry import aggregation_registry

from evalrun_runner.benchmarks.checks.gold import gold_of
from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.checks.options import has_metrics_of_its_own_code
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks

MOST_DOCUMENTS = 20_000
"""Number of documents of a leaf that are looked at, about a second's worth."""


def check_corpus_metrics(loaded: LoadedBenchmarks) -> Iterator[Objection]:
    """Find multiple-choice tasks whose documents f1 or brier_score cannot be computed over."""
    for leaf in loaded.leaves:
        if leaf.task.OUTPUT_TYPE != "multiple_choice" or has_metrics_of_its_own_code(leaf.task):
            continue
        aggregations = leaf.task.aggregation()
        if _is(aggregations.get("f1"), "f1"):
            yield from _two_classes(leaf)
        if _is(aggregations.get("brier_score"), "brier_score"):
            yield from _one_number_of_choices(leaf)


def _is(function: object, aggregation: str) -> bool:
    return function is not None and function is aggregation_registry.get(aggregation, None)


def _documents(leaf: LeafTask) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the documents that will be scored, with their numbers."""
    documents = getattr(leaf.task, "task_docs", None)
    limit = min(MOST_DOCUMENTS, leaf.limit or MOST_DOCUMENTS)
    for number, doc in enumerate(islice(leaf.task.eval_docs if documents is None else documents, limit)):
        if leaf.evaluates(number) and (leaf.survey is None or leaf.survey.fault(number) is None):
            yield number, doc


def _two_classes(leaf: LeafTask) -> Iterator[Objection]:
    """F1 is of two classes, 0 and 1: more than two right answers never have one, more choices only by luck."""
    golds: set[int] = set()
    most = 0
    for _, doc in _documents(leaf):
        try:
            golds.update(gold_of(leaf.task, doc).places)
            most = max(most, len(leaf.task.doc_to_choice(doc)))
        except Exception:  # noqa: BLE001, S112  what is wrong with a document is the business of other checks
            continue
    never = len(golds) > 2 or bool(golds - {0, 1})
    if never or (most > 2 and not is_own(leaf)):
        yield Objection(
            leaf.name,
            f"metric_list: f1 is of two choices, the documents have up to {most}, and their answers are "
            f"{', '.join(map(str, sorted(golds)[:8]))}{', ...' if len(golds) > 8 else ''}",
            "leave f1 out, or use acc or mcc, which are for any number of choices",
            refused=not is_own(leaf),
        )


def _one_number_of_choices(leaf: LeafTask) -> Iterator[Objection]:
    first: dict[int, int] = {}
    counts: Counter[int] = Counter()
    for place, doc in _documents(leaf):
        try:
            number = len(leaf.task.doc_to_choice(doc))
        except Exception:  # noqa: BLE001, S112  what is wrong with a document is the business of other checks
            continue
        counts[number] += 1
        first.setdefault(number, place)
    if len(counts) < 2:
        return
    (usual, _), (other, _) = counts.most_common(2)
    yield Objection(
        leaf.name,
        f"metric_list: brier_score needs the same number of choices in all documents: document {first[usual]} has "
        f"{usual}, document {first[other]} has {other}",
        "leave brier_score out, or put documents with another number of choices into a task of their own",
        refused=not is_own(leaf),
    )
