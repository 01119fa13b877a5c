"""In-memory store for simulations and tests, with the same interface as the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from evalrun_runner.errors import ObjectMissing
from evalrun_runner.store.keys import check_key


class MemoryStore:
    """Store that keeps its objects in memory."""

    def __init__(self, name: str = "store") -> None:
        """Create an empty store whose ``uri`` contains ``name``."""
        self.uri = f"memory://{name}/"
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore.create``."""
        check_key(key)
        with self._lock:
            return self._objects.setdefault(key, data) == data

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore.put``."""
        check_key(key)
        with self._lock:
            self._objects[key] = data

    def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise ObjectMissing(f"{self.uri}{key} is not there")
            return self._objects[key]

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        check_key(key)
        with self._lock:
            return key in self._objects

    def list(self, prefix: str) -> Iterator[str]:
        """See ``ObjectStore.list``; returns the keys at the time of the call."""
        with self._lock:
            return iter(sorted(key for key in self._objects if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore.move``."""
        self.put(to, self.get(key))
        self.delete(key)
