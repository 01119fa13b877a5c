"""What is noted of a task's documents while they are planned, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lm_eval.api.task import Task

from evalrun_runner.benchmarks.checks.documents import DocumentJudge
from evalrun_runner.benchmarks.checks.examples import OwnAnswers
from evalrun_runner.records.plan import PlanNote


class Remarks:
    """Notes on the documents of one task, taken while its items are built.

    Args:
        task: lm-eval's task.
        survey: Whether to look at the documents themselves: those of lm-eval's own tasks, which are scored whatever is
            found. A user's own were looked at before.
    """

    def __init__(self, task: Task, *, survey: bool) -> None:
        self._judge = DocumentJudge(task, strict=False) if survey else None
        self._answers = OwnAnswers(task)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the few-shot examples that the task draws inside the block."""
        with self._answers.watching():
            yield

    def look(self, document: int, doc: Any) -> None:
        """Look at a document before its prompt is built, which may change it."""
        if self._judge is not None:
            self._judge.look(document, doc)

    def built(self, document: int, doc: Any) -> None:
        """Look at the examples of a prompt that was built."""
        if isinstance(doc, Mapping):
            self._answers.count(document, doc)

    def notes(self) -> tuple[PlanNote, ...]:
        """Return the notes, after the last document."""
        own = self._answers.note()
        surveyed = () if self._judge is None else self._judge.survey().as_notes()
        return surveyed if own is None else (*surveyed, own)
