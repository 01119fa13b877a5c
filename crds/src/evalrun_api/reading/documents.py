"""From YAML text to plain documents, read like the API server does: bounded, no duplicate keys, no surprising types."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from evalrun_api.reading.problems import InvalidInput, Problem

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a file: a Kubernetes object is smaller than 1.5 MiB, and a file may contain a few."""
MAX_NODES = 200_000
"""Values in a file with its aliases expanded: a few lines of nested aliases would expand to billions."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of Kubernetes' own reader, and with unique string keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "a key must be a string: quote it", key.start_mark)
            if key.value in seen:
                problem = f"duplicate key {key.value!r}: the second value would replace the first"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# Kubernetes knows only the values of JSON: no dates, sets, bytes.
_NO_JSON = ("timestamp", "binary", "set", "omap", "pairs")
_Loader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if not (tag or "").endswith(_NO_JSON)
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads 12:30 as 750 and 1e-3 as text; Kubernetes reads text and a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def load_documents(text: str | bytes, source: str) -> list[dict[str, Any]]:
    """Read the documents of a YAML (or JSON) file; empty ones are skipped.

    Args:
        text: The content of the file.
        source: The name of the file, for messages.

    Raises:
        InvalidInput: Not UTF-8, not YAML (with line and column), too large, a duplicate key, no document, or a document
            that is
        not a mapping.
    """
    documents = _read(_decode(text, source), source)
    for number, document in documents:
        if not isinstance(document, dict):
            raise _invalid(
                source,
                f"document {number} is {_kind(document)}, not a mapping with apiVersion, kind, metadata and spec",
            )
    if not documents:
        raise _invalid(
            source, "the file is empty, expected an EvalRun (apiVersion: evalrun.dev/v1alpha1, kind: EvalRun)"
        )
    return [document for _, document in documents]


def load_value(text: str) -> Any:
    """Read a single value as it would be read in a file; None for an empty text.

    Raises:
        ValueError: It is not YAML, or more than one document.
    """
    try:
        documents = _read(text, "the value")
    except InvalidInput as error:
        raise ValueError(error.problems[0].message) from error
    if len(documents) > 1:
        raise ValueError("more than one YAML document")
    return documents[0][1] if documents else None


def _decode(text: str | bytes, source: str) -> str:
    if len(text) > MAX_BYTES:
        raise _invalid(source, f"the file has {len(text):,} bytes, expected at most {MAX_BYTES:,}")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(source, f"the file is not UTF-8 text (byte {error.start})") from error


def _read(text: str, source: str) -> list[tuple[int, Any]]:
    """Return the documents that are not empty, each with its number in the file, from 1."""
    documents: list[tuple[int, Any]] = []
    number = 0
    try:
        loader = _Loader(text)
        while loader.check_node():
            number += 1
            node = loader.get_node()
            if node is None:
                continue
            if _size(node) > MAX_NODES:
                raise _invalid(source, f"document {number} has more than {MAX_NODES:,} values with aliases expanded")
            document = loader.construct_document(node)
            if document is not None:
                documents.append((number, document))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _invalid(source, f"not valid YAML: {where}{error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        raise _invalid(source, f"not valid YAML: {error.reason} at character {error.position}") from error
    except (yaml.YAMLError, ValueError, KeyError) as error:  # ValueError, KeyError: a value that does not fit its tag
        raise _invalid(source, f"not valid YAML: a value does not fit its tag: {error}") from error
    except RecursionError as error:
        raise _invalid(source, f"document {number} is nested too deeply") from error
    return documents


def _size(root: yaml.Node) -> int:
    """Count the values under a node with aliases expanded; a node that contains itself counts as too many."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            return MAX_NODES + 1
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
            open_nodes.remove(id(node))
        return sizes[id(node)]

    return size(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            return list(node.value)
        case _:
            return []


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "text" if isinstance(value, str) else "a single value"


def _invalid(source: str, message: str) -> InvalidInput:
    return InvalidInput(source, [Problem("", message)])
