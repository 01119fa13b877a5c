"""How lm-eval reads the documents of a task: which of its fields, for what, and by which templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task

from evalrun_runner.benchmarks.checks.answers import Use
from evalrun_runner.benchmarks.checks.columns import meant_column
from evalrun_runner.benchmarks.checks.nulls import TemplateFields
from evalrun_runner.benchmarks.checks.own_names import OwnNames

_READ = ("doc_to_text", "doc_to_choice", "doc_to_target")
_PRINTED = (*_READ, "description", "gen_prefix")


def use_of(task: Task) -> Use:
    """Return how lm-eval uses the answers of a task."""
    match task.OUTPUT_TYPE:
        case "loglikelihood":
            return Use.CONTINUATION
        case "loglikelihood_rolling":
            return Use.DOCUMENT
    own = type(task).process_results is not ConfigurableTask.process_results
    if own or callable(task.get_config("process_results")) or set(task._metric_fn_list) <= {"bypass"}:
        return Use.NOTHING
    if task.OUTPUT_TYPE == "multiple_choice":
        return Use.CHOICE
    return Use.TEXT if task.get_config("doc_to_choice") is None else Use.PLACE


class TaskReading:
    """Reading of one task's documents.

    Args:
        task: lm-eval's task, one that is configured.
        strict: Whether the task is the user's own. Else its functions are not called, as they may have a state.
    """

    def __init__(self, task: Task, *, strict: bool) -> None:
        self._task = task
        self._strict = strict
        self.use = use_of(task)
        self.columns: list[str] = list(task.features)
        self.inputs = bool(task.multiple_input)
        """Whether the prompts are the choices, so that the index of the right one is in ``doc_to_text``."""
        self.reads = [key for key in _READ if self._may_read(key)]
        """Fields that are read."""
        self.calls = any(callable(self.setting(key)) for key in self.reads)
        """Whether one of them is a function, which may change the document."""
        self.printed = list(self._templates())
        """Templates that reach the model or the score, by field."""
        self.where = "doc_to_text" if self.inputs else self.named("doc_to_target")
        """Name of the field with the answers, for messages."""
        self.own = OwnNames(self.setting("doc_to_target"), self.setting("doc_to_choice"), self.columns)
        self.meant = {key: self._meant_column(key) for key in ("doc_to_text", "doc_to_target")}
        """What to do about a field that is a text and was meant as a column; empty if it was not."""

    def setting(self, key: str) -> Any:
        """Return a setting of the task; None if it is not set."""
        return getattr(self._task.config, key, None)

    def named(self, key: str) -> str:
        """Name a field of the task with the column that it takes."""
        value = self.setting(key)
        return f"{key} ({value})" if isinstance(value, str) and value in self.columns else key

    def _meant_column(self, key: str) -> str:
        value = self.setting(key)
        return meant_column(value, self.columns) if self._strict and isinstance(value, str) else ""

    def _may_read(self, key: str) -> bool:
        value = self.setting(key)
        if value is None or (callable(value) and not self._strict):
            return False
        match key:
            case "doc_to_text":
                return self._strict or self.inputs
            case "doc_to_choice":
                return self.use in (Use.CHOICE, Use.PLACE)
        return self.use is not Use.NOTHING

    def _templates(self) -> Iterator[tuple[str, TemplateFields]]:
        """Yield the task's templates that reach the model or the score."""
        for key in _PRINTED:
            value = self.setting(key)
            unused = key == "doc_to_target" and self.use is Use.NOTHING
            if isinstance(value, str) and "{" in value and value not in self.columns and not unused:
                yield key, TemplateFields(value)
