"""The field reference, from the CRD: ``python crds/generate/reference.py > docs/reference.md``.

A table per object; what a field means is what ``kubectl explain`` says of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from evalrun_api.schema.crd import crd
from evalrun_api.status.conditions import ConditionType, Phase, Reason

Schema = dict[str, Any]

INTRODUCTION = """# Fields of an EvalRun

Generated from the models by `make generate`; `kubectl explain evalrun.spec` says the same. The spec of a run cannot be
changed but for `policy.suspend`, `policy.ttlSecondsAfterFinished`, `policy.activeDeadlineSeconds`, `replicas.count` and
`replicas.minCount`. Names of engine arguments are vLLM's own.
"""


def kind_of(schema: Schema) -> str:
    """A field's type, in a word or two."""
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "object")
    if kind == "array":
        return f"list of {kind_of(schema['items'])}"
    if kind == "object" and "additionalProperties" in schema:
        return f"map of {kind_of(schema['additionalProperties'])}"
    return str(schema.get("format", kind) if kind == "string" else kind)


def inner(schema: Schema) -> Schema | None:
    """The object in a field that is described in a section of its own."""
    if schema.get("type") == "array":
        schema = schema["items"]
    return schema if "properties" in schema else None


def sections(path: str, schema: Schema) -> Iterator[str]:
    """A section for an object, then one for each object in it."""
    yield f"## `{path}`\n"
    if description := schema.get("description"):
        yield f"{one_line(description)}\n"
    yield "| field | type | meaning |\n|---|---|---|"
    required = set(schema.get("required", ()))
    for name, field in schema["properties"].items():
        yield row(name, field, needed=name in required)
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"]]
    if rules:
        yield "\nRules:\n"
        yield from (f"- {one_line(rule)}" for rule in rules)
    yield ""
    for name, field in schema["properties"].items():
        if (child := inner(field)) is not None:
            suffix = "[]" if field.get("type") == "array" else ""
            yield from sections(f"{path}.{name}{suffix}", child)


def row(name: str, field: Schema, *, needed: bool) -> str:
    """One field's line."""
    meaning = one_line(field.get("description", "")).replace("|", "\\|")
    default = field.get("default")
    if needed:
        meaning = f"**Required.** {meaning}"
    elif default not in (None, {}, [], ""):
        meaning = f"{meaning} Default: `{json.dumps(default)}`."
    return f"| `{name}` | {kind_of(field)} | {meaning} |"


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def words() -> Iterator[str]:
    """The vocabulary of the status."""
    for title, kind in (("Phases", Phase), ("Conditions", ConditionType), ("Reasons", Reason)):
        yield f"## {title}\n"
        yield "| word | meaning |\n|---|---|"
        yield from (f"| `{member.value}` | {meaning} |" for member, meaning in explained(kind))
        yield ""


def explained(kind: type[Phase] | type[ConditionType] | type[Reason]) -> Iterator[tuple[Any, str]]:
    """Members of an enum with the text under each, which Python itself throws away."""
    import ast
    import inspect
    import textwrap

    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    for assignment, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(assignment, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            (target,) = assignment.targets
            assert isinstance(target, ast.Name)
            yield kind[target.id], one_line(str(text.value.value))


def reference() -> str:
    """The whole page."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    lines = [INTRODUCTION, *sections("spec", schema["spec"]), *sections("status", schema["status"]), *words()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
