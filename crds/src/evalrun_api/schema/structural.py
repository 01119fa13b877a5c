"""Conversion of pydantic's JSON schema into the structural schema of the API server, and the proof that it is one.

Structural: every value has one type, there are no references and no choices (``$ref``, ``anyOf``, ``oneOf``, ``not``),
and objects either list their properties or are maps, never both. See "Specifying a structural schema" in Kubernetes'
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
        "nullable",
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
"""Keywords that a node may have."""

_ANYTHING = "x-kubernetes-preserve-unknown-fields"

_DROPPED = frozenset({"title", "examples", "$defs", "propertyNames"})
"""Keywords that mean nothing to the API server, or (propertyNames) that it does not know and the models check."""

BOUNDS = {"string": "maxLength", "array": "maxItems", "map": "maxProperties"}
"""Bounds that a value of the spec must have, so that the cost of its rules is bounded."""


def structural(schema: Schema) -> Schema:
    """Convert pydantic's JSON schema of a model, definitions included."""
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
    """Replace a reference, or the only choice beside null, by its definition; the node's own keywords win."""
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
    """Convert a default for the API server: null and empty lists mean that nothing is set.

    The default of an object contains those of its fields, because the API server checks its rules on the default as it
    is.
    """
    if value is None or value == []:
        return {}
    if isinstance(value, dict):
        return {"default": {key: part for key, part in value.items() if part not in (None, [], {})}}
    return {"default": value}


def structural_problems(schema: Schema) -> list[str]:
    """List, one line each, what keeps the schema from being structural, described and bounded."""
    return list(_problems(schema, ""))


def _problems(node: Schema, path: str) -> Iterator[str]:
    # A value of any type: nothing else is said of it. Of an object it would let unknown fields in.
    anything = node.keys() <= {_ANYTHING, "description"} and bool(node.get(_ANYTHING))
    yield from (f"{path or '.'}: {key} is not allowed" for key in node if key not in KEYWORDS and not anything)
    typeless = node.get("x-kubernetes-int-or-string") or anything
    if "type" not in node and not typeless:
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
