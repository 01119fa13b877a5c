"""The interval between two looks at an object without an event, shared fairly between namespaces."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass
class Pace(Generic[K]):
    """The keys that are looked at, by namespace, within ``rate`` looks per second for all of them together.

    Every namespace gets what it asks for, up to an equal share; what some leave of theirs is shared by the others. So a
    namespace with thousands of keys makes only its own wait.
    """

    rate: float
    _keys: dict[str, set[K]] = field(default_factory=dict)

    def join(self, namespace: str, key: K) -> None:
        """Look at a key from now on."""
        self._keys.setdefault(namespace, set()).add(key)

    def leave(self, namespace: str, key: K) -> None:
        """Look at a key no more."""
        keys = self._keys.get(namespace, set())
        keys.discard(key)
        if not keys:
            self._keys.pop(namespace, None)

    def interval(self, namespace: str, wanted: float) -> float:
        """Return the seconds between two looks at a key of a namespace, at least ``wanted``."""
        count = len(self._keys.get(namespace, ()))
        left, others = self.rate, len(self._keys)
        for keys in sorted(map(len, self._keys.values())):
            share = left / others
            if keys >= count or keys / wanted > share:
                return max(wanted, count / share)
            # A smaller namespace gets all that it asks for.
            left, others = left - keys / wanted, others - 1
        return wanted
