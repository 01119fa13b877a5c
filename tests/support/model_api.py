"""A model of the API server in memory: objects, versions, preconditions, deletion. It has no faults of its own.

Operators reach it through ``call``, in the terms of HTTP; controllers of the model cluster use the methods directly.
Answers are not serialized, which would take a third of the time. What is written goes through JSON, and the parts of
objects are replaced, never changed: the copy of an object's surface stays as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

Object = dict[str, Any]
Answer = tuple[int, Mapping[str, str], "Body"]
Change = Callable[[str, "Ref", Object], None]
"""Receives each change: ADDED, MODIFIED or DELETED, the place, the object."""


class Ref(NamedTuple):
    """Where an object lies."""

    plural: str
    namespace: str
    name: str


class Body(bytes):
    """The body of an answer: bytes of an error, else a value that would be parsed from bytes."""

    value: Any = None

    @classmethod
    def of(cls, value: Any) -> Body:
        """Make the body that stands for a value."""
        body = cls()
        body.value = value
        return body


class Refused(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Format it as the API server does."""
        body = {"kind": "Status", "status": "Failure", "reason": self.reason, "message": self.message}
        return self.status, self.headers, Body(json.dumps(body).encode())


_PATH = re.compile(r"/apis?/(?:[^/]+/)?v[^/]+(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(/status)?")


@cache
def place_of(path: str) -> tuple[str, str, str, bool]:
    """Split a path into plural, namespace, name and whether it is the status; '' for what it lacks."""
    found = _PATH.fullmatch(path)
    assert found is not None, path
    namespace, plural, name, status = found.groups()
    return plural, namespace or "", name or "", status is not None


class ModelApiServer:
    """The objects of a cluster. ``now`` is its clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.objects: dict[Ref, Object] = {}
        self.by_owner: dict[str, list[Ref]] = {}
        """Places of the objects that have an owner, by its uid."""
        self.on_change: list[Change] = []
        self.admission: list[Callable[[Ref, Object], None]] = []
        """Asked before an object is created; they raise ``Refused``."""
        self.absent: frozenset[str] = frozenset()
        """Kinds that the cluster does not serve."""
        self._version = 0
        self._uids = 0

    # What controllers use ----------------------------------------------------------------------------------------

    def of(self, plural: str) -> Iterator[tuple[Ref, Object]]:
        """Iterate over the objects of a kind."""
        return ((ref, one) for ref, one in list(self.objects.items()) if ref.plural == plural)

    def owned(self, uid: str, plural: str) -> list[tuple[Ref, Object]]:
        """Return the objects of a kind that an object owns."""
        return [(ref, self.objects[ref]) for ref in self.by_owner.get(uid, ()) if ref.plural == plural]

    def create(self, plural: str, namespace: str, body: Object) -> Object:
        """Create an object. Raises ``Refused``."""
        ref = Ref(plural, namespace, body["metadata"]["name"])
        for check in self.admission:
            check(ref, body)
        if ref in self.objects:
            raise Refused(409, "AlreadyExists", f'{plural} "{ref.name}" already exists')
        self._uids += 1
        metadata = {
            **body["metadata"],
            "namespace": namespace,
            "uid": f"{self._uids:08x}-0000-4000-8000-000000000000",
            "generation": 1,
            "creationTimestamp": stamp(self.now()),
        }
        one = self.objects[ref] = {**body, "metadata": metadata}
        for owner in metadata.get("ownerReferences", ()):
            self.by_owner.setdefault(owner["uid"], []).append(ref)
        self._changed("ADDED", ref, one)
        return one

    def update(self, ref: Ref, *, status: Object | None = None, spec: Object | None = None, **metadata: Any) -> None:
        """Merge fields into an object's status, spec and metadata.

        An object that does not exist is left alone, and what changes nothing is no change.
        """
        one = self.objects.get(ref)
        if one is None:
            return
        before = {part: one.get(part) or {} for part in ("status", "spec", "metadata")}
        after = {
            "status": before["status"] | (status or {}),
            "spec": before["spec"] | (spec or {}),
            "metadata": before["metadata"] | metadata,
        }
        if after == before:
            return
        if after["spec"] != before["spec"]:
            after["metadata"]["generation"] += 1
        one.update({part: value for part, value in after.items() if value or part in one})
        if "deletionTimestamp" in one["metadata"] and self._may_go(one):
            self._remove(ref)
        else:
            self._changed("MODIFIED", ref, one)

    def delete(self, ref: Ref, grace: int | None = None) -> None:
        """Delete an object: pods with their grace period, those with finalizers when these are gone."""
        one = self.objects.get(ref)
        if one is None:
            return
        seconds = 0
        if ref.plural == "pods" and "nodeName" in one["spec"] and one["status"]["phase"] not in {"Succeeded", "Failed"}:
            seconds = one["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        before = one["metadata"].get("deletionGracePeriodSeconds")
        if before is not None and before <= seconds:
            return
        deleted = stamp(self.now() + timedelta(seconds=seconds))
        self.update(ref, deletionTimestamp=deleted, deletionGracePeriodSeconds=seconds)

    @staticmethod
    def _may_go(one: Object) -> bool:
        return one["metadata"]["deletionGracePeriodSeconds"] == 0 and not one["metadata"].get("finalizers")

    def _remove(self, ref: Ref) -> None:
        one = self.objects.pop(ref)
        for owner in one["metadata"].get("ownerReferences", ()):
            self.by_owner[owner["uid"]].remove(ref)
        self._changed("DELETED", ref, one)

    def _changed(self, what: str, ref: Ref, one: Object) -> None:
        self._version += 1
        one["metadata"] = {**one["metadata"], "resourceVersion": str(self._version)}
        for told in self.on_change:
            told(what, ref, one)

    # What operators use ------------------------------------------------------------------------------------------

    def call(
        self, verb: str, path: str, query: Sequence[tuple[str, str]], body: Mapping[str, Any] | None, as_metadata: bool
    ) -> Answer:
        """Carry out a request; ``body`` is not kept."""
        plural, namespace, name, is_status = place_of(path)
        try:
            if plural in self.absent:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            if verb == "list":
                return self._list(plural, namespace, dict(query), as_metadata=as_metadata)
            if ("dryRun", "All") in query:
                return self._dry_run(plural, namespace, body)
            return self._one(verb, Ref(plural, namespace, name), body, as_metadata=as_metadata, is_status=is_status)
        except Refused as refused:
            return refused.answer()

    def _dry_run(self, plural: str, namespace: str, body: Mapping[str, Any] | None) -> Answer:
        assert body is not None
        name = body["metadata"]["name"]
        if Ref(plural, namespace, name) in self.objects:
            raise Refused(409, "AlreadyExists", f'{plural} "{name}" already exists')
        return 201, {}, Body.of(json.loads(json.dumps(body)))

    def _one(
        self, verb: str, ref: Ref, body: Mapping[str, Any] | None, *, as_metadata: bool, is_status: bool
    ) -> Answer:
        if verb == "create":
            given = json.loads(json.dumps(body))
            return 201, {}, Body.of(dict(self.create(ref.plural, ref.namespace, given)))
        one = self.objects.get(ref)
        if one is None:
            raise Refused(404, "NotFound", f'{ref.plural} "{ref.name}" not found')
        if verb == "get":
            return 200, {}, Body.of(_seen(one, as_metadata=as_metadata))
        assert body is not None
        given = json.loads(json.dumps(body))
        if verb == "delete":
            self._check(one, given.get("preconditions") or {})
            self.delete(ref, given.get("gracePeriodSeconds"))
            return 200, {}, Body.of({})
        metadata = given.pop("metadata", {})
        self._check(one, metadata)
        if is_status:
            if one.get("status") != given["status"]:
                one["status"] = given["status"]
                self._changed("MODIFIED", ref, one)
        else:
            fields = {key: value for key, value in metadata.items() if key not in {"uid", "resourceVersion"}}
            self.update(ref, spec=given.get("spec"), **fields)
        return 200, {}, Body.of(dict(one) if ref in self.objects else {})

    @staticmethod
    def _check(one: Object, wanted: Mapping[str, Any]) -> None:
        for field in ("uid", "resourceVersion"):
            if wanted.get(field, one["metadata"][field]) != one["metadata"][field]:
                raise Refused(409, "Conflict", f"the {field} in the precondition is not that of the object")

    def _list(self, plural: str, namespace: str, query: Mapping[str, str], *, as_metadata: bool) -> Answer:
        wanted = [one.partition("=") for one in query.get("labelSelector", "").split(",") if one]
        items = []
        for ref, one in self.objects.items():
            if ref.plural != plural or (namespace and ref.namespace != namespace):
                continue
            labels = one["metadata"].get("labels") or {}
            if all(labels.get(key) == value if equal else key in labels for key, equal, value in wanted):
                items.append(_seen(one, as_metadata=as_metadata))
        return 200, {}, Body.of({"metadata": {}, "items": items})


def _seen(one: Object, *, as_metadata: bool) -> Object:
    """Return an object as it is now."""
    return {"metadata": one["metadata"]} if as_metadata else dict(one)


def stamp(time: datetime) -> str:
    """Format a time as Kubernetes does."""
    return f"{time.replace(tzinfo=None).isoformat()}Z"
