"""Registry of lm-eval's tasks, which also records the configuration that remakes each task elsewhere.

lm-eval makes tasks in one place, its ``TaskFactory``. ``RecipeFactory`` is that factory with three additions: it
records each task's merged configuration, makes a suite's tasks read their own data files (``suites.data``), and
converts errors while a task is made into an ``InputError`` that names the task. ``TaskFactory`` and ``TaskIndex`` are
not public API: lm-eval is pinned, and the unit tests check everything that is used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lm_eval.tasks
import yaml
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind, TaskIndex
from lm_eval.tasks._yaml_loader import _import_func_in_yml, load_yaml

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.errors import making_task
from evalrun_runner.benchmarks.suite_task import SuiteTask, resolve_data_files
from evalrun_runner.benchmarks.suites.catalog import task_files
from evalrun_runner.benchmarks.suites.policy import LOCAL_BUILDERS
from evalrun_runner.benchmarks.suites.settings import check_settings
from evalrun_runner.errors import InputError

PACKAGE_TASKS = Path(lm_eval.tasks.__file__).parent
_FUNCTION = "!function"
_STRUCTURAL_KEYS = ("tag", "group", "task_list")
"""Keys that lm-eval's factory drops from a task's configuration before it makes the task."""


def open_registry(suite: Path | None, *, include_defaults: bool) -> TaskManager:
    """Open the index of a suite's tasks, of lm-eval's own (about 8 s to read), or of both; the suite takes precedence.

    Args:
        suite: The suite's folder; None for lm-eval's own tasks only.
        include_defaults: Whether to read lm-eval's own tasks.

    Raises:
        InputError: A file of the suite cannot be read as it stands (``suites.catalog``).
    """
    manager = TaskManager(include_defaults=include_defaults)
    manager._factory = RecipeFactory(suite)
    if suite:
        _add(manager, _suite_index(suite))
    return manager


def _suite_index(suite: Path) -> dict[str, Entry]:
    """Index a suite as ``TaskIndex.build`` does it, except that a file which cannot be loaded is an error."""
    index: dict[str, Entry] = {}
    for file in task_files(suite):
        try:
            TaskIndex.process_cfg(load_yaml(file, resolve_func=False), file, index)
        except (yaml.YAMLError, ValueError, TypeError, OSError) as error:
            raise InputError(f"{file}: lm-eval cannot read it: {' '.join(str(error).split())}") from error
    return index


def _add(manager: TaskManager, index: Mapping[str, Entry]) -> None:
    """Add entries to a manager, above those of the same names."""
    manager._index.update(index)
    kinds = {name: entry.kind for name, entry in manager._index.items()}
    manager._all_tasks = sorted(kinds)
    manager._all_subtasks = sorted(name for name, kind in kinds.items() if kind in (Kind.TASK, Kind.PY_TASK))
    manager._all_groups = sorted(name for name, kind in kinds.items() if kind is Kind.GROUP)
    manager._all_tags = sorted(name for name, kind in kinds.items() if kind is Kind.TAG)


class RecipeFactory(TaskFactory):  # type: ignore[misc]  # lm-eval ships no types
    """lm-eval's task factory that also records the configuration of each task that it makes.

    Relative data files are resolved against the folder ``suite``.
    """

    def __init__(self, suite: Path | None) -> None:
        super().__init__(meta=None)
        self._suite = suite
        self._references = _References()
        self._latest = ""
        self.configs: dict[str, str] = {}
        """Map from leaf task to its merged configuration in the codec of ``values``, with functions by reference."""

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        config: dict[str, Any] = super()._load_full_config(entry, overrides)
        if entry.yaml_path:
            own = {key: value for key, value in config.items() if key not in (overrides or {})}
            self._references.learn(own, load_yaml(entry.yaml_path, resolve_func=False))
        if entry.kind is not Kind.GROUP:
            if self._suite and entry.kind is Kind.PY_TASK and self._owns(entry):
                _resolve(config, self._suite)
            # Encode it now, not when the task is made: lm-eval's tasks modify the configuration that they are given.
            self._latest = self._encode(config)
        return config

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Task:
        with making_task(entry.name):
            if self._suite and entry.kind is Kind.TASK and self._owns(entry):
                config = self._load_full_config(entry, overrides)
                check_settings(entry.name, config, Path(entry.yaml_path) if entry.yaml_path else None)
                task = SuiteTask(_without_structure(config), self._suite)
            else:
                task = super()._build_task(entry, overrides)
            self.configs[task.task_name] = self._latest
        return task

    def _owns(self, entry: Entry) -> bool:
        """Return whether an entry is the suite's, not one of lm-eval's own that it refers to."""
        path, suite = entry.yaml_path, self._suite
        return path is not None and suite is not None and Path(path).resolve().is_relative_to(suite.resolve())

    def _build_group_members(
        self,
        member_list: list[str | dict[str, Any]],
        group_name: str,
        overrides: dict[str, Any] | None,
        registry: dict[str, Entry],
    ) -> list[Task | Group]:
        children: list[Task | Group] = []
        for item in member_list:
            name = item if isinstance(item, str) else item.get("task")
            if isinstance(item, str) and item not in registry:
                raise InputError(f"group {group_name!r} lists {item!r}, which is no task, group or tag known here")
            if name is None or (isinstance(item, dict) and "group" in item) or name in registry:
                # A group inside the group's own YAML comes back here with its own members.
                children += super()._build_group_members([item], group_name, overrides, registry)
                continue
            # lm-eval makes a task defined inside the group's own YAML immediately, without calling _build_task.
            namespaced = f"{group_name}::{name}"
            assert isinstance(item, dict)
            config = {**(overrides or {}), **item}
            with making_task(namespaced):
                self.configs[namespaced] = self._encode({**config, "task": namespaced})
                if self._suite:
                    check_settings(namespaced, config, None)
                    children.append(SuiteTask({"metadata": {}, **config, "task": namespaced}, self._suite))
                else:
                    children += super()._build_group_members([config], group_name, None, registry)
        return children

    def _encode(self, config: Mapping[str, Any]) -> str:
        return encode_config(_without_structure(config), self._references)


def _without_structure(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _STRUCTURAL_KEYS}


def _resolve(config: dict[str, Any], suite: Path) -> None:
    """Make the data files of a Python task absolute: it reads them itself, and does not know the suite's folder."""
    kwargs = config.get("dataset_kwargs")
    if config.get("dataset_path") in LOCAL_BUILDERS and isinstance(kwargs, dict):
        config["dataset_kwargs"] = resolve_data_files(kwargs, suite)


class _References:
    """Origins of the functions in a configuration, as ``<folder>/<module>.<name>``, learned from the YAML itself.

    A function object does not know its origin: many are ``functools.partial`` objects without a name.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, str]] = {}

    def learn(self, resolved: object, unresolved: object) -> None:
        """Learn from a configuration and the same configuration with its functions left as text."""
        if isinstance(resolved, dict) and isinstance(unresolved, dict):
            for key, value in resolved.items():
                self.learn(value, unresolved.get(key))
        elif isinstance(resolved, list) and isinstance(unresolved, list):
            for value, twin in zip(resolved, unresolved, strict=False):
                self.learn(value, twin)
        elif callable(resolved) and isinstance(unresolved, str):
            # Keep a reference to the object, so that its id stays unique.
            self._known[id(resolved)] = (resolved, unresolved)

    def of(self, function: object) -> str:
        """Return the function's reference, relative to the tasks' folder for lm-eval's own tasks.

        Raises:
            TypeError: The function's origin is unknown.
        """
        if id(function) not in self._known:
            raise TypeError(f"the function {function!r} in its configuration cannot be handed to another process")
        path = self._known[id(function)][1]
        return path.removeprefix(f"{PACKAGE_TASKS.resolve()}/")


def encode_config(config: Mapping[str, Any], references: _References) -> str:
    """Encode a task's configuration as text, with functions by reference."""

    def pack(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: pack(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [pack(value) for value in node]
        return {_FUNCTION: references.of(node)} if callable(node) else node

    return values.encode(pack(dict(config)))


def decode_config(text: str) -> dict[str, Any]:
    """Decode the configuration that ``encode_config`` wrote, and import the functions that it refers to."""

    def unpack(node: Any) -> Any:
        if isinstance(node, dict):
            if _FUNCTION in node:
                folder, _, name = str(PACKAGE_TASKS.resolve() / node[_FUNCTION]).rpartition("/")
                return _import_func_in_yml(name, Path(folder))
            return {key: unpack(value) for key, value in node.items()}
        return [unpack(value) for value in node] if isinstance(node, list) else node

    config = unpack(values.decode(text))
    assert isinstance(config, dict)
    return config
