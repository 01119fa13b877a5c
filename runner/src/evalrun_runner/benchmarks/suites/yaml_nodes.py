"""Suite YAML as nodes with line numbers, read without constructing any object, for the suite policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evalrun_runner.errors import InputError

_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge", "timestamp", "value")
)

_BARE_TEMPLATE = re.compile(r"""(^|[:\-\[,])\s*\{\{""")

MAX_SETTINGS = 100_000
"""Maximum number of settings in a file, because aliases of aliases can make a small file endless."""


@dataclass(frozen=True, slots=True)
class YamlSetting:
    """One ``key: value`` of a YAML file. ``value`` is plain data, or None if it has a tag such as ``!function``."""

    file: Path
    line: int
    path: tuple[str, ...]
    """Keys that lead to the setting, with its own key last; list indices are omitted."""
    value: Any
    tag: str | None
    """Tag of the value itself, unless it is one of YAML's own."""

    @property
    def key(self) -> str:
        """Own key of the setting."""
        return self.path[-1]


def compose(file: Path) -> list[yaml.Node]:
    """Return the documents of a YAML file as nodes.

    Raises:
        InputError: The file is not YAML; the message names line and column.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: byte {error.start + 1} is not UTF-8, which YAML is written in") from error
    try:
        return [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        place = f"{file}:{line}" + (f":{mark.column + 1}" if mark else "")
        raise InputError(f"{place}: is not YAML: {error.problem or error.context}{_hint(text, line)}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file}: is not YAML: {' '.join(str(error).split())}") from error


def _hint(text: str, line: int) -> str:
    """Return a hint for the commonest causes of a syntax error, taken from the line itself; empty if it shows none."""
    source = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    if source.lstrip(" ").startswith("\t"):
        return "\nhint: YAML indents by spaces; a tab stands here"
    if _BARE_TEMPLATE.search(source):
        return '\nhint: put quotes round a template: "{{...}}"'
    return ""


def repeated_keys(root: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each key that YAML would drop without a word, or that can be no key."""
    pending, seen = [root], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            pending.append(value)
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield line, 'a mapping or a list stands where a key is expected; put quotes round a template: "{{...}}"'
                continue
            identity = (key.tag, key.value if key.tag.endswith(":str") else str(_scalar(key)))
            if identity in first:
                yield line, f"{key.value}: the key stands twice, first in line {first[identity]}; keep one of them"
            first.setdefault(identity, line)


def read_settings(file: Path) -> Iterator[YamlSetting]:
    """Yield every setting of a YAML file, including nested ones.

    A file that is not a mapping, or contains several documents, yields nothing: no task is made of it.

    Raises:
        InputError: The file is not YAML, or has too many settings.
    """
    documents = compose(file)
    if len(documents) != 1 or not isinstance(documents[0], yaml.MappingNode):
        return
    for count, setting in enumerate(_walk(file, documents[0], (), set())):
        if count >= MAX_SETTINGS:
            raise InputError(f"{file} has more than {MAX_SETTINGS} settings, YAML aliases counted each time")
        yield setting


def _walk(file: Path, node: yaml.Node, path: tuple[str, ...], above: set[int]) -> Iterator[YamlSetting]:
    if id(node) in above:
        raise InputError(f"{file}:{node.start_mark.line + 1}: {'.'.join(path)} contains itself by a YAML alias")
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = path if key.tag.endswith(":merge") else (*path, str(key.value))
            if key.tag.endswith(":merge"):
                yield from _walk(file, value, here, above)
                continue
            line = key.start_mark.line + 1
            yield YamlSetting(file, line, here, _plain(value), None if value.tag in _PLAIN_TAGS else value.tag)
            yield from _walk(file, value, here, above)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if value.tag not in _PLAIN_TAGS:
                yield YamlSetting(file, value.start_mark.line + 1, path, None, value.tag)
            yield from _walk(file, value, path, above)


def _plain(node: yaml.Node) -> Any:
    """Return a scalar or a list of scalars, which is all that the policy's rules read; None for anything else."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(value) for value in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _PLAIN_TAGS:
        return None
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError):
        return None  # A merge key, or a date that no calendar has: reading the file reports it.
