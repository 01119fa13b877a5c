"""List of available benchmarks: lm-eval's tasks, groups and tags, or those of a suite."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lm_eval.tasks._index import Entry, Kind

from evalrun_runner.benchmarks.registry import PACKAGE_TASKS, open_registry
from evalrun_runner.errors import InputError

_KINDS = {Kind.TASK: "task", Kind.PY_TASK: "task", Kind.GROUP: "group", Kind.TAG: "tag"}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One valid value of ``benchmarks[].task``. ``output_type`` is empty for groups and tags."""

    name: str
    kind: str
    output_type: str
    path: str
    description: str = ""
    """First line of the definition's ``description``, which lm-eval puts before the prompt; often empty."""


def list_tasks(pattern: str | None = None, source: Path | None = None) -> Iterator[TaskRow]:
    """Yield the tasks whose names match a pattern, sorted by name. No code of a suite is run or loaded.

    Args:
        pattern: A shell pattern, or a part of the name if it has no wildcard; None for all names.
        source: The folder of a suite; None for lm-eval's own tasks, which take about 8 s to read.

    Raises:
        InputError: The suite's folder does not exist, or a file of the suite cannot be read as it stands.
    """
    if source is not None and not source.is_dir():
        raise InputError(f"the suite {source} is not there: expected a folder with lm-eval task definitions")
    suite = source.resolve() if source else None
    index: dict[str, Entry] = open_registry(suite, include_defaults=suite is None).task_index
    wanted = pattern or "*"
    if not any(wildcard in wanted for wildcard in "*?["):
        wanted = f"*{wanted}*"
    root = suite or PACKAGE_TASKS.resolve()
    for name in sorted(index):
        if fnmatch.fnmatch(name, wanted):
            yield _row(name, index[name], root)


def _row(name: str, entry: Entry, root: Path) -> TaskRow:
    config = entry.cfg or {}
    # lm-eval's default for a task that sets no output type.
    output_type = config.get("output_type", "generate_until") if entry.kind is Kind.TASK else ""
    path = Path(entry.yaml_path).resolve() if entry.yaml_path else None
    shown = "" if path is None else str(path.relative_to(root) if path.is_relative_to(root) else path)
    return TaskRow(name, _KINDS[entry.kind], str(output_type), shown, _first_line(config.get("description")))


def _first_line(text: object) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines()] if isinstance(text, str) else []
    return next((line for line in lines if line), "")
