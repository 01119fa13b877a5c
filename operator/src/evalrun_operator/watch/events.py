"""Events of the watches: they prove that the watches work, and add keys to the queue. They have no other effect.

The operator's own writes come back as events, too. A status that it wrote is not news: otherwise every reconcile of a
run with changing progress would trigger the next one at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalrun_api.base import is_object_name
from evalrun_api.wire.pods import ANNOTATION_RUN_NAME, LABEL_RUN
from evalrun_operator.kube.objects import EVALRUNS, Kind
from evalrun_operator.names import run_labels
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.deliveries import Deliveries

CHILDREN = ",".join([*(f"{key}={value}" for key, value in run_labels("").items() if key != LABEL_RUN), LABEL_RUN])
"""Label selector of all children of all runs: other people's pods are never read."""


def key_of(kind: Kind, metadata: Mapping[str, Any]) -> Key | None:
    """Find the run that an object is or belongs to; return None for an object that only looks like a child.

    Whoever may create pods may put anything into their annotations: only a valid object name becomes a key.
    """
    name = metadata["name"] if kind is EVALRUNS else (metadata.get("annotations") or {}).get(ANNOTATION_RUN_NAME)
    return Key(metadata["namespace"], name) if is_object_name(name) else None


class Learn(Protocol):
    """A function that is told of children; see ``Observer.learn``."""

    def __call__(self, key: Key, kind: Kind, manifest: Mapping[str, Any], *, deleted: bool) -> bool:
        """Take in a child as it is now, or as it was deleted; return whether it is news."""


def _always_news(key: Key, kind: Kind, manifest: Mapping[str, Any], *, deleted: bool) -> bool:
    return True


@dataclass(frozen=True)
class EventHandler:
    """Handler of the events of all watches."""

    changed: Callable[[Key], None]
    """Called with each run that has news."""
    deliveries: Deliveries
    learn: Learn = _always_news
    """Told of each child; returns whether it is news."""
    _intents: dict[str, object] = field(default_factory=dict)
    """What users want of each run, by uid: generation, labels, deletion."""

    def handle(self, kind: Kind, event: Mapping[str, Any]) -> None:
        """Handle an event of the API server: ``type`` (None for an initial object) and ``object``."""
        metadata = event["object"]["metadata"]
        key = key_of(kind, metadata)
        if event["type"] == "DELETED":
            self.deliveries.record_deletion(kind, metadata["uid"])
        else:
            self.deliveries.record(kind, metadata["uid"], metadata["resourceVersion"], key)
        if key is not None and self._is_news(key, kind, event):
            self.changed(key)

    def _is_news(self, key: Key, kind: Kind, event: Mapping[str, Any]) -> bool:
        """Check whether something changed that decisions depend on: of a run, more than its status."""
        if kind is not EVALRUNS:
            return self.learn(key, kind, event["object"], deleted=event["type"] == "DELETED")
        metadata = event["object"]["metadata"]
        if event["type"] == "DELETED":
            self._intents.pop(metadata["uid"], None)
            return True
        intent = (metadata.get("generation"), metadata.get("labels"), metadata.get("deletionTimestamp"))
        before = self._intents.get(metadata["uid"])
        self._intents[metadata["uid"]] = intent
        return intent != before
