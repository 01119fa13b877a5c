"""Guard around the checks of one leaf task: whatever a user's data makes one raise is said of that task and step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.errors import EvalRunError, first_line

_log = logging.getLogger(__name__)


def for_each_leaf(
    step: str, loaded: LoadedBenchmarks, check: Callable[[LoadedBenchmarks], Iterable[Objection]]
) -> Iterator[Objection]:
    """Run a check for one leaf task at a time.

    Args:
        step: What the check looks at, for the message.
        loaded: The run's leaf tasks.
        check: The check.

    Raises:
        InputError: As the check does; every other exception becomes an objection.
    """
    for leaf in loaded.leaves:
        yield from guarded(step, leaf, lambda leaf=leaf: check(replace(loaded, leaves=(leaf,))))  # type: ignore[misc]


def guarded(step: str, leaf: LeafTask, check: Callable[[], Iterable[Objection]]) -> list[Objection]:
    """Run a check of one leaf task; what it raises becomes an objection that names the task and the step.

    Raises:
        InputError: As the check does.
    """
    try:
        return list(check())
    except EvalRunError:
        raise
    except Exception as error:  # noqa: BLE001  a check runs templates, filters and metrics of a user's own
        return [unexpected(step, leaf, error)]


def unexpected(step: str, leaf: LeafTask, error: Exception) -> Objection:
    """Return the objection to a task of which a check raised what nobody foresaw."""
    _log.debug("task %s: %s", leaf.name, step, exc_info=error)
    what = f"{step} cannot be checked: {type(error).__name__}: {first_line(error)}"
    return Objection(leaf.name, what, refused=not is_own(leaf))
