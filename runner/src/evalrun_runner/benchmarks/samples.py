"""lm-eval's ``samples_<task>.jsonl``: one line per document and filter, as ``EvaluationTracker`` writes them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

from lm_eval.utils import handle_non_serializable, hash_string, sanitize_list

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus


def sample_file(leaf: LeafTask, rows: Iterable[tuple[Item, ItemResult]]) -> bytes:
    """Make a leaf task's samples file in lm-eval's order, filter by filter.

    Items that are not ok have no sample: lm-eval has no such concept, and a line without metrics would break its
    readers. The parts contain these items with their errors.

    Args:
        leaf: The leaf task.
        rows: The task's items and results in canonical order; gone through once.
    """
    by_filter = [(ensemble.name, io.BytesIO()) for ensemble in leaf.task._filters]
    for item, result in rows:
        if result.outcome.status is ItemStatus.OK:
            for name, lines in by_filter:
                sample = _sample(leaf, name, item, result)
                lines.write(json.dumps(sample, default=handle_non_serializable, ensure_ascii=False).encode() + b"\n")
    whole, *others = [lines for _, lines in by_filter]
    for lines in others:
        whole.write(lines.getbuffer())
        lines.close()
    return whole.getvalue()


def _sample(leaf: LeafTask, name: str, item: Item, result: ItemResult) -> dict[str, Any]:
    doc = dict(item.doc)
    metrics = values.decode(result.scores or "{}")[name]
    target = leaf.task.doc_to_target(doc)
    responses = [[one.value for one in repeats] for repeats in result.outcome.responses]
    return {
        "doc_id": item.doc_id,
        "doc": doc,
        "target": str(target),
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": argument for j, argument in enumerate(request.arguments)}
            for i, request in enumerate(item.requests)
        },
        "resps": sanitize_list(responses),
        "filtered_resps": sanitize_list(values.decode(result.filtered or "{}")[name]),
        "filter": name,
        "metrics": list(metrics),
        "doc_hash": hash_string(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)),
        "prompt_hash": hash_string(item.requests[0].arguments[0]),
        "target_hash": hash_string(str(target)),
        **metrics,
    }
