"""Client of the API server: a few verbs on plain JSON, with timeouts and the operator's own errors."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from evalrun_operator.kube import errors
from evalrun_operator.kube.objects import Kind, Manifest
from evalrun_operator.names import FIELD_MANAGER

REQUEST_SECONDS = 30.0
"""Timeout of one call, including its answer."""
CONNECT_SECONDS = 5.0
PAGE = 100
"""Objects per page of a list: a pod has 12 KB, and five times that as JSON values."""
SOME = 100
"""Objects of a list that is not read to its end."""
METADATA_PAGE = 500
"""Objects per page of a list of metadata."""
LONGEST_RETRY_AFTER = 60.0
"""Seconds that a server may ask to wait, at most: whatever answers in the API server's place (a proxy with a page about
its maintenance) must not take a run out of work for a day.
"""

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"

Body = dict[str, Any]
OnCall = Callable[[str, str, int | None, float], None]


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    kind: Kind
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Manifest | None = None
    accept: str = _JSON
    content: str = _JSON


class Client:
    """Calls to the API server. Every method raises ``ApiError``.

    ``on_call`` receives each call that ended: verb, kind, HTTP status (None without an answer), seconds.
    ``request_seconds`` is the timeout of one call, including its answer. ``may_write`` returns the seconds that a write
    which begins now may take; 0 if none may begin.
    """

    def __init__(
        self,
        configuration: Configuration,
        on_call: OnCall = lambda *_: None,
        *,
        request_seconds: float = REQUEST_SECONDS,
        may_write: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._on_call = on_call
        self._request_seconds = request_seconds
        self._may_write = may_write
        self._api = ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Body:
        """Read one object."""
        return await self._call(_Request("get", kind, path_of(kind, namespace, name)))

    async def get_metadata(self, kind: Kind, namespace: str | None, name: str) -> Body:
        """Read only the metadata of one object: the data of a Secret never reaches the operator."""
        return await self._call(_Request("get", kind, path_of(kind, namespace, name), accept=_METADATA))

    def list_objects(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Body]:
        """Read all objects of a kind with these labels, as fresh as the store, page by page.

        Args:
            kind: The kind to list.
            namespace: The namespace to list, None for all of them.
            selector: A label selector; '' selects every object.
        """
        return self._list(kind, namespace, selector, _JSON, PAGE)

    def list_metadata(self, kind: Kind, namespace: str | None, selector: str = "") -> AsyncIterator[Body]:
        """Read the metadata of all objects of a kind, as fresh as the store, page by page."""
        return self._list(kind, namespace, selector, _METADATA_LIST, METADATA_PAGE)

    async def list_some(
        self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = SOME
    ) -> list[Body]:
        """Read at most ``limit`` of the objects that the selectors of labels and fields choose, in one call."""
        query = [("limit", str(limit)), ("labelSelector", labels), ("fieldSelector", fields)]
        chosen = [(name, value) for name, value in query if value]
        answer = await self._call(_Request("list", kind, path_of(kind, namespace), query=chosen))
        return list(answer.get("items") or [])

    async def create(self, kind: Kind, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Body:
        """Create an object, or with ``dry_run`` only ask whether it could be created.

        Raises:
            AlreadyExists: The name is taken.
        """
        query = [("fieldManager", FIELD_MANAGER), *([("dryRun", "All")] if dry_run else [])]
        return await self._call(_Request("create", kind, path_of(kind, namespace), query=query, body=manifest))

    async def apply_status(self, kind: Kind, namespace: str, name: str, uid: str, body: Manifest) -> Body:
        """Set exactly these fields of the status of an object.

        Args:
            kind: The kind of the object.
            namespace: Its namespace.
            name: Its name.
            uid: Its uid, as a precondition.
            body: The status, and optionally ``metadata.resourceVersion`` as another precondition.

        Raises:
            Conflict: Another object has this name, or the object has another version.
        """
        metadata = {**body.get("metadata", {}), "name": name, "namespace": namespace, "uid": uid}
        whole = {"apiVersion": kind.api_version, "kind": kind.kind, **body, "metadata": metadata}
        path = f"{path_of(kind, namespace, name)}/status"
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._call(_Request("apply", kind, path, query=query, body=whole, content=_APPLY_PATCH))

    async def patch(self, kind: Kind, namespace: str, name: str, uid: str, body: Manifest) -> Body:
        """Merge a patch into exactly this object. Raises ``Conflict`` if another object has its name."""
        whole = {**body, "metadata": {**body.get("metadata", {}), "uid": uid}}
        query = [("fieldManager", FIELD_MANAGER)]
        path = path_of(kind, namespace, name)
        return await self._call(_Request("patch", kind, path, query=query, body=whole, content=_MERGE_PATCH))

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str | None, grace_seconds: int | None = None
    ) -> None:
        """Delete exactly this object. Raises ``Conflict`` if another object has its name; without a uid none is."""
        options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._call(_Request("delete", kind, path_of(kind, namespace, name), body=options))

    async def _list(
        self, kind: Kind, namespace: str | None, selector: str, accept: str, size: int
    ) -> AsyncIterator[Body]:
        query = [("limit", str(size))] + ([("labelSelector", selector)] if selector else [])
        more = ""
        while True:
            page_of = [*query, ("continue", more)] if more else query
            page = await self._call(_Request("list", kind, path_of(kind, namespace), query=page_of, accept=accept))
            items = page.get("items") or []
            more = page.get("metadata", {}).get("continue") or ""
            del page
            # Nothing is kept of what the caller has seen: it decides what is worth keeping.
            items.reverse()
            while items:
                yield items.pop()
            if not more:
                return

    async def _call(self, request: _Request) -> Body:
        what = f"{request.verb} {request.path}"
        seconds = self._seconds_for(request)
        if seconds <= 0:
            raise errors.NotLeading(what, "this operator does not lead; nothing was sent")
        try:
            status, headers, data = await self._timed(request, seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or f"no answer in {seconds:g} s"
            raise errors.Unavailable(what, f"{type(error).__name__}: {why}") from error
        if status >= 300:
            raise _error(what, status, headers, data)
        try:
            answer = self._parse(data)
        except ValueError as error:
            raise errors.Unavailable(what, "the answer is not JSON", status=status) from error
        if not isinstance(answer, dict):
            raise errors.Unavailable(what, "the answer is not an object", status=status)
        return answer

    async def _timed(self, request: _Request, seconds: float) -> tuple[int, Mapping[str, str], bytes]:
        """Call ``_send`` and report the call, however it ends."""
        began, status = time.monotonic(), None
        try:
            status, headers, data = await self._send(request, seconds)
        finally:
            self._on_call(request.verb, request.kind.kind, status, time.monotonic() - began)
        return status, headers, data

    async def _send(self, request: _Request, seconds: float) -> tuple[int, Mapping[str, str], bytes]:
        """Make one HTTP exchange within ``seconds``; the configuration provides and refreshes the credentials."""
        prepared = await self._api.param_serialize(
            _METHODS[request.verb],
            request.path,
            query_params=list(request.query),
            header_params={"Accept": request.accept, "Content-Type": request.content},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        response = await self._api.call_api(*prepared, _request_timeout=timeout)
        data: bytes = await response.read()
        return response.status, response.headers, data

    def _parse(self, data: bytes) -> Any:
        """Parse the JSON of an answer. Raises ``ValueError``."""
        return json.loads(data)

    def _seconds_for(self, request: _Request) -> float:
        """Return the timeout of a call; 0 for a write that may not begin."""
        return min(self._request_seconds, math.inf if request.verb in _READS else self._may_write())


_READS = {"get", "list"}
_METHODS = {"get": "GET", "list": "GET", "create": "POST", "apply": "PATCH", "patch": "PATCH", "delete": "DELETE"}


def path_of(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    """Build the path of an object or, without ``name``, of all objects of its kind.

    Every path segment that comes from outside is quoted here and nowhere else.

    Raises:
        Invalid: A segment is one that a server would resolve to another folder.
    """
    prefix = "/apis" if "/" in kind.api_version else "/api"
    within = f"/namespaces/{_segment(namespace)}" if namespace else ""
    return f"{prefix}/{kind.api_version}{within}/{kind.plural}" + (f"/{_segment(name)}" if name else "")


@lru_cache(maxsize=10_000)
def _segment(text: str) -> str:
    if text in (".", ".."):
        raise errors.Invalid("path", f"{text!r} is not the name of a Kubernetes object")
    return quote(text, safe="")


_BY_STATUS: Mapping[int, type[errors.ApiError]] = {
    400: errors.Invalid,
    401: errors.Unavailable,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.Invalid,
    429: errors.TooManyRequests,
}


def _error(what: str, status: int, headers: Mapping[str, str], data: bytes) -> errors.ApiError:
    """Make the error of an answer."""
    answer, message = errors.explained(data)
    kind = _BY_STATUS.get(status, errors.Unavailable if status >= 500 else errors.ApiError)
    if status == 409 and answer.get("reason") == "AlreadyExists":
        kind = errors.AlreadyExists
    return kind(what, message, status=status, retry_after=_retry_after(headers, answer))


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    """Read the seconds to wait: the API server sends whole ones in the header and in the Status.

    Returns:
        At most LONGEST_RETRY_AFTER; None if nothing readable was said, such as a date.
    """
    details = answer.get("details")
    given = headers.get("Retry-After") or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        seconds = float(given) if given is not None else math.nan
    except (TypeError, ValueError):
        return None
    return None if math.isnan(seconds) else min(LONGEST_RETRY_AFTER, max(0.0, seconds))
