"""Storage: access to an S3-compatible store. One type for models, suites and results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.addresses import has_userinfo, leads_inside
from evalrun_api.base import HTTP_URL, Model, ObjectName
from evalrun_api.rules import Rule


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
    """One key of a ConfigMap in the run's namespace with the label ``evalrun.dev/use: storage``."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "ca.crt"
    """Key in the ConfigMap."""


class Storage(Model):
    """Access to a store: everything is optional, the default is AWS with the pod's own identity."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.endpointURL) || !self.endpointURL.matches('^https?://[^/]*@')",
            message="has a user or a password in it, and everybody who reads the run sees it; hint: put the keys into "
            "a Secret and name it in credentialsSecretRef",
            holds=lambda storage: storage.endpoint_url is None or not has_userinfo(storage.endpoint_url),
            field="endpointURL",
        ),
        Rule(
            # CEL could compare only the plain forms of an address.
            cel="",
            message="leads back into the pods themselves or to a cloud's metadata service: loopback and link-local "
            "addresses are not stores, in whatever form they are written; hint: name the store's own host, or write "
            "its address as four decimal numbers",
            holds=lambda storage: storage.endpoint_url is None or not leads_inside(storage.endpoint_url),
            field="endpointURL",
            cluster_only=True,
        ),
    )

    endpoint_url: Annotated[
        str | None,
        Field(alias="endpointURL", max_length=1024, pattern=HTTP_URL),
    ] = None
    """Address of an S3-compatible store, or for hf:// of a mirror of the hub; absent: AWS, or the hub.

    It has no user and no password, and in a cluster it is no loopback or link-local address.
    """
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

    @property
    def is_s3(self) -> bool:
        """Whether a field is set that means something to an S3 store only."""
        s3 = (self.region, self.addressing_style, self.checksums)
        return s3 != (None, AddressingStyle.AUTO, Checksums.WHEN_SUPPORTED)
