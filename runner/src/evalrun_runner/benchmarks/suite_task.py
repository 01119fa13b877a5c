"""lm-eval's configurable task over a suite's own data files, which are read as they stand.

``metadata: {evalrun: {retyped: allow}}`` in a task has ``datasets`` read them, as lm-eval does: values then have the
types that they look like. That is for scores that must equal lm-eval's in spite of it.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalrun_runner.benchmarks.first_document import TolerantTask
from evalrun_runner.benchmarks.suites.data.features import column_types
from evalrun_runner.benchmarks.suites.data.files import split_files
from evalrun_runner.benchmarks.suites.data.options import number_style
from evalrun_runner.benchmarks.suites.data.splits import is_local, read_splits
from evalrun_runner.benchmarks.suites.policy import LOCAL_BUILDERS
from evalrun_runner.errors import InputError

_ALLOW = "allow"


class SuiteTask(TolerantTask):
    """Task of a suite; its data files are relative to the suite's folder."""

    def __init__(self, config: dict[str, Any], suite: Path) -> None:
        self._suite = suite
        super().__init__(config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Read the data; a name on a hub, a URL and a function that makes data are lm-eval's."""
        config = self._described()
        if config["dataset_path"] not in LOCAL_BUILDERS or callable(config["custom_dataset"]):
            super().download(dataset_kwargs, **kwargs)
            return
        try:
            if not is_local(dataset_kwargs or {}):
                super().download(resolve_data_files(dataset_kwargs or {}, self._suite), **kwargs)
            elif _retyped(config["metadata"]):
                super().download(self._resolved(config), **kwargs)
            else:
                self.dataset = read_splits(self._suite, config)
        except InputError as error:
            raise InputError(f"task {self.config.task!r} cannot be loaded: {error}") from error

    def _described(self) -> dict[str, Any]:
        fewshot = vars(self.config.fewshot_config) if self.config.fewshot_config is not None else None
        return {**vars(self.config), "fewshot_config": fewshot}

    def _resolved(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as ``datasets`` takes them: files by their whole names, features as an object."""
        options = dict(config["dataset_kwargs"] or {})
        files = split_files(self._suite, str(config["dataset_path"]), options)
        options.pop("data_dir", None)
        options["data_files"] = {split: [glob.escape(str(path)) for path in paths] for split, paths in files.items()}
        if types := column_types(options.pop("features", None), number_style(options)):
            import datasets

            options["features"] = datasets.Features({name: one.feature for name, one in types.items()})
        return options


def resolve_data_files(options: Mapping[str, Any], suite: Path) -> dict[str, Any]:
    """Return a task's options with its relative data files made absolute, for readers that do not know the suite."""
    return {
        key: _absolute(value, suite) if key in ("data_files", "data_dir") else value for key, value in options.items()
    }


def _absolute(paths: Any, suite: Path) -> Any:
    if isinstance(paths, dict):
        # The mapping is either split -> files, or one entry of a list of {split: name, path: files}.
        return {key: value if key == "split" else _absolute(value, suite) for key, value in paths.items()}
    if isinstance(paths, list):
        return [_absolute(path, suite) for path in paths]
    # A URL stays unchanged; the suite policy has already decided whether it is allowed.
    return str(suite / paths) if isinstance(paths, str) and "://" not in paths else paths


def _retyped(metadata: Any) -> bool:
    own = metadata.get("evalrun") if isinstance(metadata, Mapping) else None
    wish = own.get("retyped") if isinstance(own, Mapping) else None
    if wish is not None and wish != _ALLOW:
        raise InputError(f"metadata.evalrun.retyped: expected {_ALLOW}, or nothing, got {wish!r:.40}")
    return wish == _ALLOW
