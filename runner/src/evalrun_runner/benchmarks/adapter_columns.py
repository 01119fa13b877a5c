"""Names of what an adapter answers: each task and group of the run once more, as ``TASK@ADAPTER``.

A column is a set of leaf tasks and groups of its own, so that chunks, parts, results, gates and metrics tell the model
and its adapters apart by the name of the task, and nothing of one can be taken for the other's.
"""

from __future__ import annotations

from collections.abc import Mapping

from lm_eval.api.group import Group
from lm_eval.api.task import Task

SEPARATOR = "@"


def column_name(name: str, adapter: str | None) -> str:
    """Return the name of a task or group in an adapter's column; that of the model itself has the plain name."""
    return name if adapter is None else f"{name}{SEPARATOR}{adapter}"


def plain_name(name: str, adapter: str | None) -> str:
    """Return the name of a column's task or group without the adapter's."""
    return name if adapter is None else name.removesuffix(f"{SEPARATOR}{adapter}")


def name_tasks(tasks: Mapping[str, Task], adapter: str | None) -> dict[str, Task]:
    """Give freshly made tasks their names in an adapter's column."""
    named = {}
    for name, task in tasks.items():
        task.config.task = column_name(name, adapter)
        named[task.config.task] = task
    return named


def name_groups(groups: Mapping[str, Group], adapter: str | None) -> dict[str, Group]:
    """Give freshly made groups, whose tasks have their names, their own in an adapter's column."""
    for name, group in groups.items():
        group.name = column_name(name, adapter)
    for group in groups.values():
        children = list(group)
        for name in list(group.child_names):
            group.pop(name)
        for child in children:
            group.add(child)
    return {group.name: group for group in groups.values()}
