"""Replicas: the engines of the run and their nodes. An allow-list of pod fields, never a pod template."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Label, LabelKey, Model, ObjectName, Quantity
from evalrun_api.rules import Rule


class Resources(Model):
    """Resources of one replica, as in a container."""

    limits: dict[LabelKey, Quantity] = Field(default_factory=dict, max_length=32)
    """Limits per replica: ``nvidia.com/gpu``, ``memory``, ``cpu``."""
    requests: dict[LabelKey, Quantity] = Field(default_factory=dict, max_length=32)
    """Requests per replica; default: the limits, and for cpu and memory 1 and 8Gi per GPU."""


class TolerationOperator(StrEnum):
    """How a toleration matches a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Effect of a taint on pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint that the pods tolerate."""

    key: Annotated[str | None, Field(max_length=317)] = None
    """Key of the taint; absent: all keys, with operator Exists."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Exists: any value; Equal: this value."""
    value: Label | None = None
    """Value of the taint, with operator Equal."""
    effect: TaintEffect | None = None
    """Effect of the taint; absent: all effects."""
    toleration_seconds: Annotated[int | None, Field(ge=0)] = None
    """With NoExecute: seconds that the pod may stay; absent: forever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.key) || self.operator == 'Exists'",
            message="a toleration without key tolerates every taint and needs operator: Exists",
            holds=lambda toleration: toleration.key is not None or toleration.operator is TolerationOperator.EXISTS,
            field="operator",
        ),
        Rule(
            cel="!has(self.value) || self.operator == 'Equal'",
            message="value needs operator: Equal",
            holds=lambda toleration: toleration.value is None or toleration.operator is TolerationOperator.EQUAL,
            field="value",
        ),
    )


class Replicas(Model):
    """The engines of the run: each replica is one pod, with the GPUs of one engine."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.minCount) || self.minCount <= self.count",
            message="minCount must not be above count: it is the number of replicas with which the run may start",
            holds=lambda replicas: replicas.min_count is None or replicas.min_count <= replicas.count,
            field="minCount",
        ),
    )

    count: Annotated[int, Field(ge=1, le=10000)] = 1
    """Number of replicas; may be changed while the run exists, but not under Kueue."""
    min_count: Annotated[int | None, Field(ge=1, le=10000)] = None
    """Minimum number of replicas to start with; default: count."""
    resources: Resources | None = None
    """Resources of one replica."""
    node_selector: dict[LabelKey, Label] = Field(default_factory=dict, max_length=64)
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that the pods tolerate."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods."""

    @property
    def resolved_min_count(self) -> int:
        """The value of ``min_count``, or by default ``count``."""
        return self.min_count or self.count
