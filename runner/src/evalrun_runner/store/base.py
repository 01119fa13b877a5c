"""Interface of object stores: the seven calls that a run needs, each atomic per object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class ObjectStore(Protocol):
    """Store of objects by key. Thread-safe.

    Keys are relative, '/'-separated, without a leading slash (``store.keys``); values are bytes. No key may be the
    directory of another one (``a`` beside ``a/b``): S3 could store both, a directory cannot. Every call may raise
    ``StoreUnavailable``, ``StoreFull`` or ``StoreDenied``. No call retries for more than about a minute; longer waits
    are the task of ``store.retry``.
    """

    uri: str
    """Location of the keys, for messages: ``s3://bucket/prefix/`` or ``file:///path/``."""

    def create(self, key: str, data: bytes) -> bool:
        """Create the object if the key is free.

        Returns:
            True if the key now contains exactly these bytes, from this call or from an earlier, retried one (a PUT that
            committed but was answered with 500 is repeated and conflicts with its own bytes); False if it contains
            other bytes. Writers that must not both win therefore write distinct bytes (a name, a nonce).
        """

    def put(self, key: str, data: bytes) -> None:
        """Create or replace the object atomically."""

    def get(self, key: str) -> bytes:
        """Read the object.

        Raises:
            ObjectMissing: The key does not exist.
        """

    def exists(self, key: str) -> bool:
        """Return whether the key exists."""

    def list(self, prefix: str) -> Iterator[str]:
        """Stream every key that starts with the prefix, once each.

        The order is not defined: S3 lists ``a.b`` before ``a/b``, stores based on directories do the reverse.
        """

    def delete(self, key: str) -> None:
        """Delete the object; a missing key is not an error."""

    def move(self, key: str, to: str) -> None:
        """Copy the object to another key of this store, then delete it; used to set damaged objects aside.

        An object at ``to`` is replaced.

        Raises:
            ObjectMissing: The key does not exist.
        """


@runtime_checkable
class Repeating(Protocol):
    """Store whose client retries requests itself before it reports a failure."""

    @property
    def repeated(self) -> int:
        """Number of retried requests."""
