"""Common base of the contract's models: spelling, strictness, rules, and the types of plain values."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Self, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from evalrun_api.descriptions import describe
from evalrun_api.rules import Rule, camel

GROUP = "evalrun.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "EvalRun"

BROKEN_RULES = "broken_rules"
"""Type of the pydantic error that carries rules; its context holds them as (field, message) pairs."""


def add_rules(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put a model's rules into its JSON schema, where Kubernetes looks for them."""
    rules: tuple[Rule, ...] = getattr(model, "rules", ())
    if rules:
        schema["x-kubernetes-validations"] = [rule.to_schema() for rule in rules if rule.cel]


class Model(BaseModel):
    """Base of the contract's models: camelCase outside, snake_case inside, frozen, no unknown fields, own rules.

    The docstring under a field is its description in the CRD.
    """

    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra=add_rules,
        # Built when it is first used: a command that needs a few of the models does not wait for all.
        defer_build=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    null_is_unset: ClassVar[bool] = True
    """Whether a field that is null is one that is not set, as for the API server."""

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        if not self.rules:
            return self  # most models, and thousands of them a second
        broken = [(rule.field, rule.message) for rule in self.rules if not rule.cluster_only and not rule.holds(self)]
        if broken:
            raise PydanticCustomError(
                BROKEN_RULES, "{text}", {"text": "; ".join(message for _, message in broken), "broken": broken}
            )
        return self

    @classmethod
    def model_json_schema(cls, *arguments: Any, **settings: Any) -> dict[str, Any]:
        """Return the JSON schema, with the docstrings under fields as their descriptions."""
        for model in describe(cls):
            model.model_rebuild(force=True)
        return super().model_json_schema(*arguments, **settings)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the model as JSON, spelled like YAML, without fields that are not set."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain JSON values, spelled like YAML, without fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Reported(Model):
    """Base of models that one version writes and another one reads: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_S3 = rf"s3://{_BUCKET}(/.*)?"
_HF = r"hf://[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
_PVC = rf"pvc://{_DNS_NAME}(/.*)?"
_FILE = r"file:///.+"

OBJECT_NAME = rf"^{_DNS_NAME}$"
MODEL_URI = rf"^({_S3}|{_HF}|{_PVC}|{_FILE})$"
RUN_URI = rf"^({_S3}|{_FILE}|[^:]+)$"
S3_URI = rf"^{_S3}$"
# A host is written out in full, so that every reader of the URL finds the same one. A user and a password are refused
# by a rule, whose message does not repeat them.
_HOST = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
HTTP_URL = rf"^https?://([^\s/?#\\]*@)?{_HOST}(:[0-9]{{1,5}})?(/[^\s?#\\]*)?$"
TASK = r"^[^\s/,]+$"
DIGEST = r"^sha256:[0-9a-f]{64}$"
RELATIVE_PATH = r"^[^/].*$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$"

SHAPES = {
    OBJECT_NAME: "a Kubernetes name: lower-case letters, digits, '-' and '.', as in my-object",
    MODEL_URI: "s3://bucket/path/, hf://org/name, pvc://claim/path or file:///path",
    RUN_URI: "s3://bucket/path/, or for local runs file:///path or ./path",
    S3_URI: "s3://bucket/path/",
    HTTP_URL: "https://s3.example.com",
    TASK: "the name of a task: no spaces, slashes or commas",
    DIGEST: "sha256:<64 hexadecimal digits, lower case>",
    RELATIVE_PATH: "a path relative to the volume's root, as in suites/mine",
}
"""Descriptions of the patterns, for messages."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=OBJECT_NAME)]
"""Name of a Kubernetes object."""

ModelUri = Annotated[str, Field(min_length=1, max_length=1024, pattern=MODEL_URI)]
"""Location of a model."""

RunUri = Annotated[str, Field(min_length=1, max_length=1024, pattern=RUN_URI)]
"""Location of results."""

S3Uri = Annotated[str, Field(min_length=1, max_length=1024, pattern=S3_URI)]
"""A folder on S3."""

Label = Annotated[str, Field(max_length=63)]
"""Value of a Kubernetes label."""

LabelKey = Annotated[str, Field(max_length=317)]
"""Key of a Kubernetes label, annotation or resource, with its prefix."""

TaskName = Annotated[str, Field(min_length=1, max_length=256, pattern=TASK)]
"""Name of an lm-eval task, group or tag."""

Digest = Annotated[str, Field(max_length=71, pattern=DIGEST)]
"""A sha256 digest."""


def _quantity(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(QUANTITY, str(value)):
        raise PydanticCustomError("quantity", "must be a Kubernetes quantity, such as 1, 500m or 64Gi")
    return value


Quantity = Annotated[
    int | str,
    BeforeValidator(_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "minimum": 0, "pattern": QUANTITY, "maxLength": 64}),
]
"""A Kubernetes quantity."""

INT32_MAX = 2**31 - 1


def is_object_name(value: object) -> TypeGuard[str]:
    """Tell whether a value can be the name of a Kubernetes object."""
    return isinstance(value, str) and len(value) <= 253 and re.fullmatch(_DNS_NAME, value) is not None


def climbs(path: str) -> bool:
    """Tell whether a path or URI has '..' as a component, by which it could leave its folder."""
    return "/../" in f"/{path}/"


def no_climbing(field: str) -> Rule:
    """Build the rule that a path or URI, if set, has no '..' component."""
    return Rule(
        cel=f"!has(self.{field}) || !('/' + self.{field} + '/').contains('/../')",
        message="a path has no '..' in it: it must stay under the place that it names",
        holds=lambda model: not climbs(getattr(model, field) or ""),
        field=field,
    )
