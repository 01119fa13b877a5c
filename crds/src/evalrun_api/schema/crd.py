"""The CustomResourceDefinition, generated from the models.

``python -m evalrun_api.schema.crd > crds/evalrun.dev_evalruns.yaml`` writes it.

pydantic's JSON schema contains ``$ref``, ``anyOf … null``, ``const`` and numeric ``exclusiveMinimum``; the API server
requires a structural schema. ``structural`` converts the one into the other, ``structural_problems`` proves it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from evalrun_api.base import GROUP, KIND, VERSION
from evalrun_api.rules import validation
from evalrun_api.run import EvalRun
from evalrun_api.schema.structural import structural, structural_problems
from evalrun_api.spec.policy import Policy
from evalrun_api.spec.replicas import Replicas
from evalrun_api.spec.spec import EvalRunSpec

Schema = dict[str, Any]

PLURAL = "evalruns"

MUTABLE: dict[type[BaseModel], frozenset[str]] = {
    EvalRunSpec: frozenset({"replicas", "policy"}),
    Replicas: frozenset({"count", "minCount"}),
    Policy: frozenset(
        {
            "suspend",
            "ttlSecondsAfterFinished",
            "activeDeadlineSeconds",
            "startDeadlineSeconds",
            "maxDisruptions",
        }
    ),
}
"""Fields of a spec that may change while the run exists; ``replicas`` and ``policy`` guard their own fields."""

IMMUTABLE = (
    "{field} cannot be changed: the model and the questions of a run are fixed when it is created, so that its answers "
    "belong together; hint: create a new EvalRun with resumeFrom, which reuses the items that are the same"
)

SHAPE = frozenset(
    {
        "additionalProperties",
        "description",
        "format",
        "items",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
    }
)
"""Keywords of the status' schema."""

UNSEEN = {"observedGeneration": -1}
"""Status of a run that the operator has not seen yet."""

COLUMNS = (
    ("PHASE", "string", ".status.phase", 0),
    ("MODEL", "string", ".status.display.model", 0),
    ("PROGRESS", "string", ".status.display.progress", 0),
    ("SCORE", "string", ".status.display.score", 0),
    ("GATE", "string", ".status.display.gate", 0),
    ("REPLICAS", "string", ".status.display.replicas", 0),
    ("ETA", "string", ".status.display.eta", 0),
    ("AGE", "date", ".metadata.creationTimestamp", 0),
    ("REASON", "string", ".status.display.reason", 0),
    ("TOK/S", "integer", ".status.progress.outputTokensPerSecond", 1),
    ("ATTEMPT", "integer", ".status.attempt", 1),
    ("RESULTS", "string", ".status.resultsUri", 1),
)
"""Columns of ``kubectl get``: name, type, JSONPath, priority (1: only with ``-o wide``)."""


def crd() -> Schema:
    """Build the CustomResourceDefinition as plain values. Raises ValueError if its schema is not structural."""
    schema = _schema()
    problems = structural_problems(schema)
    if problems:
        raise ValueError("the schema is not structural:\n" + "\n".join(problems))
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["evr"],
                # Not "all": `kubectl delete all --all` would delete the record of every evaluation.
                "categories": ["evals"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas.count",
                            "statusReplicasPath": ".status.replicas.ready",
                        },
                    },
                    "selectableFields": [{"jsonPath": ".status.phase"}],
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _schema() -> Schema:
    schema = structural(EvalRun.model_json_schema(by_alias=True))
    properties = schema["properties"]
    # The API server knows these three itself, and it allows no schema for metadata.
    properties["apiVersion"] = {"type": "string", "description": properties["apiVersion"]["description"]}
    properties["kind"] = {"type": "string", "description": properties["kind"]["description"]}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    _loosen(properties["status"])
    # Until the operator has seen a run: kstatus takes an object without it for finished, and Flux's expressions over
    # `status` fail without one.
    properties["status"]["default"] = dict(UNSEEN)
    properties["status"]["properties"]["observedGeneration"]["default"] = UNSEEN["observedGeneration"]
    spec = properties["spec"]
    _freeze(spec, MUTABLE[EvalRunSpec])
    _freeze(spec["properties"]["replicas"], MUTABLE[Replicas])
    _freeze(spec["properties"]["policy"], MUTABLE[Policy])
    return schema


def _freeze(schema: Schema, mutable: frozenset[str]) -> None:
    """Add a transition rule for every field that may not change."""
    rules = schema.setdefault("x-kubernetes-validations", [])
    for name, field in schema["properties"].items():
        if name in mutable:
            continue
        cel = f"self.{name} == oldSelf.{name}"
        if name not in schema.get("required", ()) and "default" not in field:
            cel = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {cel})"
        rules.append(validation(cel, IMMUTABLE.format(field=name), name))


def _loosen(schema: Schema) -> None:
    """Leave only the shape of the status: no values, bounds or rules.

    The operator alone writes it, and a newer one may meet this definition: after a rollback, or where definitions are
    installed apart from the chart. One word that this version does not know would be refused at every look, and with
    it the whole status.
    """
    for keyword in [key for key in schema if key not in SHAPE]:
        del schema[keyword]
    for child in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if child is not None:
            _loosen(child)


class _Dumper(yaml.SafeDumper):
    """Dumper that writes everything out, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # kubectl reads YAML 1.1 strictly, where n is a boolean: the field ``n`` of a score would be named ``false``.
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="'" if data in {"y", "Y", "n", "N"} else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def to_yaml(definition: Mapping[str, Any]) -> str:
    """Format a definition as the YAML file of this repository."""
    text = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# Generated from evalrun_api by `make generate`: do not edit.\n{text}"


if __name__ == "__main__":
    sys.stdout.write(to_yaml(crd()))
