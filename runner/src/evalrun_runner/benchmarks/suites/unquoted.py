"""Answers and choices in a suite's YAML that are no text because quotes are missing: ``[yes, no]`` is two booleans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

_KINDS = {"bool": "a boolean", "int": "a number", "float": "a number", "timestamp": "a date", "null": "nothing"}
"""YAML's own types that plain words become, with what to call them."""
_TRUE = frozenset({"true", "yes", "on"})


def unquoted(key: str, node: yaml.Node, *, generates: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of each answer, choice or text that YAML does not read as text.

    Args:
        key: The task's key.
        node: Its value.
        generates: Whether the task's answers are texts, which a number is never equal to.
    """
    match key, node:
        case "fewshot_config", yaml.MappingNode():
            for inner, value in node.value:
                for line, why in unquoted(str(inner.value), value, generates=generates):
                    yield line, f"fewshot_config.{why}"
        case "doc_to_choice", _:
            yield from _not_text(key, _scalars(node), "bool", "int", "float", "timestamp", "null")
        case "doc_to_target", yaml.SequenceNode():
            wrong = ("bool", "float", "timestamp", "null", *(["int"] if generates else []))
            yield from _not_text(key, _scalars(node), *wrong)
        case (("doc_to_target" | "doc_to_text"), yaml.ScalarNode()):
            # A whole number is an index for all documents alike, and null is not set.
            yield from _not_text(key, [node], "bool", "float", "timestamp")


def generates(definitions: Mapping[str, yaml.Node]) -> bool:
    """Return whether a task with these keys generates text, which is lm-eval's default."""
    node = definitions.get("output_type")
    return node is None or node.value == "generate_until"


def _scalars(node: yaml.Node) -> list[yaml.ScalarNode]:
    match node:
        case yaml.SequenceNode():
            return [value for value in node.value if isinstance(value, yaml.ScalarNode)]
        case yaml.MappingNode():
            return [value for _, value in node.value if isinstance(value, yaml.ScalarNode)]
        case yaml.ScalarNode() if not node.tag.endswith(":null"):
            return [node]
    return []


def _not_text(key: str, nodes: list[yaml.ScalarNode], *wrong: str) -> Iterator[tuple[int, str]]:
    for node in nodes:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in wrong:
            continue
        holds = str(node.value)
        if kind == "bool":
            holds = "true" if holds.lower() in _TRUE else "false"
        shown = f"{holds}, {_KINDS[kind]}" if holds else _KINDS[kind]
        how = f'write "{node.value}" in quotes' if node.value else "write the text, or drop the entry"
        yield node.start_mark.line + 1, f"{key} holds {shown if kind != 'bool' else holds}, not text: {how}"
