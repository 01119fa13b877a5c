"""Probe that a store can serve as a ledger, made before the run starts because S3-compatible stores differ."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Protocol, runtime_checkable

from evalrun_api import Reason
from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreError
from evalrun_runner.store.base import ObjectStore

_CREATORS = 8
_PREFIX = ".probe-"


@runtime_checkable
class Discardable(Protocol):
    """Store that makes something (directories) before its first object."""

    def discard(self) -> None:
        """Remove what the store made and does not need."""


def probe_store(store: ObjectStore) -> None:
    """Check what the ledger depends on: one creator wins, and written objects are readable and listed immediately.

    The probe deletes what it wrote; of a store that is refused, nothing is left.

    Raises:
        StoreDenied: The store is not suitable, or refuses to be read, written or listed.
        StoreError: The store failed otherwise.
    """
    key = _PREFIX + secrets.token_hex(8)
    try:
        flaw = _flaw(store, key)
        store.delete(key)
        if flaw is None and store.exists(key):
            flaw = "an object was still there after its deletion"
        if flaw is not None:
            raise StoreDenied(
                f"{store.uri} cannot be trusted as the ledger of a run: {flaw}. Use a store that knows conditional "
                "creates (If-None-Match) and lists what was written, or a newer version of this one",
                reason=Reason.STORAGE_UNSAFE,
            )
    except StoreError:
        with suppress(StoreError):
            store.delete(key)
        if isinstance(store, Discardable):
            store.discard()
        raise


def _flaw(store: ObjectStore, key: str) -> str | None:
    """Return the first flaw that rules the store out as a ledger, or None."""
    winners = _race(store, key)
    if len(winners) != 1:
        return f"of {_CREATORS} creators of one object {len(winners)} won, and exactly one must"
    if key not in store.list(_PREFIX):
        return "an object that had just been created was not listed"
    try:
        if store.get(key) != winners[0]:
            return "an object did not hold what its one creator had written"
        store.put(key, b"replaced")
        if store.get(key) != b"replaced":
            return "an object did not hold what had just replaced it"
    except ObjectMissing:
        return "an object that had just been written could not be read"
    return None


def _race(store: ObjectStore, key: str) -> list[bytes]:
    """Create one key from several threads at once, and return the bytes of each thread that won."""
    start = Barrier(_CREATORS)

    def create(number: int) -> bytes | None:
        data = f"creator {number} {secrets.token_hex(8)}".encode()
        start.wait()
        return data if store.create(key, data) else None

    with ThreadPoolExecutor(_CREATORS) as threads:
        return [data for data in threads.map(create, range(_CREATORS)) if data is not None]
