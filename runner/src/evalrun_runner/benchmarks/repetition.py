"""Several answers to each document: how many, and of how many one must be right (pass@k)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lm_eval.api.task import Task
from lm_eval.filters.selection import TakeFirstFilter

from evalrun_runner.engine.generation import BadArgument, parse_generation
from evalrun_runner.errors import InputError

_K = "k"


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a benchmark asks of its tasks; None keeps the task's own."""

    repeats: int | None = None
    """Answers to each document."""
    k: tuple[int, ...] | None = None
    """Numbers of answers of which one must be right."""


def repeat(task: Task, wanted: Repetition) -> None:
    """Override a task's repeats and its metrics' ``k``."""
    if wanted.repeats is not None:
        task.set_config(key="repeats", value=wanted.repeats)
    if wanted.k is not None:
        for metric in _metrics_with_k(task):
            task._metric_fn_kwargs[metric] = {**task._metric_fn_kwargs[metric], _K: list(wanted.k)}


def check_repetition(benchmark: str, name: str, task: Task, wanted: Repetition) -> None:
    """Refuse repeats and k that a configured task cannot use, or that would give each score of one answer.

    Raises:
        InputError: The message names benchmark, field and task.
    """
    where = f"benchmark {benchmark!r}, task {name!r}"
    repeats = int(task.get_config("repeats") or 1)
    if wanted.k is not None:
        if not list(_metrics_with_k(task)):
            raise InputError(f"{where}: k has no effect: none of its metrics is a pass@k; hint: leave k out")
        if max(wanted.k) > repeats:
            raise InputError(
                f"{where}: k is {max(wanted.k)}, and there are {repeats} answers to each document; "
                f"hint: set repeats to at least {max(wanted.k)}"
            )
    if wanted.repeats is not None and wanted.repeats > 1:
        _check_useful(where, task)


def _check_useful(where: str, task: Task) -> None:
    if task.get_config("output_type") != "generate_until":
        raise InputError(f"{where}: repeats has no effect: nothing is generated; hint: leave repeats out")
    if all(any(_made(part) is TakeFirstFilter for part in one.filters) for one in task._filters):
        raise InputError(
            f"{where}: repeats has no effect: its filters keep the first answer of each document only; "
            "hint: leave repeats out"
        )
    try:
        greedy = parse_generation(task.get_config("generation_kwargs") or {}, None).temperature == 0
    except BadArgument:
        return  # it is refused where requests are checked, with its name
    if greedy:
        raise InputError(
            f"{where}: repeats of greedy decoding are the same answer again\n"
            "hint: set generation: {do_sample: true, temperature: 0.2} on this benchmark, or leave repeats out"
        )


def _made(part: Any) -> Any:
    """Return the class that a filter's part makes: parts are classes, partial objects, or filters made already."""
    made = getattr(part, "func", part)
    return made if isinstance(made, type) else type(made)


def _metrics_with_k(task: Task) -> Iterable[str]:
    """Yield the metrics of a task whose function takes ``k``."""
    for metric, function in getattr(task, "_metric_fn_list", {}).items():
        if callable(function) and _K in _parameters(function):
            yield metric


def _parameters(function: Callable[..., Any]) -> Iterable[str]:
    inner = getattr(function, "__self__", function)
    try:
        return inspect.signature(inner if callable(inner) else function).parameters
    except (TypeError, ValueError):
        return ()
