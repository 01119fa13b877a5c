"""Names of a task's own answers and choices, for hints that are written with ``answer`` and ``choices``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evalrun_runner.benchmarks.checks.nulls import TemplateFields

_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_USUAL = re.compile(r"(?<![\w.'])(answers?|choices)\b(?!')")
_EXPRESSION = re.compile(r"\{\{((?:(?!\}\}).)*)\}\}", re.DOTALL)
_SIMPLE = re.compile(r"[\w.]+|\[[\w., ]*\]")
_MOST_LISTED = 6


class OwnNames:
    """What a template of the task writes for its answer and for its choices.

    Args:
        target: ``doc_to_target`` of the task.
        choices: ``doc_to_choice`` of the task.
        columns: The columns of the data.
    """

    def __init__(self, target: Any, choices: Any, columns: Sequence[str]) -> None:
        answer = _field(target, columns)
        self._names = {"answer": answer, "answers": answer, "choices": _expression(choices, columns)}

    def put_into(self, hint: str) -> str:
        """Put the names into the templates of a hint."""
        return _TEMPLATE.sub(lambda template: _USUAL.sub(self._own, template.group()), hint)

    def _own(self, usual: re.Match[str]) -> str:
        return self._names[usual.group()] or usual.group()


def _field(setting: Any, columns: Sequence[str]) -> str:
    """Return the one field that a setting reads; an empty text where it reads none or several."""
    if not isinstance(setting, str) or setting in columns:
        return setting if isinstance(setting, str) else ""
    names = TemplateFields(setting).names
    return next(iter(names)) if len(names) == 1 else ""


def _expression(setting: Any, columns: Sequence[str]) -> str:
    """Return the expression of all choices; an empty text where there is none."""
    if isinstance(setting, Mapping):
        setting = list(setting.values())
    if isinstance(setting, list):
        shown = ", ".join(map(repr, setting[:_MOST_LISTED]))
        return f"[{shown}, …]" if len(setting) > _MOST_LISTED else f"[{shown}]"
    if isinstance(setting, str) and setting not in columns and (only := _EXPRESSION.fullmatch(setting.strip())):
        expression = only.group(1).strip()
        return expression if _SIMPLE.fullmatch(expression) else f"({expression})"
    return _field(setting, columns)
