"""Objections of the checks: what is wrong with which tasks, as one refusal or as warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evalrun_api import RunWarning
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.errors import InputError

_MOST_TASKS = 3
_MOST_OBJECTIONS = 5
_MOST_CHARACTERS = 1000
_MOST_ABOUT = 250


@dataclass(frozen=True, slots=True)
class Objection:
    """Something wrong with a leaf task. Leaves of one group often share it, then it is said once."""

    task: str
    what: str
    """What is wrong, with the field and what was expected."""
    hint: str = ""
    """What to do; empty if the rest says it."""
    refused: bool = True
    """Whether the run is refused; otherwise the reader of its scores is warned."""


def is_own(leaf: LeafTask) -> bool:
    """Return whether a leaf is one of lm-eval's own tasks, which nobody here can change: parity decides there."""
    return leaf.survey is None


def settle(objections: Iterable[Objection]) -> tuple[RunWarning, ...]:
    """Return the objections that warn, as warnings.

    Raises:
        InputError: An objection refuses the run; the message has all that do.
    """
    everything = list(objections)
    refused = list(_together(objection for objection in everything if objection.refused))
    if refused:
        more = len(refused) - _MOST_OBJECTIONS
        lines = [f"{about}: {what}" + (f"\nhint: {hint}" if hint else "") for about, what, hint in refused]
        raise InputError("\n".join([*lines[:_MOST_OBJECTIONS], *([f"and {more} more"] if more > 0 else [])]))
    warned = _together(objection for objection in everything if not objection.refused)
    return tuple(
        RunWarning(
            about=about.removeprefix("task ").replace("'", "")[:_MOST_ABOUT],
            message=(f"{what}; hint: {hint}" if hint else what)[:_MOST_CHARACTERS],
        )
        for about, what, hint in warned
    )


def _together(objections: Iterable[Objection]) -> Iterator[tuple[str, str, str]]:
    """Yield each different objection once, with all of its tasks."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for objection in objections:
        tasks.setdefault((objection.what, objection.hint), []).append(objection.task)
    for (what, hint), names in tasks.items():
        distinct = list(dict.fromkeys(names))
        more = len(distinct) - _MOST_TASKS
        shown = ", ".join(repr(name) for name in distinct[:_MOST_TASKS])
        yield f"task{'s' * (len(distinct) > 1)} {shown}{f' and {more} more' if more > 0 else ''}", what, hint
