"""A scripted kubelet: reports states of pods like a kubelet, on an API server without nodes.

The Job controller is real and believes it, so Jobs start, fail and complete as usual.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cluster.client import Client
from evalrun_api import RunProgress, RunResult
from evalrun_api.wire.pods import HTTP_PORT, LABEL_ATTEMPT, LABEL_COMPONENT, Component

Object = dict[str, Any]
WAIT_S = 60.0


@dataclass(frozen=True)
class PlayingKubelet:
    """A kubelet for all nodes of one namespace."""

    cluster: Client
    namespace: str

    def pods(self, component: Component, attempt: int = 1) -> list[Object]:
        """Return the pods of an attempt that have not ended."""
        labels = f"{LABEL_COMPONENT}={component.value},{LABEL_ATTEMPT}={attempt}"
        pods = self.cluster.api.list("pods", self.namespace, labels)
        return [pod for pod in pods if pod["status"].get("phase") not in {"Succeeded", "Failed"}]

    def wait_pods(self, component: Component, count: int = 1, attempt: int = 1) -> list[Object]:
        """Wait until there are this many pods."""

        def enough() -> list[Object] | None:
            pods = self.pods(component, attempt)
            return pods if len(pods) == count else None

        what = f"{count} pods of the {component.value} of attempt {attempt}"
        return self.cluster.wait_for(enough, WAIT_S, what, self.namespace)

    def wait_gone(self, component: Component, attempt: int = 1) -> None:
        """Wait until there are none."""
        what = f"no pods of the {component.value} of attempt {attempt}"
        self.cluster.wait_for(lambda: not self.pods(component, attempt), WAIT_S, what, self.namespace)

    def runs(self, pod: Object, *, ready: bool, address: str = "127.0.0.1") -> None:
        """Report that its container runs."""
        state = {"running": {"startedAt": _now()}}
        conditions = [_condition("Ready", ready), _condition("ContainersReady", ready)]
        self._say(pod, "Running", state, conditions=conditions, podIP=address, podIPs=[{"ip": address}])

    def ends(self, pod: Object, code: int, message: str = "") -> None:
        """Report that its container ended with this exit code and message."""
        state = {
            "terminated": {
                "exitCode": code,
                "reason": "Error" if code else "Completed",
                "message": message,
                "startedAt": _now(),
                "finishedAt": _now(),
            }
        }
        conditions = [_condition("Ready", False), _condition("ContainersReady", False)]
        self._say(pod, "Failed" if code else "Succeeded", state, conditions=conditions)

    def driver_ends(self, result: RunResult, code: int = 0, attempt: int = 1) -> None:
        """Report that the driver of an attempt ended with a result."""
        (pod,) = self.wait_pods(Component.DRIVER, attempt=attempt)
        self.ends(pod, code, result.fit().decode())

    def _say(self, pod: Object, phase: str, state: Object, **more: Any) -> None:
        name = pod["spec"]["containers"][0]["name"]
        container = {"name": name, "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
        status = {"phase": phase, "containerStatuses": [container], **more}
        self.cluster.api.patch("pods", pod["metadata"]["name"], {"status": status}, self.namespace, "status")


def _condition(kind: str, holds: bool) -> Object:
    return {"type": kind, "status": str(holds), "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class PlayingDriver:
    """A driver's /progress on its own loopback address; ``progress`` is the answer."""

    address: str
    progress: RunProgress
    asked: int = 0
    on_ask: Callable[[], RunProgress] | None = None
    """A function that gives the answer instead, each time."""
    _server: ThreadingHTTPServer | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        driver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                driver.asked += 1
                progress = driver.on_ask() if driver.on_ask else driver.progress
                body = progress.to_json().encode() if self.path == "/progress" else b"{}"
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the test tells."""

        self._server = ThreadingHTTPServer((self.address, HTTP_PORT), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def last_words(result: RunResult) -> Object:
    """Build the result that a status is compared with."""
    words: Object = json.loads(result.to_json())
    return words
