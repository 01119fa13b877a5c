"""The CRD follows the models, is structural, and equals the committed file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from evalrun_api import ConditionType, EvalRunSpec, Phase, Policy, Reason, Replicas
from evalrun_api.schema.crd import COLUMNS, MUTABLE, crd, to_yaml
from evalrun_api.schema.structural import structural, structural_problems

FILE = Path(__file__).parents[3] / "crds" / "evalrun.dev_evalruns.yaml"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the schema of the only version."""
    version = crd()["spec"]["versions"][0]
    return dict(version["schema"]["openAPIV3Schema"])


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of a field, ``spec.benchmarks[].task``."""
    for name in path.split("."):
        schema = schema["properties"][name.removesuffix("[]")]
        if name.endswith("[]"):
            schema = schema["items"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield from nodes(schema[keyword], path + mark)


def test_committed_crd_equals_generated_crd() -> None:
    assert FILE.read_text() == to_yaml(crd()), "run `make generate` and commit the result"


def test_crd_fits_into_the_annotation_of_kubectl_apply() -> None:
    assert len(FILE.read_bytes()) < 200_000


def test_generation_arguments_may_be_null_and_no_other_field(schema: dict[str, Any]) -> None:
    nullable = {path.rpartition(".")[0] for path, node in nodes(schema) if node.get("nullable")}
    assert nullable == {".spec.benchmarks[].generation"}


def test_schema_is_structural(schema: dict[str, Any]) -> None:
    assert structural_problems(schema) == []


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({"$ref": "#/x"}, "$ref is not allowed"),
        ({"anyOf": [{"type": "string"}]}, "anyOf is not allowed"),
        ({}, "has no type"),
        ({"type": "string", "x-kubernetes-int-or-string": True}, "no type of its own"),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": 0}, "must be true or false"),
        ({"type": "object", "additionalProperties": False}, "must be a schema"),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "has both"),
        ({"type": "array", "maxItems": 1}, "items must be one schema"),
        ({"type": "array", "items": {"type": "integer"}}, "has no maxItems"),
        ({"type": "string"}, "has no maxLength"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, ".spec.x.a: has no description"),
        ({"type": "object", "required": ["a"]}, "requires a"),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "is not allowed"),
    ],
)
def test_non_structural_schema_is_reported(node: dict[str, Any], problem: str) -> None:
    spec = {"type": "object", "description": "d", "properties": {"x": {"description": "d"} | node}}
    problems = structural_problems({"type": "object", "properties": {"spec": spec}})
    assert any(problem in each for each in problems), problems


def test_choice_of_types_is_rejected() -> None:
    class Choice(BaseModel):
        value: int | str

    with pytest.raises(ValueError, match="a choice of types"):
        structural(Choice.model_json_schema())


def test_crd_defaults_equal_model_defaults(schema: dict[str, Any]) -> None:
    assert at(schema, "spec.seed")["default"] == 1234
    assert at(schema, "spec.policy")["default"] == {"maxAttempts": 3, "maxFailedItems": 0, "suspend": False}
    assert at(schema, "spec.engine.vllm.args")["default"] == {}
    assert at(schema, "spec.policy.maxAttempts")["default"] == 3
    assert at(schema, "spec.replicas.count")["default"] == 1
    assert at(schema, "spec.engine.numerics")["default"] == "fast"
    assert "default" not in at(schema, "spec.gates")


def test_rules_point_at_existing_fields(schema: dict[str, Any]) -> None:
    for path, node in nodes(schema):
        for rule in node.get("x-kubernetes-validations", ()):
            field = rule.get("fieldPath", "").removeprefix(".")
            assert not field or field in node["properties"], f"{path}: {rule}"
            named = set(re.findall(r"\b(?:self|oldSelf)\.(\w+)(?!\w*\()", rule["rule"]))
            assert named <= set(node["properties"]), f"{path}: {rule}"


@pytest.mark.parametrize(
    ("model", "path"), [(EvalRunSpec, "spec"), (Replicas, "spec.replicas"), (Policy, "spec.policy")]
)
def test_only_mutable_fields_have_no_transition_rule(schema: dict[str, Any], model: type[BaseModel], path: str) -> None:
    node = at(schema, path)
    frozen = {
        rule["fieldPath"].removeprefix(".") for rule in node["x-kubernetes-validations"] if "oldSelf" in rule["rule"]
    }
    assert frozen == set(node["properties"]) - MUTABLE[model]


def test_c25_the_status_has_a_shape_and_no_words_of_one_version(schema: dict[str, Any]) -> None:
    shape = {"type", "format", "description", "properties", "required", "items", "x-kubernetes-list-type"}
    shape |= {"x-kubernetes-list-map-keys", "additionalProperties"}
    allowed = {"": {"default"}, ".observedGeneration": {"default"}}
    for path, node in nodes(schema["properties"]["status"]):
        assert set(node) <= shape | allowed.get(path, set()), f"a newer operator could not write status{path}"
    assert at(schema, "status.conditions")["x-kubernetes-list-map-keys"] == ["type"]


def test_a_run_that_nobody_has_seen_says_so(schema: dict[str, Any]) -> None:
    assert at(schema, "status")["default"] == {"observedGeneration": -1}


def test_runs_can_be_scaled_and_selected_by_phase_and_are_not_among_all(schema: dict[str, Any]) -> None:
    version = crd()["spec"]["versions"][0]
    scale = version["subresources"]["scale"]
    for path in (*scale.values(), *(one["jsonPath"] for one in version["selectableFields"])):
        assert at(schema, path.removeprefix("."))["type"] in {"integer", "string"}
    assert [one["jsonPath"] for one in version["selectableFields"]] == [".status.phase"]
    assert "all" not in crd()["spec"]["names"]["categories"]


def test_columns_read_existing_fields(schema: dict[str, Any]) -> None:
    for name, _, path, _ in COLUMNS:
        if path.startswith(".status"):
            assert at(schema, path.removeprefix(".")), name
    assert [name for name, *_, priority in COLUMNS if not priority] == [
        "PHASE",
        "MODEL",
        "PROGRESS",
        "SCORE",
        "GATE",
        "REPLICAS",
        "ETA",
        "AGE",
        "REASON",
    ]


@pytest.mark.parametrize("words", [Phase, ConditionType, Reason])
def test_status_vocabulary_consists_of_single_words(words: type[Phase | ConditionType | Reason]) -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", word) for word in words)
    assert len(set(words)) == len(words.__members__)
