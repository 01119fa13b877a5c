"""Storage: access to an S3-compatible store. One type for models, suites and results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evalrun_api.base import HTTP_URL, Model, ObjectName


class AddressingStyle(StrEnum):
    """Position of the bucket in a request: in the path or in the host name."""

    AUTO = "auto"
    PATH = "path"
    VIRTUAL = "virtual"


class Checksums(StrEnum):
    """When the S3 client sends its own checksums with a request."""

    WHEN_SUPPORTED = "whenSupported"
    WHEN_REQUIRED = "whenRequired"


class SecretRef(Model):
    """A Secret in the run's namespace with the label ``evalrun.dev/use: storage``."""

    name: ObjectName
    """Name of the Secret."""


class ConfigMapKeyRef(Model):
    """One key of a ConfigMap in the run's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "ca.crt"
    """Key in the ConfigMap."""


class Storage(Model):
    """Access to a store: everything is optional, the default is AWS with the pod's own identity."""

    endpoint_url: Annotated[
        str | None,
        Field(alias="endpointURL", max_length=1024, pattern=HTTP_URL),
    ] = None
    """Address of an S3-compatible store; absent: AWS."""
    region: Annotated[str | None, Field(min_length=1, max_length=63)] = None
    """Region of the bucket; absent: the client's own configuration, or us-east-1."""
    addressing_style: AddressingStyle = AddressingStyle.AUTO
    """Whether the bucket is in the path or in the host name; many S3-compatible stores need ``path``."""
    checksums: Checksums = Checksums.WHEN_SUPPORTED
    """When to send checksums; ``whenRequired`` is for older stores that refuse them. sha256 is verified either way.
    """
    ca_bundle_ref: ConfigMapKeyRef | None = None
    """PEM certificates to trust for this store, in a ConfigMap."""
    credentials_secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and optionally AWS_SESSION_TOKEN; HF_TOKEN for hf://.

    It must have the label ``evalrun.dev/use: storage``. Absent: the pod's own identity.
    """
