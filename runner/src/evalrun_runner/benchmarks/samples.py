"""lm-eval's ``samples_<task>.jsonl``: one line per document and filter, as ``EvaluationTracker`` writes them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lm_eval.utils import handle_non_serializable, sanitize_list

from evalrun_api.wire.outputs import finite
from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.declared import DeclaredFields, declared_fields, label_of, labels_of
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.records.plan import Item, hash_text
from evalrun_runner.records.results import ItemResult, ItemStatus


@dataclass(frozen=True, slots=True)
class SampleFile:
    """Samples of a leaf task."""

    data: bytes
    """``samples_<task>.jsonl``."""
    task_hash: str
    """lm-eval's hash of all samples, which ``results.json`` has under ``task_hashes``."""


def sample_file(leaf: LeafTask, rows: Iterable[tuple[Item, ItemResult]]) -> SampleFile:
    """Make a leaf task's samples file in lm-eval's order, filter by filter.

    Items that are not ok have no sample: lm-eval has no such concept, and a line without metrics would break its
    readers. The parts contain these items with their errors.

    Args:
        leaf: The leaf task.
        rows: The task's items and results in canonical order; gone through once.
    """
    declared = declared_fields(leaf.task.get_config("metadata"))
    by_filter = [(ensemble.name, io.BytesIO(), io.StringIO()) for ensemble in leaf.task._filters]
    for item, result in rows:
        if result.outcome.status is ItemStatus.OK:
            for name, lines, hashes in by_filter:
                sample = {**_sample(leaf, name, item, result), **_labels(declared, item)}
                lines.write(_line(sample))
                hashes.write(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"])
    (_, whole, whole_hashes), *others = by_filter
    for _, lines, hashes in others:
        whole.write(lines.getbuffer())
        whole_hashes.write(hashes.getvalue())
        lines.close()
    return SampleFile(whole.getvalue(), hash_text(whole_hashes.getvalue()))


def _labels(declared: DeclaredFields, item: Item) -> dict[str, Any]:
    """Return what an item is labelled with, in a key of EvalRun's own; nothing where the task declares nothing."""
    if not declared.names:
        return {}
    labels = {
        "cluster": None if declared.cluster is None else label_of(item.doc.get(declared.cluster)),
        "strata": {name: label_of(item.doc.get(name)) for name in declared.strata},
        "tags": [] if declared.tags is None else list(labels_of(item.doc.get(declared.tags))),
    }
    return {"evalrun": labels}


def _line(sample: dict[str, Any]) -> bytes:
    """Encode a sample as lm-eval does, but for what is no JSON: numbers that are not finite are null."""
    try:
        text = json.dumps(sample, default=handle_non_serializable, ensure_ascii=False, allow_nan=False)
    except ValueError:
        plain = json.loads(json.dumps(sample, default=handle_non_serializable))
        text = json.dumps(finite(plain), ensure_ascii=False)
    # Half of a surrogate pair is no text, but JSON can write it as an escape.
    return text.encode(errors="backslashreplace") + b"\n"


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
        "doc_hash": hash_text(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)),
        "prompt_hash": item.prompt_hash,
        "target_hash": hash_text(str(target)),
        **metrics,
    }
