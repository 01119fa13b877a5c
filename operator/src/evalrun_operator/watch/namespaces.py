"""The watched namespaces that the API server refuses: one that is gone stops only itself.

Somebody deletes a namespace, or the Role in it. Its lists and watches are refused from then on, perhaps for ever, while
those of all others work. Its runs are left alone meanwhile, and looked at again when it answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass
class RefusedNamespaces:
    """Namespaces in which a list or a watch is refused, with the API server's words.

    An operator that watches the whole cluster has none: nothing is refused in one namespace only.
    """

    _lists: dict[str, dict[str, str]] = field(default_factory=dict)
    """By namespace: kinds that may not be listed, with the API server's words."""
    _watches: dict[str, dict[str, str]] = field(default_factory=dict)

    def listed(self, namespace: str, plural: str, words: str | None) -> None:
        """Record a list, and why it was refused; None if it was not."""
        self._record(self._lists, namespace, plural, words)

    def watched(self, namespace: str, plural: str, words: str | None) -> None:
        """Record a watch, and why it was refused; None if it was not."""
        self._record(self._watches, namespace, plural, words)

    def has_unreadable_runs(self, namespace: str) -> bool:
        """Tell whether the runs of a namespace cannot be reconciled now: something in it cannot be listed."""
        return namespace in self._lists

    def is_refused(self, namespace: str) -> bool:
        """Tell whether a list or a watch of a namespace is refused."""
        return namespace in self._lists or namespace in self._watches

    def problems(self) -> Mapping[str, str]:
        """Return why each refused namespace is, in the API server's words."""
        refused = self._watches | self._lists
        return {namespace: next(iter(refused[namespace].values())) for namespace in sorted(refused)}

    def _record(self, where: dict[str, dict[str, str]], namespace: str, plural: str, words: str | None) -> None:
        before = self.is_refused(namespace)
        kinds = where.setdefault(namespace, {})
        if words is None:
            kinds.pop(plural, None)
        else:
            kinds[plural] = words
        if not kinds:
            del where[namespace]
        if before and not self.is_refused(namespace):
            logger.info("namespace %s answers again", namespace)
        elif not before and self.is_refused(namespace):
            logger.error("namespace %s is refused; it is tried again: %s", namespace, words)
