"""What a run needs of an object store: seven calls, all of them atomic per object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


class ObjectStore(Protocol):
    """Keys are relative, '/'-separated, without a leading slash (``store.keys``); values are bytes.

    No key may be another's directory (``a`` beside ``a/b``): S3 could hold both, a directory cannot. Safe to use from
    several threads. Every call may raise ``StoreUnavailable``, ``StoreFull`` or ``StoreDenied``; none retries for
    longer than about a minute: ``store.retry`` does, where there is time.
    """

    uri: str
    """Where the keys lie, for people: ``s3://bucket/prefix/`` or ``file:///path/``."""

    def create(self, key: str, data: bytes) -> bool:
        """Create the object if the key is free.

        Returns True if the key now holds exactly these bytes by this call or by an earlier, retried one of ours
        (a PUT that committed but answered 500 comes back as a conflict with our own bytes); False if it holds others.
        Of two writers that must not both win, each therefore writes bytes of its own (a name, a nonce).
        """

    def put(self, key: str, data: bytes) -> None:
        """Create or replace the object, whole or not at all."""

    def get(self, key: str) -> bytes:
        """Read the object. Raises ``ObjectMissing``."""

    def exists(self, key: str) -> bool:
        """Whether the key is there."""

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that starts with the prefix, once, streamed.

        In no order to lean on: S3 lists ``a.b`` before ``a/b``, stores built on directories the other way.
        """

    def delete(self, key: str) -> None:
        """Remove the object; a missing key is no error."""

    def move(self, key: str, to: str) -> None:
        """Copy the object to another key of this store, then delete it: for setting damaged objects aside.

        An object at ``to`` is replaced. Raises ``ObjectMissing``.
        """


@runtime_checkable
class Repeating(Protocol):
    """A store whose client makes requests again of its own accord before it tells of a failure."""

    @property
    def repeated(self) -> int:
        """How many it made again."""
