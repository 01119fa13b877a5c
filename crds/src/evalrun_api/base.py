"""What every model of the contract shares: spelling, strictness, rules, and the types of plain values."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from evalrun_api.rules import Rule, camel

GROUP = "evalrun.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "EvalRun"

BROKEN_RULES = "broken_rules"
"""The type of pydantic error that carries rules; its context holds them as (field, message) pairs."""


class Model(BaseModel):
    """Base of the contract's models: camelCase outside, snake_case inside, frozen, no unknown fields, own rules.

    The docstring under a field is its description in the CRD.
    """

    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [(rule.field, rule.message) for rule in self.rules if not rule.cluster_only and not rule.holds(self)]
        if broken:
            raise PydanticCustomError(
                BROKEN_RULES, "{text}", {"text": "; ".join(message for _, message in broken), "broken": broken}
            )
        return self

    def to_json(self, *, indent: int | None = None) -> str:
        """The model as JSON, as YAML spells its fields, without what was not given."""
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """The model as plain JSON values, as YAML spells its fields, without what was not given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Reported(Model):
    """Base of what is written by one version and read by another: unknown fields are passed over."""

    model_config = ConfigDict(extra="ignore")


_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_DNS_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
S3_URI = rf"s3://{_BUCKET}(/.*)?"
HF_URI = r"hf://[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?"
PVC_URI = rf"pvc://{_DNS_LABEL}(\.{_DNS_LABEL})*(/.*)?"
FILE_URI = r"file:///.+"
LOCAL_PATH = r"[^:]+"

ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$", examples=["my-object"])
]
"""The name of a Kubernetes object."""

ModelUri = Annotated[
    str,
    Field(
        min_length=6,
        max_length=1024,
        pattern=rf"^({S3_URI}|{HF_URI}|{PVC_URI}|{FILE_URI})$",
        examples=["s3://bucket/path/", "hf://org/name", "pvc://claim/path", "file:///path"],
    ),
]
"""Where a model lies."""

RunUri = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        pattern=rf"^({S3_URI}|{FILE_URI}|{LOCAL_PATH})$",
        examples=["s3://bucket/path/", "file:///path", "./path"],
    ),
]
"""Where results lie or go to."""

S3Uri = Annotated[str, Field(min_length=8, max_length=1024, pattern=rf"^{S3_URI}$", examples=["s3://bucket/path/"])]

Label = Annotated[str, Field(max_length=63)]
"""The value of a Kubernetes label."""

LabelKey = Annotated[str, Field(max_length=317)]

TaskName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s/,]+$", examples=["gsm8k"])]
"""The name of an lm-eval task, group or tag."""

Digest = Annotated[
    str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$", examples=["sha256:<64 hexadecimal digits>"])
]

Int32Max = 2**31 - 1


def climbs(path: str) -> bool:
    """Whether a path or URI has '..' as a component, by which it could leave the place it is under."""
    return "/../" in f"/{path}/"


def no_climbing(field: str) -> Rule:
    """The rule that a path or URI, if given, has no '..' component."""
    return Rule(
        cel=f"!has(self.{field}) || !('/' + self.{field} + '/').contains('/../')",
        message="a path has no '..' in it: it must stay under the place that it names",
        holds=lambda model: not climbs(getattr(model, field) or ""),
        field=field,
    )
