"""What watches deliver: proof that they work, and keys for the queue. Nothing else is done with an event.

The operator's own writes come back as events, too. A status that it wrote is no news: taken for some, every look at a
run whose progress moves would bring the next one at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalrun_api.base import is_object_name
from evalrun_api.wire.pods import ANNOTATION_RUN_NAME, LABEL_RUN
from evalrun_operator.kube.objects import EVALRUNS, Kind
from evalrun_operator.names import run_labels
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.deliveries import Deliveries

CHILDREN = ",".join([*(f"{key}={value}" for key, value in run_labels("").items() if key != LABEL_RUN), LABEL_RUN])
"""Label selector of all children of all runs: other people's pods are never read."""


def key_of(kind: Kind, metadata: Mapping[str, Any]) -> Key | None:
    """Find the run that an object is, or belongs to; None for one that somebody made to look like a child.

    Whoever may make pods may put anything into their annotations: only what can be an object's name becomes a key.
    """
    name = metadata["name"] if kind is EVALRUNS else (metadata.get("annotations") or {}).get(ANNOTATION_RUN_NAME)
    return Key(metadata["namespace"], name) if is_object_name(name) else None


@dataclass(frozen=True)
class EventHandler:
    """Takes events in."""

    changed: Callable[[Key], None]
    """Told of each run of which there is news."""
    deliveries: Deliveries
    _wishes: dict[str, object] = field(default_factory=dict)
    """What users want of each run, by uid."""

    def handle(self, kind: Kind, event: Mapping[str, Any]) -> None:
        """An event as the API server tells it: ``type`` (None for what was there at the start) and ``object``."""
        metadata = event["object"]["metadata"]
        key = key_of(kind, metadata)
        if event["type"] == "DELETED":
            self.deliveries.record_deletion(kind, metadata["uid"])
        else:
            self.deliveries.record(kind, metadata["uid"], metadata["resourceVersion"], key)
        if key is not None and self._is_news(kind, event):
            self.changed(key)

    def _is_news(self, kind: Kind, event: Mapping[str, Any]) -> bool:
        """Whether more than a run's status changed."""
        if kind is not EVALRUNS:
            return True
        metadata = event["object"]["metadata"]
        if event["type"] == "DELETED":
            self._wishes.pop(metadata["uid"], None)
            return True
        wish = (metadata.get("generation"), metadata.get("labels"), metadata.get("deletionTimestamp"))
        before = self._wishes.get(metadata["uid"])
        self._wishes[metadata["uid"]] = wish
        return wish != before
