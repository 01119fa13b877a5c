"""Outputs of runs with scores that a test chooses: EvalRun's ledger, lm-eval's files, CSV tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalrun_runner.comparing.keys import document_hash, text_hash
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import TaskIndex, chunk_digest
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from support.builders import FAILED, cut, generate, make_item
from support.outputs import make_results

Scores = Sequence[Any]
CHUNK = 8


def question(number: int) -> dict[str, Any]:
    """Return the document of an item."""
    return {"question": f"What is {number} + {number}?", "answer": str(2 * number), "passage": number // 6}


def prompt(number: int, style: str = "Q") -> str:
    """Return the prompt of an item."""
    return f"{style}: {question(number)['question']}\nA:"


def results_document(
    model: str, tasks: Sequence[str], metric: str = "exact_match", **facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return results in lm-eval's layout; ``facts`` are fields of every task's configuration or of the whole."""
    config = {"doc_to_text": "Q: {{question}}\nA:", "metric_list": [{"metric": metric}], **facts.get("config", {})}
    return {
        "results": {task: {f"{metric},none": 0.5} for task in tasks},
        "configs": {task: config for task in tasks},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {task: {metric: True} for task in tasks},
        "n-samples": {},
        "group_subtasks": {"both": list(tasks)} if len(tasks) > 1 else {},
        "config": {"model": model, "seed": 1, "limit": None},
        "model_name": model,
        **facts.get("whole", {}),
    }


def write_evalrun(
    place: Path | ObjectStore,
    tasks: Mapping[str, Scores],
    *,
    model: str = "m",
    style: str = "Q",
    first: int = 0,
    metric: str = "exact_match",
    **facts: Mapping[str, Any],
) -> None:
    """Write the output of a finished EvalRun.

    Args:
        place: Folder or store.
        tasks: Score of each item, or of each a JSON text in EvalRun's codec; None for an item that failed.
        model: Name of the model.
        style: Beginning of each prompt.
        first: Document number of the first item.
        metric: Name of the metric.
        facts: See ``results_document``.
    """
    store = DirectoryStore(place) if isinstance(place, Path) else place
    ledger = Ledger(store)
    for task, scores in tasks.items():
        items = [
            make_item(generate(prompt(number, style)), doc_id=number, task=task, doc=question(number))
            for number in range(first, first + len(scores))
        ]
        chunks = cut(items, CHUNK)
        ledger.write_segment(items, chunks)
        for chunk in chunks:
            mine = range(chunk.first_row, chunk.first_row + chunk.items)
            rows = [_row(items[place], scores[place], metric) for place in mine]
            ledger.commit_part(chunk, rows, Writer("r", "mock"))
        digest = chunk_digest(chunk.digest for chunk in chunks)
        ledger.write_task_index(TaskIndex(task, 1, len(items), len(chunks), 1.0, digest))
    given = results_document(model, list(tasks), metric, **facts)
    ledger.claim_epoch()
    ledger.write_results(1, make_results({**given, "evalrun": {"engine": "vllm"}}).write())
    ledger.complete(1)


def _row(item: Item, score: float | None, metric: str) -> ItemResult:
    if score is None:
        return ItemResult(item.doc_id, item.hash, FAILED)
    answer = f"it is {score:g}" if isinstance(score, float) else ""
    outcome = Outcome(ItemStatus.OK, ((Response(answer, "stop", 1, 1),),))
    return ItemResult(item.doc_id, item.hash, outcome, scores=json.dumps({"none": {metric: score}}), filtered="{}")


def write_lm_eval(
    folder: Path,
    tasks: Mapping[str, Scores],
    *,
    model: str = "m",
    style: str = "Q",
    first: int = 0,
    metric: str = "exact_match",
    time: str = "2026-01-02T03-04-05.000006",
    **facts: Mapping[str, Any],
) -> Path:
    """Write lm-eval's results and samples, and return the result file; see ``write_evalrun``."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, scores in tasks.items():
        lines = [
            json.dumps(
                {
                    "doc_id": number,
                    "doc": question(number),
                    "target": question(number)["answer"],
                    "arguments": {"gen_args_0": {"arg_0": prompt(number, style), "arg_1": {}}},
                    "resps": [[f"it is {score:g}"]],
                    "filtered_resps": [f"it is {score:g}"],
                    "filter": "none",
                    "metrics": [metric],
                    "doc_hash": document_hash(question(number)),
                    "prompt_hash": text_hash(prompt(number, style)),
                    "target_hash": text_hash(question(number)["answer"]),
                    metric: score,
                }
            )
            for number, score in enumerate(scores, first)
            if score is not None
        ]
        (folder / f"samples_{task}_{time}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    file = folder / f"results_{time}.json"
    file.write_text(json.dumps(results_document(model, list(tasks), metric, **facts)))
    return file
