"""pydantic's JSON schema as the structural schema that the API server wants, and the proof that it is one.

Structural: every value has one type, nothing is said by reference or by choice (``$ref``, ``anyOf``, ``oneOf``,
``not``), objects list their properties or are maps, never both. See "Specifying a structural schema" in Kubernetes'
documentation of custom resource definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

KEYWORDS = frozenset(
    {
        "additionalProperties",
        "default",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    }
)
"""The keywords that a node may have."""

_DROPPED = frozenset({"title", "examples", "$defs", "propertyNames"})
"""Keywords that say nothing to the API server, or (propertyNames) that it does not know and the models check."""

BOUNDS = {"string": "maxLength", "array": "maxItems", "map": "maxProperties"}
"""What a value of the spec must have, so that the cost of the rules about it has a bound."""


def structural(schema: Schema) -> Schema:
    """Rewrite pydantic's JSON schema of a model, definitions included."""
    return _rewrite(schema, schema.get("$defs", {}))


def _rewrite(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _resolved(node, definitions)
    rewritten: Schema = {}
    for key, value in node.items():
        match key:
            case "properties":
                rewritten[key] = {name: _rewrite(child, definitions) for name, child in value.items()}
            case "items":
                rewritten[key] = _rewrite(value, definitions)
            case "additionalProperties" if isinstance(value, dict):
                rewritten[key] = _rewrite(value, definitions)
            case "additionalProperties":
                pass  # unknown fields are refused by kubectl and pruned by the API server; `false` is not allowed here
            case "const":
                rewritten["enum"] = [value]
            case "exclusiveMinimum":
                rewritten |= {"minimum": value, "exclusiveMinimum": True}
            case "exclusiveMaximum":
                rewritten |= {"maximum": value, "exclusiveMaximum": True}
            case "description":
                rewritten[key] = " ".join(value.replace("``", "`").split())
            case "default":
                rewritten |= _default(value)
            case _ if key not in _DROPPED:
                rewritten[key] = value
    if rewritten.get("type") == "integer":
        rewritten["format"] = "int64"
    return rewritten


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """The node with its reference or its only choice beside null put in its place; its own words win."""
    rest = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].rpartition("/")[2]], definitions) | rest
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if not choices:
        return node
    if len(choices) > 1:
        raise ValueError(f"a choice of types has no structural schema: {choices}")
    return _resolved(choices[0], definitions) | rest


def _default(value: object) -> Schema:
    """A default as the API server should fill it in: null and empty lists stand for what is not given.

    An object's holds those of its fields, because the API server tries its rules on the default as it stands.
    """
    if value is None or value == []:
        return {}
    if isinstance(value, dict):
        return {"default": {key: part for key, part in value.items() if part not in (None, [], {})}}
    return {"default": value}


def structural_problems(schema: Schema) -> list[str]:
    """Everything that keeps a schema of an EvalRun from being structural, described and bounded; one line each."""
    return list(_problems(schema, ""))


def _problems(node: Schema, path: str) -> Iterator[str]:
    yield from (f"{path or '.'}: {key} is not allowed" for key in node if key not in KEYWORDS)
    if "type" not in node and not node.get("x-kubernetes-int-or-string"):
        yield f"{path or '.'}: has no type"
    if "type" in node and node.get("x-kubernetes-int-or-string"):
        yield f"{path}: an int-or-string has no type of its own"
    for keyword in ("exclusiveMinimum", "exclusiveMaximum"):
        if not isinstance(node.get(keyword, True), bool):
            yield f"{path}: {keyword} must be true or false"
    yield from _unbounded(node, path)
    yield from _child_problems(node, path)


def _unbounded(node: Schema, path: str) -> Iterator[str]:
    kind = "map" if "additionalProperties" in node else node.get("type")
    bound = BOUNDS.get(str(kind))
    if path.startswith(".spec") and bound and bound not in node and "enum" not in node:
        yield f"{path}: has no {bound}"


def _child_problems(node: Schema, path: str) -> Iterator[str]:
    if "properties" in node and "additionalProperties" in node:
        yield f"{path}: has both properties and additionalProperties"
    for name in node.get("required", ()):
        if name not in node.get("properties", {}):
            yield f"{path}: requires {name}, which it does not describe"
    for name, child in node.get("properties", {}).items():
        if not child.get("description") and (path, name) != ("", "metadata"):
            yield f"{path}.{name}: has no description"
        yield from _problems(child, f"{path}.{name}")
    if node.get("type") == "array" and not isinstance(node.get("items"), dict):
        yield f"{path}: items must be one schema"
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(node.get(keyword), dict):
            yield from _problems(node[keyword], path + mark)
        elif keyword == "additionalProperties" and keyword in node:
            yield f"{path}: additionalProperties must be a schema"
