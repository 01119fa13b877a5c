"""From a URI to a store."""

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
    """Where a run writes. Holds no secrets and can be pickled: each replica opens a store of its own.

    ``uri`` is ``s3://bucket/prefix/``, ``file:///path/`` or a plain path; a path is made absolute here, since the
    replicas have other working directories. Raises ``InputError`` for anything else.
    """

    uri: str
    s3: S3Settings | None = None
    """None for S3: AWS with boto3's own credentials and region."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", _normal(self.uri))


def open_store(spec: StoreSpec) -> ObjectStore:
    """The store of a spec; nothing is asked of it yet."""
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
