"""Generator of the field reference from the CRD: ``python crds/generate/reference.py > docs/reference.md``.

One table per object; the meaning of a field is its description in ``kubectl explain``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from evalrun_api import ConditionType, Phase, Reason
from evalrun_api.schema.crd import crd
from evalrun_api.schema.structural import structural
from evalrun_api.wire.outputs import DOCUMENTS, Document

Schema = dict[str, Any]

INTRODUCTION = """# Fields of an EvalRun

Generated from the models by `make generate`; `kubectl explain evalrun.spec` shows the same. The spec of a run is
immutable except for `policy.suspend`, `policy.ttlSecondsAfterFinished`, `policy.activeDeadlineSeconds`,
`replicas.count` and `replicas.minCount`. Names of engine arguments are vLLM's own.
"""

DOCUMENTS_INTRODUCTION = """# Documents that a run leaves

JSON objects in the output of a run; required fields are always there. Later versions of EvalRun may add fields, and
earlier ones keep them.

`formatVersion`, in `plan.json` and in the Parquet metadata `evalrun` of manifest segments and parts, is the version of
the ledger's format: 1, also where it is absent. It goes up when an object that was written before could be misread. An
older format is read by `evalrun results`; a newer one is refused by name; no run is continued in another format than
the one that it was begun in.
"""


def kind_of(schema: Schema) -> str:
    """Describe the type of a field in a word or two."""
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return "text, number or truth value"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {kind_of(schema['items'])}"
    if kind == "object" and "additionalProperties" in schema:
        return f"map of {kind_of(schema['additionalProperties'])}"
    return str(schema.get("format", kind) if kind == "string" else kind)


def inner(schema: Schema) -> Schema | None:
    """Return the object in a field that gets a section of its own, else None."""
    if schema.get("type") == "array":
        schema = schema["items"]
    if isinstance(schema.get("additionalProperties"), dict):
        schema = schema["additionalProperties"]
    return schema if "properties" in schema else None


def sections(path: str, schema: Schema) -> Iterator[str]:
    """Yield a section for an object, then one for each object in it."""
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
            suffix = "[]" if field.get("type") == "array" else "" if child is field else ".*"
            yield from sections(f"{path}.{name}{suffix}", child)


def row(name: str, field: Schema, *, needed: bool) -> str:
    """Format the line of one field."""
    meaning = one_line(field.get("description", "")).replace("|", "\\|")
    default = field.get("default")
    if needed:
        meaning = f"**Required.** {meaning}"
    elif default not in (None, {}, [], ""):
        meaning = f"{meaning} Default: `{json.dumps(default)}`."
    return f"| `{name}` | {kind_of(field)} | {meaning} |"


def one_line(text: str) -> str:
    """Remove line breaks."""
    return " ".join(text.split())


def words() -> Iterator[str]:
    """Yield the vocabulary of the status."""
    for title, kind in (("Phases", Phase), ("Conditions", ConditionType), ("Reasons", Reason)):
        yield f"## {title}\n"
        yield "| word | meaning |\n|---|---|"
        yield from (f"| `{member.value}` | {meaning} |" for member, meaning in explained(kind))
        yield ""


def explained(kind: type[Phase] | type[ConditionType] | type[Reason]) -> Iterator[tuple[Any, str]]:
    """Yield the members of an enum with the docstring under each, which Python itself discards."""
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


def documents() -> Iterator[str]:
    """Write the documents that a run leaves."""
    yield DOCUMENTS_INTRODUCTION
    for name, kind in DOCUMENTS.items():
        yield from sections(name, document_schema(kind))


def document_schema(kind: type[Document]) -> Schema:
    """Return the schema of a document; a spec in it is not repeated."""
    schema = kind.model_json_schema(by_alias=True)
    if "spec" in schema["properties"]:
        schema["properties"]["spec"] = {"type": "object", "description": schema["properties"]["spec"]["description"]}
    return structural(schema)


def reference() -> str:
    """Build the whole page."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    described = (*sections("spec", schema["spec"]), *sections("status", schema["status"]))
    return "\n".join([INTRODUCTION, *described, *words(), *documents()]).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
