"""Suite YAML as nodes with line numbers, read without constructing any object, for the suite policy."""

from __future__ import annotations

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


def read_settings(file: Path) -> Iterator[YamlSetting]:
    """Yield every setting of a YAML file, including nested ones.

    A file that is not a mapping, or contains several documents, yields nothing: lm-eval ignores such files, too.

    Raises:
        InputError: The file is not YAML, or has too many settings.
    """
    try:
        documents = list(yaml.compose_all(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
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
    if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN_TAGS:
        return yaml.SafeLoader("").construct_object(node)
    return None
