"""A store that waits for another one to come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from evalrun_runner.errors import StoreDenied, StoreError, StoreFull, StoreUnavailable
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.retry import with_backoff

T = TypeVar("T")


class PatientStore:
    """An ``ObjectStore`` whose calls wait while the store is away, full, or denies what it allowed before.

    A denial is waited for, too: this store was probed when the run began, so that credentials are being rotated or a
    bucket is on its way back. ``patience_s`` is the longest wait of one call; ``stop`` ends every wait.
    """

    def __init__(self, store: ObjectStore, patience_s: float, stop: threading.Event | None = None) -> None:
        self.uri = store.uri
        self._store = store
        self._patience = patience_s
        self._stop = stop or threading.Event()
        self._waiting: dict[int, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why calls wait, if any does."""
        return next(iter(list(self._waiting.values())), None)

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore``."""
        return self._patiently(lambda: self._store.create(key, data))

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore``."""
        self._patiently(lambda: self._store.put(key, data))

    def get(self, key: str) -> bytes:
        """See ``ObjectStore``."""
        return self._patiently(lambda: self._store.get(key))

    def exists(self, key: str) -> bool:
        """See ``ObjectStore``."""
        return self._patiently(lambda: self._store.exists(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See ``ObjectStore``; the whole listing is made before the first key comes."""
        return iter(self._patiently(lambda: [*self._store.list(prefix)]))

    def delete(self, key: str) -> None:
        """See ``ObjectStore``."""
        self._patiently(lambda: self._store.delete(key))

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore``."""
        self._patiently(lambda: self._store.move(key, to))

    def _patiently(self, call: Callable[[], T]) -> T:
        thread = threading.get_ident()
        try:
            return with_backoff(
                call,
                waited_for=(StoreUnavailable, StoreFull, StoreDenied),
                deadline_s=self._patience,
                clock=self,
                on_wait=self._on_wait,
            )
        finally:
            self._waiting.pop(thread, None)

    def _on_wait(self, error: StoreError, seconds: float) -> None:
        self._waiting[threading.get_ident()] = str(error)
        if self._stop.is_set():
            raise error

    def now(self) -> float:
        """The backoff's clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """The backoff's wait, which ``stop`` ends."""
        self._stop.wait(seconds)
