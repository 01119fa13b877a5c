"""An API server of dictionaries behind the operator's client: for the order of writes, and for errors on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evalrun_api import EvalRun
from evalrun_operator.backend.children import parse
from evalrun_operator.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from evalrun_operator.kube.objects import JOBS, PODS, Change, Kind, Manifest
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.children import Job, Pod
from evalrun_operator.state.explanations import Waiting
from evalrun_operator.state.observed import Attempt, Missing, ObservedDriver, References

Object = dict[str, Any]


@dataclass
class FakeApi:
    """The methods of ``Client``. ``log`` has every write; ``errors`` are raised instead, by verb and kind."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    errors: dict[tuple[str, str], ApiError] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)
    some: dict[str, list[Object]] = field(default_factory=dict)
    """What ``list_some`` returns, by its selector."""

    def having(self, kind: Kind, name: str, **fields: Any) -> FakeApi:
        """Add this object; metadata other than its name goes into ``metadata``."""
        metadata = {"name": name, "uid": f"u-{name}", "resourceVersion": "1"} | fields.pop("metadata", {})
        self.objects[kind.kind, name] = {"metadata": metadata, **fields}
        return self

    def failing(self, verb: str, kind: Kind, error: ApiError) -> FakeApi:
        self.errors[verb, kind.kind] = error
        return self

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return self._get("get", kind, name)

    async def get_metadata(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return {"metadata": self._get("metadata", kind, name)["metadata"]}

    async def list_objects(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Object]:
        self._maybe_fail("list", kind)
        self.read.append(f"list {kind.kind} {namespace} {selector}")
        for one in [one for (other, _), one in self.objects.items() if other == kind.kind]:
            yield one

    async def list_some(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 100
    ) -> list[Object]:
        self._maybe_fail("list", kind)
        self.read.append(f"some {kind.api_version} {kind.kind} {namespace} {labels}{fields}")
        return self.some.get(labels or fields, [])[:limit]

    async def create(self, kind: Kind, namespace: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        self._maybe_fail("create", kind)
        name = manifest["metadata"]["name"]
        if (kind.kind, name) in self.objects:
            raise AlreadyExists(f"create {kind.kind}", "already exists", status=409)
        if dry_run:
            return dict(manifest)
        if kind.kind == "Event":
            self.events.append(dict(manifest))
            self.log.append(f"event {manifest['reason']}")
        else:
            self.log.append(f"create {kind.kind} {name}")
        self.objects[kind.kind, name] = dict(manifest)
        return dict(manifest)

    async def apply_status(self, kind: Kind, namespace: str, name: str, uid: str, body: Mapping[str, Any]) -> Object:
        self._maybe_fail("apply", kind)
        self.log.append(f"status {body['status'].get('phase')} at {body['metadata']['resourceVersion']}")
        if (kind.kind, name) in self.objects:
            self.objects[kind.kind, name]["status"] = body["status"]
        return dict(body)

    async def patch(self, kind: Kind, namespace: str, name: str, uid: str, body: Mapping[str, Any]) -> Object:
        self._maybe_fail("patch", kind)
        self.log.append(f"patch {kind.kind} {name}")
        return dict(body)

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str | None, grace_seconds: int | None = None
    ) -> None:
        self._maybe_fail("delete", kind)
        self.log.append(f"delete {kind.kind} {name} {uid} {grace_seconds}")

    def _get(self, verb: str, kind: Kind, name: str) -> Object:
        self._maybe_fail(verb, kind)
        self.read.append(f"{verb} {kind.kind} {name}")
        if (kind.kind, name) not in self.objects:
            raise NotFound(f"get {kind.kind} {name}", "not found", status=404)
        return self.objects[kind.kind, name]

    def _maybe_fail(self, verb: str, kind: Kind) -> None:
        if error := self.errors.get((verb, kind.kind)):
            raise error


@dataclass
class FakeBackend:
    """A backend with one driver for any run; the changes are given."""

    driver: ObservedDriver | None = None
    writes: tuple[Change, ...] = ()
    kinds: tuple[Kind, ...] = (JOBS, PODS)

    def parse(self, kind: Kind, manifest: Manifest) -> Job | Pod | None:
        return parse(kind, manifest)

    def companions(self, run: EvalRun, attempt: int) -> tuple[tuple[Kind, Manifest], ...]:
        return ()

    def problems(self, run: EvalRun, references: References | None = None) -> tuple[Missing, ...]:
        return ()

    def attempts(self, objects: Objects) -> Mapping[int, Attempt]:
        return {} if self.driver is None else {1: Attempt(self.driver)}

    def waiting(self, objects: Objects) -> tuple[Waiting, ...]:
        return ()

    def changes(self, *_: object) -> tuple[Change, ...]:
        return self.writes

    def repairs(self, objects: Objects, now: datetime) -> tuple[Change, ...]:
        return ()


def conflict() -> Conflict:
    return Conflict("apply", "the object has been modified", status=409)
