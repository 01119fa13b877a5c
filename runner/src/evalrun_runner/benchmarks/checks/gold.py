"""Right answers of documents, read from a task as its metrics read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task


@dataclass(frozen=True, slots=True)
class Gold:
    """Right answers of a document."""

    texts: tuple[str, ...]
    """Texts of the right answers; several where the task accepts any of them."""
    places: tuple[int, ...] = ()
    """Their places among the choices, from 0; empty for a task without choices, or if none of them is a choice."""


def gold_of(task: Task, doc: Mapping[str, Any]) -> Gold:
    """Read the right answers of a document.

    Source: ``ConfigurableTask.process_results`` (lm_eval/api/task.py). A task with code of its own may read its answers
    elsewhere; then the texts are those of ``doc_to_target``.

    Raises:
        Exception: Whatever a template or the task's own code raises for this document.
    """
    several_inputs = bool(getattr(task, "multiple_input", 0))
    target = task.doc_to_text(doc) if several_inputs else task.doc_to_target(doc)
    targets = list(target) if isinstance(target, list | tuple) else [target]
    choices = _choices(task, doc)
    if choices is None:
        return Gold(tuple(str(one) for one in targets))
    places = tuple(place for one in targets if (place := _place(one, choices)) is not None)
    return Gold(tuple(str(choices[place]) for place in places) or tuple(str(one) for one in targets), places)


def _choices(task: Task, doc: Mapping[str, Any]) -> list[Any] | None:
    if not isinstance(task, ConfigurableTask) or task.config.doc_to_choice is None:
        return None
    return list(task.doc_to_choice(doc))


def _place(target: object, choices: list[Any]) -> int | None:
    if isinstance(target, int):
        return target if 0 <= target < len(choices) else None
    return choices.index(target) if target in choices else None
