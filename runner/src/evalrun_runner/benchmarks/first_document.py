"""Making of a task whose first document is wrong: lm-eval reads that one while it makes the task, and gives up.

lm-eval learns of the first document whether prompts are indices and whether answers are lists. For a user's own task
the first document that is right decides instead, so that a wrong one is found and named like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task

from evalrun_runner.benchmarks.checks.documents import survey_documents
from evalrun_runner.benchmarks.checks.summary import refusal
from evalrun_runner.errors import InputError


def decide_by(task: Task, doc: Mapping[str, Any]) -> None:
    """Let lm-eval's task learn of a document what ``ConfigurableTask.__init__`` learned of the first one."""
    if not isinstance(task, ConfigurableTask):
        return
    target = task.doc_to_target(deepcopy(dict(doc)))
    task.multiple_target = len(target) if isinstance(target, list) else 0
    if task.config.doc_to_choice is not None:
        several = isinstance(task.doc_to_text(deepcopy(dict(doc))), int)
        task.multiple_input = len(task.doc_to_choice(deepcopy(dict(doc)))) if several else 0


class TolerantTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval ships no types
    """lm-eval's task, made of the first document that it can be made of."""

    _made = False

    def __init__(self, config: dict[str, Any]) -> None:
        """Make the task.

        Raises:
            InputError: It can be made of no document; the message names them and what is wrong with them.
        """
        super().__init__(config=config)
        self._made = True
        self.task_docs = self.eval_docs

    @property
    def eval_docs(self) -> Any:
        """Documents to evaluate."""
        documents = super().eval_docs
        return documents if self._made else _FirstThatIsRight(self, documents)


class _FirstThatIsRight:
    """Documents of which the first is one that lm-eval can make the task of."""

    def __init__(self, task: TolerantTask, documents: Any) -> None:
        self._task = task
        self._documents = documents
        self.features = documents.features

    def __getitem__(self, index: int) -> Any:
        for doc in self._documents:
            if _can_be_read(self._task, doc):
                return doc
        survey = survey_documents(self._task, lambda: enumerate(self._documents))
        if not survey.findings:
            return self._documents[index]
        raise InputError(refusal({self._task.config.task: survey}))


def _can_be_read(task: ConfigurableTask, doc: Any) -> bool:
    """Do with a document what ``ConfigurableTask.__init__`` does with the first one."""
    if not isinstance(doc, Mapping):
        return False
    doc = deepcopy(dict(doc))
    try:
        task.doc_to_text(doc)
        target = task.doc_to_target(doc)
        if task.config.doc_to_choice is None:
            return True
        choices = task.doc_to_choice(doc)
        if isinstance(target, int):
            choices[target]
        return isinstance(choices, list) and all(isinstance(choice, str) and choice for choice in choices)
    except Exception:  # noqa: BLE001  a template may raise anything; the survey says what
        return False
