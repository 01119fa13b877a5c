"""Scoring of responses, chunk by chunk, with lm-eval's own filters and metrics, without the data set.

A ``Scorer`` is made from a ``TaskRecipe`` in the process that has the responses. While lm-eval makes a task, it reads
only the first document of its data set, and the recipe carries that document.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from typing import Any

from lm_eval.api.filter import FilterEnsemble
from lm_eval.api.instance import Instance
from lm_eval.api.registry import filter_registry
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks._factory import _ctor_accepts_config

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.code_eval import as_text, confine_code, recorded_executions, runs_code
from evalrun_runner.benchmarks.errors import making_task
from evalrun_runner.benchmarks.lm_eval_log import lm_eval_log
from evalrun_runner.benchmarks.load import configure
from evalrun_runner.benchmarks.recipe import TaskRecipe
from evalrun_runner.benchmarks.registry import decode_config
from evalrun_runner.benchmarks.repetition import Repetition, repeat
from evalrun_runner.benchmarks.suites.sandbox import confine_templates
from evalrun_runner.errors import InputError, SandboxUnavailable, first_line
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, unscored


class Scorer:
    """Scorer of one leaf task's items. Not thread-safe.

    Raises:
        SandboxUnavailable: The task runs code, and this machine can set up no sandbox.
    """

    def __init__(self, recipe: TaskRecipe, task: Task | None = None) -> None:
        """Make the task's filters and metrics.

        Args:
            recipe: The leaf task's recipe.
            task: lm-eval's task object, where it was made already.
        """
        confine_templates()
        self._name = recipe.task
        code_eval = confine_code()
        with making_task(recipe.task), code_eval.importing_tasks():
            self._task = task_without_data(recipe) if task is None else task
        self._filters: list[FilterEnsemble] = self._task._filters
        self._pool = code_eval.pool if runs_code(self._task) else None
        if self._pool is not None:
            self._pool.choose()

    def score(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Score items, in order. Outcomes that are not ok pass through unscored.

        If a filter or metric raises an error for an item, that item is failed with the error, and the others continue.

        Raises:
            InputError: A filter looks at several documents at once, so chunks cannot be scored separately.
        """
        instances = [
            instances_of(item, outcome) if outcome.status is ItemStatus.OK else []
            for item, outcome in zip(items, outcomes, strict=True)
        ]
        filtered = self._filter_together(instances)

        def scored(item: Item, outcome: Outcome, own: list[Instance]) -> ItemResult:
            return self._score_one(item, outcome, own, filtered) if own else unscored(item, outcome)

        if self._pool is None:
            return list(map(scored, items, outcomes, instances))
        # Each thread waits for one sandbox. lm-eval's own metrics of code share nothing.
        with ThreadPoolExecutor(self._pool.size) as threads:
            return list(threads.map(scored, items, outcomes, instances))

    def _filter_together(self, instances: Sequence[list[Instance]]) -> bool:
        """Filter a whole chunk at once, as some filters are slow to start. Return whether no filter failed."""
        together = [instance for own in instances for instance in own]
        if not together:
            return True
        try:
            for ensemble in self._filters:
                ensemble.apply(together)
        except Exception:  # noqa: BLE001  a filter may raise anything
            # Filtering each item separately will show which response was the cause.
            return False
        self._refuse_filters_across_documents(instances)
        return True

    def _refuse_filters_across_documents(self, instances: Sequence[list[Instance]]) -> None:
        # lm-eval's registered filters look at one response list at a time; for other filters, compare the results.
        own = [ensemble for ensemble in self._filters if not _all_registered(ensemble)]
        for alone in instances if own else []:
            if not alone:
                continue
            copies = [replace(instance, filtered_resps={}) for instance in alone]
            for ensemble in own:
                ensemble.apply(copies)
                for copy, instance in zip(copies, alone, strict=True):
                    if repr(copy.filtered_resps[ensemble.name]) != repr(instance.filtered_resps[ensemble.name]):
                        raise InputError(
                            f"task {self._name!r}: its filter {ensemble.name!r} gives document {instance.doc_id} "
                            "another answer when it stands alone. Filters that look at several documents at once are "
                            "not supported: documents are scored in chunks"
                        )

    def _score_one(self, item: Item, outcome: Outcome, instances: list[Instance], filtered: bool) -> ItemResult:
        try:
            if not filtered:
                for ensemble in self._filters:
                    ensemble.apply(instances)
            responses = {
                ensemble.name: [instance.filtered_resps[ensemble.name] for instance in instances]
                for ensemble in self._filters
            }
            # For each filter, lm-eval takes a fresh copy of the document from the data set.
            with recorded_executions() as executions:
                scores = {
                    name: dict(self._task.process_results(deepcopy(dict(item.doc)), answers))
                    for name, answers in responses.items()
                }
            return ItemResult(
                item.doc_id,
                item.hash,
                outcome,
                values.encode(scores),
                values.encode(responses),
                item.prompt_hash,
                self._target(item),
                json.dumps(as_text(executions)) if executions else None,
            )
        except SandboxUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  a metric may raise anything
            reason = f"scoring failed: task {self._name!r}, document {item.doc_id}: {type(error).__name__}: "
            failed = Outcome(ItemStatus.FAILED, outcome.responses, reason + first_line(error))
            return unscored(item, failed)

    def _target(self, item: Item) -> str | None:
        """Return the right answer as lm-eval's samples have it; None where the task's code does not tell."""
        try:
            return str(self._task.doc_to_target(deepcopy(dict(item.doc))))
        except Exception:  # noqa: BLE001  a task may have metrics that need no target, and code that raises anything
            return None


def _all_registered(ensemble: FilterEnsemble) -> bool:
    known = {filter_registry.get(name) for name in filter_registry.keys() if name != "custom"}  # noqa: SIM118  # no dict
    return all(getattr(part, "func", part) in known for part in ensemble.filters)


def instances_of(item: Item, outcome: Outcome) -> list[Instance]:
    """Return lm-eval's instances of an item, with its responses."""
    doc = dict(item.doc)
    return [
        Instance(
            request_type=request.type.value,
            doc=doc,
            arguments=request.arguments,
            idx=request.index,
            metadata=(item.task, item.doc_id, request.repeats),
            resps=[_value(response.value) for response in responses],
        )
        for request, responses in zip(item.requests, outcome.responses, strict=True)
    ]


def _value(value: Any) -> Any:
    # lm-eval uses tuples; on some paths here, JSON has turned them into lists.
    return tuple(value) if isinstance(value, list) else value


class _FirstDocument:
    """Substitute for a data set with what lm-eval reads while it makes a task: features and the first document."""

    def __init__(self, doc: dict[str, Any]) -> None:
        self._doc = doc
        self.features = dict.fromkeys(doc)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return deepcopy(self._doc)

    def __len__(self) -> int:
        return 1


def task_without_data(recipe: TaskRecipe) -> Task:
    """Make lm-eval's task object with only the first document of its data set, for filters and metrics only."""
    first = _FirstDocument(values.decode(recipe.first_doc))

    class WithoutData:
        """Mixin before the task's own class that replaces access to the data set."""

        def download(self, *args: object, **kwargs: object) -> None:
            self.dataset: dict[str, _FirstDocument] = {}

        @property
        def eval_docs(self) -> _FirstDocument:
            return first

        def fewshot_docs(self) -> None:
            return None

    config = decode_config(recipe.config)
    base = config.get("class", ConfigurableTask)
    cls = type(base.__name__, (WithoutData, base), {})
    with lm_eval_log():  # what it warns of was said when the task was loaded
        task: Task = cls(config=config) if _ctor_accepts_config(base) else cls()
    task.config.task = recipe.task
    configure(task, recipe.num_fewshot, recipe.generation, recipe.seed)
    repeat(task, Repetition(recipe.repeats, recipe.k))
    return task
