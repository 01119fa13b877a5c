"""Preview of each leaf task without an engine: its first document as the engine would be asked it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.gold import Gold, gold_of
from evalrun_runner.benchmarks.errors import explain
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import RequestType


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """The first document of a leaf task, as the engine would be asked it and as its answer would be judged."""

    task: str
    benchmark: str
    output_type: str
    """lm-eval's: ``multiple_choice``, ``generate_until``, ``loglikelihood`` or ``loglikelihood_rolling``."""
    documents: int
    """Number of documents that the run would ask, after ``limit``."""
    num_fewshot: int
    """Number of examples in each prompt."""
    prompts: tuple[str, ...]
    """Different prompts of the document, as they are sent: with examples, system message and chat template.

    One, but for tasks whose choices are contexts. None for ``loglikelihood_rolling``, which has no prompt.
    """
    choices: tuple[str, ...]
    """Texts whose likelihood is asked for, with the delimiter before them; empty for ``generate_until``."""
    gold: Gold
    """Right answers."""
    generation: Mapping[str, Any]
    """Generation arguments as they are sent; empty but for ``generate_until``."""
    repeats: int
    """Number of answers to each prompt."""


def preview_tasks(loaded: LoadedBenchmarks, chat: ChatTemplate | None) -> Iterator[TaskPreview]:
    """Yield a preview of every leaf task, in canonical order.

    Args:
        loaded: The run's leaf tasks.
        chat: The model's chat template, if a benchmark applies one; ``plain_turns`` where there is no model.

    Raises:
        InputError: A first document cannot be built; the message names task, document and problem.
    """
    for leaf in loaded.leaves:
        yield preview_task(leaf, chat)


def preview_task(leaf: LeafTask, chat: ChatTemplate | None) -> TaskPreview:
    """Build a leaf task's first document. Raises ``InputError`` as ``preview_tasks`` does."""
    # A document that is wrong has no requests; if all are, the check of the documents says so.
    item = next((item for item in iter_items(leaf, chat) if item.fault is None), None)
    if item is None:
        raise InputError(f"task {leaf.name!r}: no document is right, document 0: {_fault(leaf)}")
    asked = [request for request in item.requests if request.type is not RequestType.LOGLIKELIHOOD_ROLLING]
    texts = [request.arguments[-1] for request in item.requests if request.type is not RequestType.GENERATE_UNTIL]
    generation = [request.arguments[1] for request in item.requests if request.type is RequestType.GENERATE_UNTIL]
    try:
        gold = gold_of(leaf.task, item.doc)
    except Exception as error:
        raise InputError(f"task {leaf.name!r}, document {item.doc_id}: it has no target: {explain(error)}") from error
    return TaskPreview(
        task=leaf.name,
        benchmark=leaf.benchmark.name,
        output_type=str(leaf.task.get_config("output_type") or leaf.task.OUTPUT_TYPE),
        documents=leaf.documents,
        num_fewshot=leaf.task.config.num_fewshot or 0,
        prompts=tuple(dict.fromkeys(request.arguments[0] for request in asked)),
        choices=tuple(dict.fromkeys(texts)),
        gold=gold,
        generation=dict(generation[0]) if generation else {},
        repeats=max(request.repeats for request in item.requests),
    )


def _fault(leaf: LeafTask) -> str:
    return (leaf.survey.fault(0) if leaf.survey else None) or ""


def plain_turns(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    """Render a conversation as ``[role] content`` lines: a stand-in for a chat template where there is no model."""
    lines = [f"[{message['role']}] {message['content']}" for message in messages]
    return "\n".join([*lines, "[assistant]"] if add_generation_prompt else lines)
