"""Events of the watches: they prove that the watches work, and add keys to the queue. They have no other effect.

The operator's own writes come back as events, too. A status that it wrote is not news: otherwise every reconcile of a
run with changing progress would trigger the next one at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalrun_api.base import is_object_name
from evalrun_api.wire.pods import LABEL_RUN
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, Kind, controller_of
from evalrun_operator.names import run_labels
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.deliveries import Deliveries

CHILDREN = ",".join([*(f"{key}={value}" for key, value in run_labels("").items() if key != LABEL_RUN), LABEL_RUN])
"""Label selector of all children of all runs: other people's pods are never read."""


def key_of(kind: Kind, metadata: Mapping[str, Any], jobs: Mapping[str, Key] | None = None) -> Key | None:
    """Find the run that an object is or belongs to, by its controller; None for one that only looks like a child.

    Whoever may create pods or Jobs may write anything into their metadata. Labels and annotations are not looked at,
    only a valid object name becomes a key, and the key is in the object's own namespace.

    Args:
        kind: The kind of the object.
        metadata: Its metadata.
        jobs: The runs of Jobs, by the uid of the Job: a pod names only its Job.
    """
    if kind is EVALRUNS:
        return _key(metadata, metadata["name"])
    owner = controller_of(metadata)
    if owner is None:
        return None
    what = (owner.api_version, owner.kind)
    if what == (EVALRUNS.api_version, EVALRUNS.kind):
        return _key(metadata, owner.name)
    key = (jobs or {}).get(owner.uid) if what == (JOBS.api_version, JOBS.kind) else None
    return key if key is not None and key.namespace == metadata["namespace"] else None


def _key(metadata: Mapping[str, Any], name: object) -> Key | None:
    return Key(metadata["namespace"], name) if is_object_name(name) else None


class Learn(Protocol):
    """A function that is told of children; see ``Observer.learn``."""

    def __call__(self, key: Key, kind: Kind, manifest: Mapping[str, Any], *, deleted: bool) -> bool:
        """Take in a child as it is now, or as it was deleted; return whether it is news."""


def _always_news(key: Key, kind: Kind, manifest: Mapping[str, Any], *, deleted: bool) -> bool:
    return True


@dataclass
class Owners:
    """The runs that objects belong to. It remembers those of Jobs for as long as the Job, or a pod of it, is seen."""

    _jobs: dict[str, Key] = field(default_factory=dict)
    _used: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    """Uids of Jobs that were asked about since the last resync, and between the two before it."""
    _awaited: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    """Uids of Jobs of which a pod was seen first, in the same two times."""

    def key_of(self, kind: Kind, metadata: Mapping[str, Any]) -> Key | None:
        """Find the run of an object, see ``key_of``; a pod of a Job that was never seen belongs to none yet."""
        key = key_of(kind, metadata, self._jobs)
        if kind is JOBS and key is not None:
            self._jobs[metadata["uid"]] = key
            self._used[0].add(metadata["uid"])
        elif kind is PODS:
            owner = controller_of(metadata)
            if owner is not None and isinstance(owner.uid, str):
                (self._awaited if key is None else self._used)[0].add(owner.uid)
        return key

    def was_awaited(self, job: str) -> bool:
        """Tell once whether a pod of this Job was seen before it: watches do not wait for one another."""
        awaited = any(job in some for some in self._awaited)
        for some in self._awaited:
            some.discard(job)
        return awaited

    def forget_unused(self) -> None:
        """Forget Jobs that nothing was asked about since the last but one call; call it after each resync."""
        recent, before = self._used
        for uid in self._jobs.keys() - recent - before:
            del self._jobs[uid]
        self._used, self._awaited = (set(), recent), (set(), self._awaited[0])


@dataclass(frozen=True)
class EventHandler:
    """Handler of the events of all watches."""

    changed: Callable[[Key], None]
    """Called with each run that has news."""
    deliveries: Deliveries
    learn: Learn = _always_news
    """Told of each child; returns whether it is news."""
    owners: Owners = field(default_factory=Owners)
    missed: Callable[[Key], None] | None = None
    """Called instead of ``changed`` where a child was not learned, because its run was not known yet."""
    namespaced: bool = False
    """Whether each namespace has watches of its own."""
    _intents: dict[str, object] = field(default_factory=dict)
    """What users want of each run, by uid: generation, labels, deletion."""

    def handle(self, kind: Kind, event: Mapping[str, Any]) -> None:
        """Handle an event of the API server: ``type`` (None for an initial object) and ``object``."""
        metadata = event["object"]["metadata"]
        key, place = self.owners.key_of(kind, metadata), metadata["namespace"] if self.namespaced else None
        if event["type"] == "DELETED":
            self.deliveries.record_deletion(kind, metadata["uid"], place)
        else:
            self.deliveries.record(kind, metadata["uid"], metadata["resourceVersion"], key, place)
        if key is None:
            return
        late = kind is JOBS and self.owners.was_awaited(metadata["uid"])
        if self._is_news(key, kind, event) or late:
            tell = self.missed if late and self.missed is not None else self.changed
            tell(key)

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
