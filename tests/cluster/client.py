"""Client of a cluster for tests: API requests, kubectl and helm, waiting with diagnostics."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

from cluster.api import Api, ApiUnreachable, Object
from cluster.binaries import HELM, KUBE, binary
from cluster.errors import ClusterError
from cluster.pki import kubeconfig

T = TypeVar("T")
_POLL_S = 0.1
_EVENTS_SHOWN = 40
_LOG_LINES = 25


class Client:
    """One user of one cluster. ``kubeconfig`` is a file that other programs can use as well."""

    def __init__(self, kubeconfig: Path, api: Api) -> None:
        self.kubeconfig = kubeconfig
        self.api = api

    @classmethod
    def of(cls, path: Path) -> Client:
        """Build a client from a kubeconfig that refers to files, as this library writes them."""
        config = json.loads(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        pair = (user["client-certificate"], user["client-key"]) if "client-key" in user else None
        return cls(path, Api(cluster["server"], cluster["certificate-authority"], pair, user.get("token")))

    def environment(self) -> dict[str, str]:
        """Environment of this process, with KUBECONFIG and the right kubectl first on the PATH."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{binary(KUBE).parent}:{os.environ.get('PATH', '')}",
        }

    def kubectl(self, *words: str, stdin: str | None = None, deadline_s: float = 120.0) -> str:
        """Run kubectl as a user would, and return its standard output.

        Raises:
            ClusterError: It failed; the message includes its output.
        """
        return self._run([str(binary(KUBE).parent / "kubectl"), *words], stdin, deadline_s)

    def helm(self, *words: str, stdin: str | None = None, deadline_s: float = 180.0) -> str:
        """Run Helm 4, and return its standard output."""
        return self._run([str(binary(HELM)), *words], stdin, deadline_s)

    def apply(self, text: str, namespace: str = "default") -> None:
        """Apply YAML text of one or several documents with ``kubectl apply``."""
        self.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Create a namespace and wait for its default service account, so that pods can be created at once."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
        self.wait_for(lambda: self.api.find("serviceaccounts", "default", name), 30, f"service account in {name}", name)

    def as_service_account(self, namespace: str, name: str, folder: Path | None = None) -> Client:
        """Return a client with the rights of a service account, by a token that is valid for one hour.

        Its kubeconfig is written to ``folder``, by default beside the administrator's.
        """
        path = self.api.resource("serviceaccounts").path(namespace, name, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.api.request("POST", path, body)["status"]["token"]
        admin = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]
        file = (folder or self.kubeconfig.parent) / f"{namespace}.{name}.kubeconfig"
        authority = Path(admin["certificate-authority"])
        file.write_text(json.dumps(kubeconfig(admin["server"], authority, {"token": token}, namespace)))
        return Client.of(file)

    def evict(self, pod: Object) -> None:
        """Evict a pod, as a drain or node pressure does: it is marked as disrupted and gets its grace period."""
        meta = pod["metadata"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
        }
        self.api.request("POST", self.api.resource("pods").path(meta["namespace"], meta["name"], "eviction"), body)

    def wait_for(
        self, condition: Callable[[], T | None], deadline_s: float, what: str, namespace: str | None = None
    ) -> T:
        """Poll until the answer is true, and return it.

        An API server that does not answer counts as "not yet". ``namespace`` is described if the time runs out.

        Raises:
            ClusterError: The time ran out; the message shows the events, pods and logs of ``namespace``.
        """
        end = time.monotonic() + deadline_s
        unreachable: ApiUnreachable | None = None
        while time.monotonic() < end:
            try:
                if answer := condition():
                    return answer
                unreachable = None
            except ApiUnreachable as error:
                unreachable = error
            time.sleep(_POLL_S)
        why = f"\n(the API server does not answer: {unreachable})" if unreachable else ""
        raise ClusterError(f"waited {deadline_s:g} s in vain for: {what}{why}\n{self.describe(namespace)}")

    def wait_gone(self, kind: str, name: str, deadline_s: float, namespace: str = "default") -> None:
        """Wait until the object does not exist."""
        gone = f"{kind} {namespace}/{name} to be gone"
        self.wait_for(lambda: self.api.find(kind, name, namespace) is None, deadline_s, gone, namespace)

    def wait_pod(self, name: str, deadline_s: float = 60, phase: str = "Ready", namespace: str = "default") -> Object:
        """Wait until a pod is ``Ready`` or in a phase (``Running``, ``Succeeded``, ``Failed``), and return it."""

        def reached() -> Object | None:
            pod = self.api.find("pods", name, namespace)
            if pod is None:
                return None
            return pod if phase in (pod["status"]["phase"], "Ready" if is_ready(pod) else None) else None

        return self.wait_for(reached, deadline_s, f"pod {namespace}/{name} to be {phase}", namespace)

    def describe(self, namespace: str | None = None) -> str:
        """Describe events, pods and the ends of their logs for a message; never raise if the cluster is down."""
        scope = ("--namespace", namespace) if namespace else ("--all-namespaces",)
        parts = []
        try:
            parts.append(self.kubectl("get", "jobs,pods", "-o", "wide", *scope, deadline_s=20))
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", *scope, deadline_s=20).splitlines()
            parts.append("\n".join(events[:1] + events[1:][-_EVENTS_SHOWN:]))
            parts += [self._pod_log(pod) for pod in self.api.list("pods", namespace)]
        except ClusterError as error:
            parts.append(f"(no more to say about the cluster: {error})")
        return "\n".join(parts)

    def _pod_log(self, pod: Object) -> str:
        meta = pod["metadata"]
        words = ("logs", meta["name"], "--namespace", meta["namespace"], "--all-containers", f"--tail={_LOG_LINES}")
        try:
            text = self.kubectl(*words, deadline_s=10)
        except ClusterError as error:
            text = str(error)
        return f"--- log of {meta['namespace']}/{meta['name']}\n{text}"

    def _run(self, words: list[str], stdin: str | None, deadline_s: float) -> str:
        try:
            done = subprocess.run(
                words,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=deadline_s,
                env=self.environment(),
            )
        except subprocess.TimeoutExpired as late:
            said = f"{late.stdout!r} {late.stderr!r}"
            raise ClusterError(f"{' '.join(words)} did not end within {deadline_s:g} s; it said {said}") from None
        if done.returncode:
            raise ClusterError(f"{' '.join(words)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def is_ready(node_or_pod: Object) -> bool:
    """Return whether the object's condition Ready is True."""
    return condition(node_or_pod, "Ready") == "True"


def condition(body: Object, kind: str) -> str | None:
    """Return the status of a condition: ``True``, ``False``, ``Unknown``; None if the object has no such condition."""
    conditions = body.get("status", {}).get("conditions") or []
    return next((str(one["status"]) for one in conditions if one["type"] == kind), None)


def documents(text: str) -> list[Object]:
    """Parse YAML text into objects."""
    return [body for body in yaml.safe_load_all(text) if body]
