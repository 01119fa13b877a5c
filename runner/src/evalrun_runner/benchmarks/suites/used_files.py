"""Select the files of a suite that a benchmark uses: these alone tell whether two runs ask the same.

A suite's folder often holds more: the EvalRun file, notes, other tasks, a checkout, or the output of the run itself.
Used are

- the YAML files that define the benchmark's task, group or tag, its members, and what they include;
- the data files that these name;
- where one of them refers to code, all files that the code might read: everything but hidden files, Markdown, YAML of
  other tasks, and folders with the output of a run.

Nothing is loaded here: the YAML is read as nodes. Nothing outside the folder is read or searched, whatever a suite
names: the suite policy, which refuses such names, comes later. Where a name could mean several files,
all of them count: a file too many refuses to resume, a file too few would mix the answers to two questions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evalrun_runner.benchmarks.suites.catalog import yaml_files
from evalrun_runner.benchmarks.suites.data.files import matching_files
from evalrun_runner.benchmarks.suites.policy import LOCAL_BUILDERS, is_within
from evalrun_runner.benchmarks.suites.yaml_nodes import YamlSetting, read_settings
from evalrun_runner.errors import InputError
from evalrun_runner.ledger import layout
from evalrun_runner.models.digest import file_sha256

_NAMES = {("task",), ("group",), ("task_list", "task")}
"""Settings whose value, if it is no list, is a name by which a benchmark or a group may ask for the file."""
_MEMBERS = {"task", "group"}
"""Keys whose values, at any depth, name members of a group."""
_FILES = {"data_files", "data_dir"}


def digest_used_files(folder: Path, benchmark: str) -> dict[str, str]:
    """Compute the sha256 of every file of a suite that a benchmark uses.

    Args:
        folder: The suite's folder.
        benchmark: Name of the task, group or tag.

    Returns:
        Map from the file's path, relative to the folder and '/'-separated, to its sha256, hexadecimal; sorted.

    Raises:
        InputError: A file cannot be read.
    """
    folder = folder.resolve()
    digests = {}
    for file in used_files(folder, benchmark):
        try:
            digests[file.relative_to(folder).as_posix()] = file_sha256(file)
        except OSError as error:
            raise InputError(f"the suite's file {file} cannot be read: {error.strerror}") from error
    return dict(sorted(digests.items()))


def used_files(folder: Path, benchmark: str) -> set[Path]:
    """Return the files of a suite, a resolved folder, that a benchmark uses. See ``digest_used_files``."""
    definitions = _used_definitions(_definitions(folder), benchmark)
    used = {file for definition in definitions for file in definition.files}
    settings = [setting for definition in definitions for setting in definition.settings]
    used.update(_data_files(folder, settings))
    if any(setting.tag for setting in settings):
        used.update(_readable_by_code(folder))
    return {file for file in used if is_within(file, folder)}


@dataclass(frozen=True, slots=True)
class _Definition:
    """One YAML file with everything that it includes."""

    files: tuple[Path, ...]
    settings: tuple[YamlSetting, ...]

    @property
    def names(self) -> set[str]:
        return {
            name
            for setting in self.settings
            if setting.path == ("tag",) or (setting.path in _NAMES and not isinstance(setting.value, list))
            for name in _texts(setting)
        }

    @property
    def members(self) -> set[str]:
        return {name for setting in self.settings if setting.key in _MEMBERS for name in _texts(setting)}


def _definitions(folder: Path) -> list[_Definition]:
    """Read every YAML file of the suite, with what it includes from within the suite."""
    read: dict[Path, tuple[YamlSetting, ...]] = {}

    def settings_of(file: Path) -> tuple[YamlSetting, ...]:
        if file not in read:
            try:
                read[file] = tuple(read_settings(file)) if is_within(file, folder) else ()
            except (InputError, OSError):
                # The suite policy refuses it by name before a task is loaded; here it defines nothing.
                read[file] = ()
        return read[file]

    found = []
    for start in yaml_files(folder):
        files: list[Path] = []
        pending = [start]
        while pending:
            file = pending.pop()
            if file not in files and file.is_file():
                files.append(file)
                pending += [
                    Path(os.path.normpath(file.parent / name))
                    for setting in settings_of(file)
                    if setting.path == ("include",)
                    for name in _texts(setting)
                ]
        found.append(_Definition(tuple(files), tuple(setting for file in files for setting in settings_of(file))))
    return found


def _used_definitions(definitions: Iterable[_Definition], benchmark: str) -> list[_Definition]:
    """Select the definitions that a name reaches: by itself, by a tag, or as members of groups."""
    left, used = list(definitions), []
    reached, grown = {benchmark}, True
    while grown:
        chosen = [definition for definition in left if definition.names & reached]
        left = [definition for definition in left if not definition.names & reached]
        used += chosen
        more = {name for definition in chosen for name in definition.members} - reached
        reached |= more
        grown = bool(more)
    return used


def _data_files(folder: Path, settings: Iterable[YamlSetting]) -> Iterator[Path]:
    """Yield the local files that ``dataset_kwargs`` and ``dataset_path`` name."""
    settings = list(settings)
    sources = {name for setting in settings if setting.key == "dataset_path" for name in _texts(setting)}
    for source in sources - LOCAL_BUILDERS:
        if is_within(folder / source, folder):
            yield from _below(folder / source)
    if not sources & LOCAL_BUILDERS:
        return  # data_files are names on a hub
    for setting in settings:
        if "dataset_kwargs" in setting.path and _FILES & set(setting.path):
            for pattern in _texts(setting):
                yield from _matching(folder, pattern)


def _matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that a name or pattern of ``data_files`` means; those of a folder for ``data_dir``."""
    if not is_within(folder / pattern, folder) or ".." in Path(pattern).parts or "://" in pattern:
        return
    if (folder / pattern).exists():
        yield from _below(folder / pattern)
        return
    yield from matching_files(folder, pattern)


def _below(path: Path) -> Iterator[Path]:
    """Yield a file itself, or all files below a folder."""
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())


def _readable_by_code(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        if layout.PLAN in files and Path(place) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        for name in files:
            file = Path(place, name)
            if not name.startswith(".") and file.suffix not in {".yaml", ".md"} and file.is_file():
                yield file


def _texts(setting: YamlSetting) -> list[str]:
    """Return the plain values of a setting, one or a list, as texts."""
    values = setting.value if isinstance(setting.value, list) else [setting.value]
    return [str(value) for value in values if value is not None]
