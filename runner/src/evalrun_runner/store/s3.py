"""Object store in S3 or any compatible store, accessed with boto3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreUnavailable
from evalrun_runner.store.credentials import FileCredentials, retry_when_renewed, use_in
from evalrun_runner.store.keys import check_key
from evalrun_runner.store.s3_errors import classify, is_conflict

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_CREATE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Settings to reach a store; every field is optional. Contains no secrets, only the paths of files with secrets."""

    endpoint_url: str | None = None
    """``https://host:port`` of an S3-compatible store; None for AWS."""
    region: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """``path`` puts the bucket name into the path, as stores without wildcard DNS require."""
    ca_bundle: str | None = None
    """PEM file of the certificate authorities to trust for the endpoint; None for the system's."""
    credentials_dir: str | None = None
    """Folder with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, optionally, AWS_SESSION_TOKEN.

    None for boto3's own chain, from the environment to the pod's identity.
    """
    checksums: Literal["when_supported", "when_required"] = "when_required"
    """When the client sends checksums, which older stores refuse. The ledger has its own checksums in any case."""


def make_client(settings: S3Settings) -> S3Client:
    """Make a boto3 client with limited time-outs and few retries; long waits are up to the caller (``store.retry``).

    Raises:
        StoreDenied: The settings are not valid.
    """
    try:
        return _client(settings)
    except (BotoCoreError, ValueError) as error:
        raise StoreDenied(f"no S3 client can be made of these settings: {error}. Correct them") from error


def _client(settings: S3Settings) -> S3Client:
    # Use a new session: boto3's default one is not safe for several threads that make clients.
    session = botocore.session.Session()
    credentials = None if settings.credentials_dir is None else FileCredentials(Path(settings.credentials_dir))
    if credentials is not None:
        use_in(session, credentials)
    client = boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        verify=settings.ca_bundle,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=32,
            s3={"addressing_style": settings.addressing_style},
            request_checksum_calculation=settings.checksums,
            response_checksum_validation=settings.checksums,
        ),
    )
    if credentials is not None:
        retry_when_renewed(client, credentials)
    return client


class S3Store:
    """Store whose keys are the objects below a prefix in a bucket."""

    def __init__(self, bucket: str, prefix: str, settings: S3Settings) -> None:
        """Make a client without contacting the store yet."""
        prefix = prefix.strip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = make_client(settings)
        # Of the client, not of the settings: the environment and the files of AWS name one as well.
        self._endpoint = self._client.meta.endpoint_url
        self._lock = threading.Lock()
        self._repeated = 0
        self._client.meta.events.register("response-received.s3", self._on_response)
        self.uri = f"s3://{bucket}/{self._prefix}"

    @property
    def repeated(self) -> int:
        """Number of requests that boto3 retried, most often because the store was busy or unreachable."""
        return self._repeated

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore.create``."""
        check_key(key)
        for _ in range(_CREATE_ATTEMPTS):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*")
                return True
            except (ClientError, BotoCoreError) as error:
                if not is_conflict(error):
                    raise self._classified(error, key) from error
            # Another writer was first, or this one was: boto3 retries a PUT that committed but was answered with 500.
            try:
                return self.get(key) == data
            except ObjectMissing:
                continue  # 409: the other upload was in progress and has failed since, or the object was set aside
        raise StoreUnavailable(
            f"{self.uri}{key} (endpoint {self._endpoint}): {_CREATE_ATTEMPTS} creates met a conflict with an object "
            "that cannot be read. Retry"
        )

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore.put``."""
        check_key(key)
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
        except (ClientError, BotoCoreError) as error:
            raise self._classified(error, key) from error

    def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        check_key(key)
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise self._classified(error, key) from error

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        check_key(key)
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except (ClientError, BotoCoreError) as error:
            classified = self._classified(error, key)
            if isinstance(classified, ObjectMissing):
                return False
            raise classified from error
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """See ``ObjectStore.list``; reads pages of 1,000 keys."""
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self._prefix)
        except (ClientError, BotoCoreError) as error:
            raise self._classified(error, prefix) from error

    def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        check_key(key)
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except (ClientError, BotoCoreError) as error:
            raise self._classified(error, key) from error

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore.move``; the data passes through this machine, because not every store can copy."""
        self.put(to, self.get(key))
        self.delete(key)

    def _on_response(self, context: dict[str, Any], **_: object) -> None:
        if context["retries"]["attempt"] > 1:
            with self._lock:
                self._repeated += 1

    def _classified(self, error: ClientError | BotoCoreError, key: str) -> Exception:
        return classify(error, where=f"{self.uri}{key} (endpoint {self._endpoint})", bucket=self._bucket)
