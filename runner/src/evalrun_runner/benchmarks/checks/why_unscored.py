"""Search for the filter or metric that cannot score an answer, so that a message names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.registry import filter_registry
from lm_eval.api.task import Task
from lm_eval.filters.extraction import RegexFilter

from evalrun_runner.benchmarks.checks.options import has_metrics_of_its_own_code, step_name
from evalrun_runner.benchmarks.errors import explain
from evalrun_runner.benchmarks.score import instances_of
from evalrun_runner.errors import first_line
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import Outcome


@dataclass(frozen=True, slots=True)
class Cause:
    """What cannot score an answer."""

    what: str
    """Field, step and error."""
    hint: str = ""


def why_unscored(task: Task, item: Item, outcome: Outcome) -> Cause | None:
    """Return which filter or metric of a task raises for an answer; None if none does on its own."""
    instances = instances_of(item, outcome)
    cause = _filter(task, instances)
    return cause if cause is not None else _metric(task, item, instances)


def why_unfiltered(task: Task, item: Item, outcome: Outcome) -> Cause | None:
    """Return which of lm-eval's own filters raises for an answer, None if none does."""
    return _filter(task, instances_of(item, outcome), only_registered=True)


def _filter(task: Task, instances: Sequence[Instance], *, only_registered: bool = False) -> Cause | None:
    docs = [instance.doc for instance in instances]
    for ensemble in task._filters:
        responses: Any = [instance.resps for instance in instances]
        for place, step in enumerate(ensemble.filters):
            before = responses
            try:
                responses = list(step().apply(responses, docs))
            except Exception as error:  # noqa: BLE001  a filter may be anyone's code
                if only_registered and not _is_registered(step):
                    return None
                where = f"filter_list: {ensemble.name!r}, step {place + 1} ({step_name(step)})"
                if isinstance(error, IndexError) and isinstance(made := step(), RegexFilter):
                    return Cause(f"{where}: {_selected(made, before)}", _SELECT_HINT)
                return Cause(f"{where}: {_sentence(error)}")
    return None


_SELECT_HINT = (
    "group_select counts the matches of the pattern in an answer, not the groups in the pattern: 0 is the first match, "
    "-1 the last"
)


def _is_registered(step: Any) -> bool:
    names = [name for name in filter_registry.keys() if name != "custom"]  # noqa: SIM118  # no dict
    return any(filter_registry.get(name) is getattr(step, "func", step) for name in names)


def _selected(made: RegexFilter, responses: Sequence[Any]) -> str:
    texts = [text for one in responses for text in (one if isinstance(one, list) else [one]) if isinstance(text, str)]
    counts = [(text, len(matches)) for text in texts if (matches := made.regex.findall(text))]
    text, count = counts[0] if counts else ("", 0)
    found = f"{count} match{'' if count == 1 else 'es'}"
    return f"group_select is {made.group_select}, and the pattern has {found} in {text!r:.60}"


def _sentence(error: BaseException) -> str:
    return explain(error) if isinstance(error, KeyError) else f"{type(error).__name__}: {first_line(error)}"


def _metric(task: Task, item: Item, instances: Sequence[Instance]) -> Cause | None:
    for ensemble in task._filters:
        ensemble.apply(list(instances))
        answers = [instance.filtered_resps[ensemble.name] for instance in instances]
        for name in _one_by_one(task):
            try:
                task.process_results(deepcopy(dict(item.doc)), deepcopy(answers))
            except Exception as error:  # noqa: BLE001  a metric may be anyone's code
                field = f"metric_list: {name}" if name else "process_results"
                return Cause(f"{field}: {_sentence(_first(error))}")
    return None


def _one_by_one(task: Task) -> Iterator[str]:
    """Leave a task with one of its metrics at a time, by name; with all of them where code of its own scores."""
    if has_metrics_of_its_own_code(task):
        yield ""
        return
    metrics = task._metric_fn_list
    try:
        for name, function in dict(metrics).items():
            task._metric_fn_list = {name: function}
            yield str(name)
    finally:
        task._metric_fn_list = metrics


def _first(error: BaseException) -> BaseException:
    """Return the error that came first: lm-eval calls a metric in another way after a ``TypeError``."""
    while isinstance(error.__context__, TypeError):
        error = error.__context__
    return error
