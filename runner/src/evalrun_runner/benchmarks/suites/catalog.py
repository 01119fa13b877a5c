"""Catalogue of a suite's YAML: every file is read, or refused with file and line.

lm-eval passes over a file that it cannot load, and over the second of two definitions of a name, and logs that at debug
level: a tag then has fewer tasks, or an older copy of a task is evaluated. Here each of these is an error. Passed over
are hidden files and folders (``.ipynb_checkpoints``), ``__pycache__``, Kubernetes objects (the EvalRun itself), and
files that hold no mapping, or nothing: they are named where a task is not found.

Files are read as nodes; nothing in them is constructed. The suite policy must have passed before, as includes are
followed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from evalrun_runner.benchmarks.suites.group_members import find_cycle, members, names_below, repeated_members
from evalrun_runner.benchmarks.suites.spelling import (
    GROUP_KEYS,
    TASK_KEYS,
    misspelt_values,
    why_unknown,
    wrong_entries,
)
from evalrun_runner.benchmarks.suites.unquoted import generates, unquoted
from evalrun_runner.benchmarks.suites.yaml_nodes import compose, read_settings, repeated_keys
from evalrun_runner.errors import InputError

_NAMING = ("class", "group", "task")
"""Keys of which a file that defines a task or a group has one."""
_MOST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Definition:
    """A top-level key of a file, where it stands (perhaps in an included file), and its value."""

    file: Path
    line: int
    value: yaml.Node


@dataclass(frozen=True, slots=True)
class SuiteFault:
    """What is wrong with a suite's YAML, and where."""

    file: Path
    line: int
    message: str


Definitions = Mapping[str, Definition]
"""Top-level keys of a file, its includes merged in as lm-eval does it."""


def task_files(folder: Path) -> list[Path]:
    """Return the files of a suite that define its tasks and groups, in lm-eval's order.

    Raises:
        InputError: A file cannot be read as it stands, a name stands twice, or a key or a name is unknown to lm-eval.
            The message names all faults, each with file and line.
    """
    catalog = _Catalog(folder)
    files = {file: merged for file in yaml_files(folder) if (merged := catalog.read(file)) is not None}
    catalog.check_other_suffixes()
    if not catalog.faults:
        defining = {file: merged for file, merged in files.items() if any(key in merged for key in _NAMING)}
        catalog.check_names(defining)
        for merged in defining.values():
            catalog.check_keys(merged)
        catalog.check_cycles(defining)
        catalog.check_values()
        files = defining
    if catalog.faults:
        raise InputError(f"the suite {folder} cannot be used as it stands:\n  " + "\n  ".join(_shown(catalog, folder)))
    return list(files)


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files that lm-eval would look at, without hidden ones."""
    return sorted(
        (path for path in folder.glob("**/*.yaml") if not _is_hidden(path.relative_to(folder)) and path.is_file()),
        key=Path.as_posix,
    )


def files_without_task(folder: Path) -> Iterator[str]:
    """Yield the YAML files of a suite that cannot define a task, each with the reason, for a task that is not found."""
    for file in yaml_files(folder):
        try:
            why = _no_task(compose(file))
        except InputError:
            continue
        if why:
            yield f"{shown_path(file, folder)} {why}"


def _no_task(documents: Sequence[yaml.Node]) -> str:
    """Return why YAML documents are no task and no group, an empty text if they may be one."""
    if len(documents) > 1:
        return f"holds {len(documents)} YAML documents"
    if not documents or (isinstance(documents[0], yaml.ScalarNode) and documents[0].tag.endswith(":null")):
        return "is empty"
    if isinstance(documents[0], yaml.MappingNode):
        return ""
    return "is a list" if isinstance(documents[0], yaml.SequenceNode) else "is a single value"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _shown(catalog: _Catalog, folder: Path) -> Iterator[str]:
    faults = sorted(set(catalog.faults), key=lambda fault: (fault.file.as_posix(), fault.line))
    for fault in faults[:_MOST_SHOWN]:
        place = f"{shown_path(fault.file, folder)}:{fault.line}: " if fault.line else ""
        yield place + fault.message
    if len(faults) > _MOST_SHOWN:
        yield f"and {len(faults) - _MOST_SHOWN} more"


def shown_path(file: Path, folder: Path) -> str:
    """Return a file's path for a message: relative to the suite where it lies in it."""
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


class _Catalog:
    """The files of one suite that were read so far, included ones among them, and what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, Definitions | None] = {}
        self.faults: list[SuiteFault] = []

    def read(self, file: Path, above: tuple[Path, ...] = ()) -> Definitions | None:
        """Return a file's keys with its includes merged in; None if it cannot be read, or is none of lm-eval's."""
        if file not in self._read:
            self._read[file] = None
            if root := self._root(file):
                self._read[file] = self._merge(file, root, (*above, file))
        return self._read[file]

    def check_other_suffixes(self) -> None:
        """Find task files that lm-eval does not see, because their names do not end in ``.yaml``."""
        for path in sorted(self._folder.glob("**/*")):
            if path.suffix == ".yaml" or path.suffix.lower() not in (".yml", ".yaml") or path in self._read:
                continue
            if _is_hidden(path.relative_to(self._folder)) or not path.is_file():
                continue
            try:
                documents = compose(path)
            except InputError:
                continue
            for key, line in ((key, line) for root in documents for key, line in _scalar_keys(root)):
                if key in _NAMING:
                    self._fault(path, line, f"lm-eval reads only *.yaml: rename it to {path.stem}.yaml")
                    break

    def check_names(self, files: Mapping[Path, Definitions]) -> None:
        """Find names that stand for two things, and names that are none."""
        first: dict[str, tuple[str, Path, int]] = {}
        tags: dict[str, list[tuple[Path, Definition]]] = {}
        for file, merged in files.items():
            kind = "group" if "group" in merged and "class" not in merged else "task"
            if (naming := merged.get(kind)) is None:
                self._fault(file, 1, "has a class and no task: name it by task")
                continue
            name = self._name(kind, naming)
            if name is None:
                continue
            inherited = f" (by its include {self._show(naming)})" if naming.file != file else ""
            line = naming.line if naming.file == file else 1
            if name in first:
                other, where, at = first[name]
                place = f"{shown_path(where, self._folder)}:{at}"
                self._fault(
                    file, line, f"{kind}: {name!r}{inherited} is also the {other} of {place}; a name may stand once"
                )
            else:
                first[name] = (kind, file, line)
            for tag in _texts(merged["tag"].value) if kind == "task" and "tag" in merged else []:
                tags.setdefault(tag, []).append((file, merged["tag"]))
        for tag, uses in tags.items():
            if tag in first and any(file != first[tag][1] for file, _ in uses):
                kind, where, at = first[tag]
                place = f"{shown_path(where, self._folder)}:{at}"
                self._fault(
                    uses[0][1].file,
                    uses[0][1].line,
                    f"tag: {tag!r} is also the {kind} of {place}; a name may stand once",
                )

    def check_keys(self, merged: Definitions) -> None:
        """Find keys that lm-eval does not know, and entries that lack one."""
        if "class" in merged:
            return  # The class reads its configuration itself.
        known = GROUP_KEYS if "group" in merged else TASK_KEYS
        for key, definition in merged.items():
            if why := why_unknown(key, known):
                self._fault(definition.file, definition.line, f"{key}: {why}")
            for line, why in wrong_entries(key, definition.value):
                self._fault(definition.file, line, f"{key}.{why}" if not why.startswith("[") else f"{key}{why}")
            writes = generates({key: one.value for key, one in merged.items()})
            for line, why in unquoted(key, definition.value, generates=writes):
                self._fault(definition.file, line, why)
        if "group" in merged and "task" in merged:
            self._check_members(merged["task"])

    def _check_members(self, listed: Definition) -> None:
        """Find what a group says of its members that it cannot mean."""
        for key, line in _member_keys(listed.value):
            if why := why_unknown(key, GROUP_KEYS):
                self._fault(listed.file, line, f"task.{key}: {why}")
        for line, why in repeated_members(listed.value):
            self._fault(listed.file, line, f"task: {why}")
        for member in members(listed.value):
            keys = {str(key.value): value for key, value in member.value}
            for key, value in keys.items():
                for line, why in wrong_entries(key, value):
                    self._fault(listed.file, line, f"task.{key}{why if why.startswith('[') else f'.{why}'}")
                for line, why in unquoted(key, value, generates=generates(keys)):
                    self._fault(listed.file, line, f"task.{why}")

    def check_cycles(self, files: Mapping[Path, Definitions]) -> None:
        """Find groups that hold each other: lm-eval would open them without end."""
        groups = {
            str(merged["group"].value.value): merged
            for merged in files.values()
            if "group" in merged and "class" not in merged and isinstance(merged["group"].value, yaml.ScalarNode)
        }
        listed = {
            name: list(names_below(merged["task"].value)) if "task" in merged else [] for name, merged in groups.items()
        }
        if cycle := find_cycle(listed):
            at = groups[cycle[0]]["task"]
            self._fault(at.file, at.line, f"task: the groups hold each other: {' > '.join(cycle)}")

    def check_values(self) -> None:
        """Find values that must be one of lm-eval's names and are not."""
        for file, merged in self._read.items():
            if merged is not None:
                for setting, why in misspelt_values(read_settings(file)):
                    self._fault(file, setting.line, f"{'.'.join(setting.path)}: {why}")

    def _root(self, file: Path) -> yaml.MappingNode | None:
        try:
            documents = compose(file)
        except InputError as error:
            # It names the file itself, as other callers need it.
            self.faults.append(SuiteFault(file, 0, str(error).replace(f"{self._folder}/", "")))
            return None
        if documents and all(_is_kubernetes(root) for root in documents):
            return None
        if len(documents) > 1 and any(key in _NAMING for root in documents for key, _ in _scalar_keys(root)):
            line = documents[1].start_mark.line + 1
            self._fault(file, line, f"holds {len(documents)} YAML documents; expected one, a file for each task")
            return None
        if _no_task(documents):
            return None
        root = documents[0]
        assert isinstance(root, yaml.MappingNode)
        faults = list(repeated_keys(root))
        for line, why in faults:
            self._fault(file, line, why)
        return None if faults else root

    def _merge(self, file: Path, root: yaml.MappingNode, above: tuple[Path, ...]) -> Definitions | None:
        own = _definitions(file, root)
        merged: dict[str, Definition] = {}
        include = own.pop("include", None)
        for name in _texts(include.value) if include else []:
            assert include is not None
            path = (file.parent / name).resolve()
            if not path.is_file():
                others = [one.name for one in _siblings(path) if one != file]
                near = difflib.get_close_matches(Path(name).name, others, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                self._fault(file, include.line, f"include: {name} is {_missing(path)}{hint}")
                return None
            if path in above:
                self._fault(file, include.line, f"include: {name} includes this file again")
                return None
            included = self.read(path, above)
            if included is None:
                if not self.faults:
                    self._fault(file, include.line, f"include: {name} holds no settings of a task")
                return None
            merged |= {key: value for key, value in included.items() if key != "task_list"}
        return {**merged, **own}

    def _name(self, kind: str, naming: Definition) -> str | None:
        value = naming.value
        if isinstance(value, yaml.ScalarNode) and value.tag.endswith(":str") and value.value:
            return str(value.value)
        if isinstance(value, yaml.SequenceNode) and kind == "task":
            why = "is a list; a group names itself by group"
        elif isinstance(value, yaml.ScalarNode) and value.value and value.tag.startswith("tag:yaml.org"):
            why = f"{value.value} is not text; put quotes round it"
        else:
            why = "expected a name"
        self._fault(naming.file, naming.line, f"{kind}: {why}")
        return None

    def _show(self, definition: Definition) -> str:
        return f"{shown_path(definition.file, self._folder)}:{definition.line}"

    def _fault(self, file: Path, line: int, message: str) -> None:
        self.faults.append(SuiteFault(file, line, message))


def _definitions(file: Path, root: yaml.MappingNode) -> dict[str, Definition]:
    """Return the keys of a mapping, those of merged mappings below its own and the first of these above the next."""
    own: dict[str, Definition] = {}
    inherited: dict[str, Definition] = {}
    for key, value in root.value:
        if not key.tag.endswith(":merge"):
            own[str(key.value)] = Definition(file, key.start_mark.line + 1, value)
            continue
        for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(merged, yaml.MappingNode):
                inherited = {**_definitions(file, merged), **inherited}
    return {**inherited, **own}


def _scalar_keys(root: yaml.Node) -> Iterator[tuple[str, int]]:
    for key, _ in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            yield str(key.value), key.start_mark.line + 1


def _is_kubernetes(root: yaml.Node) -> bool:
    keys = {key for key, _ in _scalar_keys(root)}
    return {"apiVersion", "kind"} <= keys and not keys.intersection(_NAMING)


def _member_keys(listed: yaml.Node) -> Iterator[tuple[str, int]]:
    """Yield the keys of a group's members that are mappings, and of the members of groups among them."""
    for member in listed.value if isinstance(listed, yaml.SequenceNode) else ():
        yield from _scalar_keys(member)
        for key, value in member.value if isinstance(member, yaml.MappingNode) else ():
            if key.value == "task":
                yield from _member_keys(value)


def _texts(node: yaml.Node) -> list[str]:
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [str(one.value) for one in nodes if isinstance(one, yaml.ScalarNode) and not one.tag.endswith(":null")]


def _siblings(path: Path) -> Iterator[Path]:
    return (one for one in path.parent.glob("*") if one.is_file()) if path.parent.is_dir() else iter(())


def _missing(path: Path) -> str:
    return "a folder, expected a file" if path.is_dir() else "not there"
