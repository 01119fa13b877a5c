"""The children of one run, as they were last heard of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

from evalrun_api.wire.pods import LABEL_RUN
from evalrun_operator.kube.objects import Manifest
from evalrun_operator.state.backend import Backend, Objects
from evalrun_operator.state.children import Children, Job, Pod
from evalrun_operator.state.observed import Attempt

Versioned = tuple[Job | Pod, str]
"""A child and its resource version."""


class Heard(NamedTuple):
    """News of a child: as it is now, or that there is none."""

    run: str
    """Uid of its run."""
    uid: str
    version: str
    child: Job | Pod | None
    """None if it is deleted, or cannot be understood."""

    @property
    def is_end(self) -> bool:
        """Whether it ends, has ended, or is gone."""
        return self.child is None or self.child.ending

    @classmethod
    def of(cls, manifest: Manifest, child: Job | Pod | None) -> Self:
        """Take the identity of an object of the API server."""
        metadata = manifest["metadata"]
        run = (metadata.get("labels") or {}).get(LABEL_RUN, "")
        return cls(run, metadata.get("uid", ""), metadata.get("resourceVersion", ""), child)


class KnownChildren:
    """The children of a run by uid: read once, then told of every change.

    What is heard comes from several sides: from lists, from watches, which may lag behind them, and as answers to
    writes. So a version counts only if it is newer than the known one.
    """

    __slots__ = ("_attempts", "_by_uid", "final", "uid")

    def __init__(self, uid: str | None, children: Iterable[Versioned]) -> None:
        self.uid = uid
        """Uid of the run."""
        self.final = False
        """Whether the run has ended: no decision depends on its children any more."""
        self._attempts: Mapping[int, Attempt] | None = None
        """Their summary; None after a change."""
        self._by_uid = {child.uid: (child, version) for child, version in children}

    @property
    def children(self) -> Children:
        """The children as they are known now."""
        return Children.of_objects(child for child, _ in self._by_uid.values())

    def attempts(self, backend: Backend) -> Mapping[int, Attempt]:
        """Summarize them, once for each change: what is after one change is before the next."""
        if self._attempts is None:
            self._attempts = backend.attempts(Objects(self.children))
        return self._attempts

    @property
    def needs_care(self) -> bool:
        """Whether a pod is being deleted, failed or was disrupted: any change of it may ask for a repair."""
        pods = (child for child, _ in self._by_uid.values() if isinstance(child, Pod))
        return any(pod.deleting_at is not None or pod.disrupted or pod.phase == "Failed" for pod in pods)

    def __len__(self) -> int:
        return len(self._by_uid)

    def can_learn(self, heard: Heard) -> bool:
        """Check that it can be told what is newer; else everything has to be read again."""
        known = self._by_uid.get(heard.uid)
        return _is_comparable(heard.version) and (known is None or _is_comparable(known[1]))

    def learn(self, heard: Heard) -> bool:
        """Take in a child of this run unless something newer is known; return whether it changed."""
        if heard.run != self.uid or not self.can_learn(heard):
            return False
        known, version = self._by_uid.get(heard.uid), heard.version
        if known is not None and int(version) <= int(known[1]):
            return False
        if heard.child is None:
            changed = self._by_uid.pop(heard.uid, None) is not None
        else:
            self._by_uid[heard.uid] = (heard.child, version)
            changed = known is None or known[0] != heard.child
        if changed:
            self._attempts = None
        return changed


def _is_comparable(version: str) -> bool:
    """Check that a resource version is a decimal number, as those of the API server's own store are."""
    return version.isascii() and version.isdecimal()
