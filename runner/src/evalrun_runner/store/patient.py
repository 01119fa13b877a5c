"""Store that waits while the underlying store is unavailable."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable
from evalrun_runner.records.messages import StoreStats
from evalrun_runner.store.base import ObjectStore, Repeating
from evalrun_runner.store.retry import Patience, with_backoff

T = TypeVar("T")

WAITED_FOR: dict[type[StoreError], str] = {StoreUnavailable: "unavailable", StoreFull: "full", StoreDenied: "denied"}
"""Errors after which a call is retried, with their names in ``StoreStats.retries``."""


class PatientStore:
    """``ObjectStore`` whose calls wait while the store is unavailable, full, or denies what it allowed before.

    Calls also wait after a denial: since the store was probed when the run began, a denial means that credentials are
    being rotated or that a bucket is being restored.

    Args:
        store: The underlying store.
        patience: Maximum wait of one call, in seconds, or how its waits grow as well.
        stop: Event that ends every wait.
    """

    def __init__(self, store: ObjectStore, patience: float | Patience, stop: threading.Event | None = None) -> None:
        self.uri = store.uri
        self._store = store
        self._patience = patience if isinstance(patience, Patience) else Patience(patience)
        self._stop = stop or threading.Event()
        self._waiting: dict[int, str] = {}
        self._lock = threading.Lock()
        self._answered: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._wait_seconds = 0.0

    def stop_waiting(self) -> None:
        """End every wait, now and later: calls that would wait fail."""
        self._stop.set()

    @property
    def trouble(self) -> str | None:
        """Reason why a call is waiting; None if none is."""
        return next(iter(list(self._waiting.values())), None)

    @property
    def stats(self) -> StoreStats:
        """Counts of this store's calls since its creation."""
        with self._lock:
            retries = self._retries.copy()
            if isinstance(self._store, Repeating) and self._store.repeated:
                retries[WAITED_FOR[StoreUnavailable]] += self._store.repeated
            return StoreStats(dict(self._answered), dict(retries), self._wait_seconds)

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore``."""
        return self._patiently("create", lambda: self._store.create(key, data))

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore``."""
        self._patiently("put", lambda: self._store.put(key, data))

    def get(self, key: str) -> bytes:
        """See ``ObjectStore``."""
        return self._patiently("get", lambda: self._store.get(key))

    def exists(self, key: str) -> bool:
        """See ``ObjectStore``."""
        return self._patiently("exists", lambda: self._store.exists(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See ``ObjectStore``; completes the listing before it returns the first key."""
        return iter(self._patiently("list", lambda: [*self._store.list(prefix)]))

    def delete(self, key: str) -> None:
        """See ``ObjectStore``."""
        self._patiently("delete", lambda: self._store.delete(key))

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore``."""
        self._patiently("move", lambda: self._store.move(key, to))

    def _patiently(self, operation: str, call: Callable[[], T]) -> T:
        try:
            answer = with_backoff(
                call,
                self._patience,
                waited_for=tuple(WAITED_FOR),
                clock=self,
                on_wait=self._on_wait,
            )
        except ObjectMissing:
            self._count(operation)
            raise
        finally:
            self._waiting.pop(threading.get_ident(), None)
        self._count(operation)
        return answer

    def _count(self, operation: str) -> None:
        with self._lock:
            self._answered[operation] += 1

    def _on_wait(self, error: StoreError, seconds: float) -> None:
        self._waiting[threading.get_ident()] = str(error)
        if self._stop.is_set():
            raise error
        with self._lock:
            self._retries[WAITED_FOR[type(error)]] += 1

    def now(self) -> float:
        """Return the backoff's time, in monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for the backoff; ``stop`` ends the wait."""
        since = self.now()
        self._stop.wait(seconds)
        with self._lock:
            self._wait_seconds += self.now() - since
