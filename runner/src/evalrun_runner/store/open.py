"""Opening of a store by its URI."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from evalrun_runner.errors import InputError
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.s3 import S3Settings, S3Store


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """Location that a run writes to. Picklable, without secrets: each replica opens a store of its own.

    Raises:
        InputError: The URI is neither ``s3://bucket/prefix/`` nor ``file:///path/`` nor a plain path.
    """

    uri: str
    """``s3://bucket/prefix/`` or ``file:///path/``. A plain path is made absolute, as replicas run in other folders."""
    s3: S3Settings | None = None
    """Settings for S3; None for AWS with boto3's own credentials and region."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", _normal(self.uri))


def open_store(spec: StoreSpec) -> ObjectStore:
    """Open the store of a spec, without contacting it yet."""
    parts = urlsplit(spec.uri)
    if parts.scheme == "s3":
        return S3Store(parts.netloc, parts.path, spec.s3 or S3Settings())
    return DirectoryStore(Path(unquote(parts.path)))


def _normal(uri: str) -> str:
    if not uri.strip():
        raise InputError("the output is empty: give s3://bucket/prefix/, file:///path/ or a path")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _directory(Path(uri).expanduser())
    match scheme:
        case "s3":
            bucket, _, prefix = rest.partition("/")
            if not bucket or any(mark in rest for mark in "?#@"):
                raise InputError(f"{uri!r} is no S3 location: expected s3://bucket/prefix/ without '?', '#' and '@'")
            return f"s3://{bucket}/" + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        case "file":
            if not rest.startswith("/"):
                raise InputError(f"{uri!r} names a host: expected file:///absolute/path/ with three slashes")
            return _directory(Path(unquote(rest)))
        case _:
            raise InputError(
                f"{uri!r} is no place a run can write to: expected s3://bucket/prefix/, file:///path/ or a path"
            )


def _directory(path: Path) -> str:
    return Path(os.path.abspath(path)).as_uri().rstrip("/") + "/"
