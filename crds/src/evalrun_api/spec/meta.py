"""ObjectMeta: Kubernetes' own metadata, of which EvalRun reads a part and accepts the rest."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue

from evalrun_api.base import Model, ObjectName


class ObjectMeta(Model):
    """Metadata of an object. Fields that nothing here reads are taken as they are."""

    name: ObjectName | None = None
    """Name, unique in the namespace; the API server makes one from generateName."""
    generate_name: Annotated[str | None, Field(max_length=253)] = None
    """Prefix of a name that the API server makes."""
    namespace: Annotated[str | None, Field(max_length=63)] = None
    """Namespace; on one machine ``default``."""
    uid: str | None = None
    """Unique in space and time; made by the API server."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels; Kueue's queue name is handed to the Jobs."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations."""
    resource_version: str | None = None
    """Version of the stored object."""
    generation: int | None = None
    """Counts changes of the spec."""
    creation_timestamp: datetime | None = None
    """When the API server stored it."""
    deletion_timestamp: datetime | None = None
    """When its deletion was asked for."""
    deletion_grace_period_seconds: JsonValue = None
    """Kubernetes' own."""
    owner_references: JsonValue = None
    """Kubernetes' own."""
    finalizers: JsonValue = None
    """Kubernetes' own."""
    managed_fields: JsonValue = None
    """Kubernetes' own."""
    self_link: JsonValue = None
    """Kubernetes' own."""
