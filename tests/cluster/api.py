"""Small client of the Kubernetes API for tests: JSON in, JSON out, resources by the names that kubectl knows.

A request costs milliseconds; ``kubectl`` costs a tenth of a second of a core, which matters in tests that poll.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from cluster.errors import ClusterError

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class ApiError(ClusterError):
    """Refusal of the API server; ``status`` is its HTTP code and ``body`` the Status object that it sent."""

    def __init__(self, status: int, body: Object, request: str) -> None:
        super().__init__(f"{request}: {status} {body.get('reason', '')}: {body.get('message', body)}")
        self.status = status
        self.body = body


class ApiUnreachable(ClusterError):
    """Failure to get an answer from the API server."""


@dataclass(frozen=True)
class Resource:
    """Kind of resource as the API server serves it; ``prefix`` is ``/api/v1`` or ``/apis/<group>/<version>``."""

    prefix: str
    plural: str
    namespaced: bool
    kind: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of the collection, of an object or of its subresource; no namespace means all."""
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        rest = "".join(f"/{quote(part)}" for part in (name, subresource) if part)
        return f"{self.prefix}{place}/{self.plural}{rest}"


class Api:
    """API of the server at ``url`` for one user: a client certificate (file, key file) or a bearer token."""

    def __init__(
        self, url: str, authority: str, certificate: tuple[str, str] | None = None, token: str | None = None
    ) -> None:
        self.url = url
        self._host = urlsplit(url).netloc
        self._authority = authority
        self._certificate = certificate
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._resources: dict[str, Resource] = {}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """TLS settings, built at the first request: the certificates do not exist when the cluster is constructed."""
        context = ssl.create_default_context(cafile=self._authority)
        if self._certificate is not None:
            context.load_cert_chain(*self._certificate)
        return context

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        deadline_s: float = 30.0,
    ) -> Any:
        """Send one request and return the JSON of the answer, or its text if it is not JSON.

        Raises:
            ApiError: The server answered 4xx or 5xx.
            ApiUnreachable: There was no answer within ``deadline_s`` seconds.
        """
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=deadline_s)
        headers = {**self._headers, "Accept": accept, "Content-Type": content_type}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnreachable(f"{method} {self.url}{path}: {error!r}") from error
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        parsed = json.loads(text) if is_json and text else text
        if answer.status >= 400:
            raise ApiError(answer.status, parsed if isinstance(parsed, dict) else {"message": text}, f"{method} {path}")
        return parsed

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        """Return one object; ``kind`` as kubectl takes it: ``pods``, ``pod``, ``Job``, ``evr``, ``jobs.batch``."""
        return self._object("GET", self.resource(kind).path(namespace, name))

    def find(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """Return the object as `get` does, or None if it does not exist."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = "default", labels: str = "", fields: str = "") -> list[Object]:
        """Return the objects of a kind that both selectors match; in all namespaces if ``namespace`` is None."""
        query = urlencode({"labelSelector": labels, "fieldSelector": fields})
        items: list[Object] = self.request("GET", f"{self.resource(kind).path(namespace)}?{query}")["items"]
        return items

    def create(self, body: Object, namespace: str = "default") -> Object:
        """Create an object in its namespace, or in ``namespace`` if it names none."""
        resource = self.resource(_kind_of(body))
        return self._object("POST", resource.path(body["metadata"].get("namespace", namespace)), body)

    def apply(self, body: Object, namespace: str = "default", manager: str = "tests") -> Object:
        """Apply an object server-side and take over fields that others manage."""
        resource, meta = self.resource(_kind_of(body)), body["metadata"]
        path = resource.path(meta.get("namespace", namespace), meta["name"])
        return self._object("PATCH", f"{path}?fieldManager={manager}&force=true", body, APPLY)

    def patch(
        self, kind: str, name: str, body: Object, namespace: str = "default", subresource: str | None = None
    ) -> Object:
        """Patch an object, or its ``status``, by a JSON merge patch."""
        return self._object("PATCH", self.resource(kind).path(namespace, name, subresource), body, MERGE)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "default",
        grace_s: int | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """Delete an object with background propagation; ``options`` are more fields of DeleteOptions."""
        body: Object = {"propagationPolicy": "Background", **(options or {})}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        self.request("DELETE", self.resource(kind).path(namespace, name), body)

    def resource(self, kind: str) -> Resource:
        """Return the resource that the server calls ``kind``.

        Raises:
            ClusterError: The server has no such kind.
        """
        if kind.lower() not in self._resources:
            self._resources = self._discover()
        if kind.lower() not in self._resources:
            raise ClusterError(f"the API server knows no {kind!r}; is its CRD installed?")
        return self._resources[kind.lower()]

    def _object(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Object:
        answer: Object = self.request(method, path, body, content_type)
        return answer

    def _discover(self) -> dict[str, Resource]:
        """Map every name of every kind to its resource; the core group takes precedence, then the first group."""
        names: dict[str, Resource] = {}
        for root in ("/api", "/apis"):
            for group in self.request("GET", root, accept=_DISCOVERY)["items"]:
                name = group["metadata"].get("name", "")
                version = group["versions"][0]
                prefix = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
                for one in version.get("resources", []):
                    kind = one["responseKind"]["kind"]
                    resource = Resource(prefix, one["resource"], one["scope"] == "Namespaced", kind)
                    known = [one["resource"], one.get("singularResource", ""), kind, *one.get("shortNames", [])]
                    for word in filter(None, known):
                        names.setdefault(word.lower(), resource)
                        names.setdefault(f"{word}.{name}".lower(), resource)
        return names


def _kind_of(body: Object) -> str:
    group, _, _ = body["apiVersion"].rpartition("/")
    return f"{body['kind']}.{group}" if group else str(body["kind"])
