"""Registry of lm-eval's tasks, which also records the configuration that remakes each task elsewhere.

lm-eval makes tasks in one place, its ``TaskFactory``. ``RecipeFactory`` is that factory with three additions: it
records each task's merged configuration, resolves a suite's relative data files against the suite's folder, and
converts errors while a task is made into an ``InputError`` that names the task. ``TaskFactory`` is not public API:
lm-eval is pinned, and the unit tests check everything that is used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind
from lm_eval.tasks._yaml_loader import _import_func_in_yml, load_yaml

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.errors import making_task
from evalrun_runner.benchmarks.suites.policy import LOCAL_BUILDERS
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
    """
    manager = TaskManager(include_path=str(suite) if suite else None, include_defaults=include_defaults)
    manager._factory = RecipeFactory(suite)
    return manager


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
            if self._suite:
                _resolve_data_files(config, self._suite)
            # Encode it now, not when the task is made: lm-eval's tasks modify the configuration that they are given.
            self._latest = self._encode(config)
        return config

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Task:
        with making_task(entry.name):
            task = super()._build_task(entry, overrides)
            self.configs[task.task_name] = self._latest
        return task

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
            if name is None or name in registry:
                children += super()._build_group_members([item], group_name, overrides, registry)
                continue
            # lm-eval makes a task defined inside the group's own YAML immediately, without calling _build_task.
            namespaced = f"{group_name}::{name}"
            assert isinstance(item, dict)
            config = {**(overrides or {}), **item}
            if self._suite:
                _resolve_data_files(config, self._suite)
            with making_task(namespaced):
                self.configs[namespaced] = self._encode({**config, "task": namespaced})
                children += super()._build_group_members([config], group_name, None, registry)
        return children

    def _encode(self, config: Mapping[str, Any]) -> str:
        return encode_config(
            {key: value for key, value in config.items() if key not in _STRUCTURAL_KEYS}, self._references
        )


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


def _resolve_data_files(config: dict[str, Any], suite: Path) -> None:
    """Make a local data set's relative files absolute; lm-eval would resolve them against the working folder."""
    kwargs = config.get("dataset_kwargs")
    if config.get("dataset_path") not in LOCAL_BUILDERS or not isinstance(kwargs, dict):
        return
    config["dataset_kwargs"] = {
        key: _absolute(value, suite) if key in ("data_files", "data_dir") else value for key, value in kwargs.items()
    }


def _absolute(paths: Any, suite: Path) -> Any:
    if isinstance(paths, dict):
        # The mapping is either split -> files, or one entry of a list of {split: name, path: files}.
        return {key: value if key == "split" else _absolute(value, suite) for key, value in paths.items()}
    if isinstance(paths, list):
        return [_absolute(path, suite) for path in paths]
    # A URL stays unchanged; the suite policy has already decided whether it is allowed.
    return str(suite / paths) if isinstance(paths, str) and "://" not in paths else paths
