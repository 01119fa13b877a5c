"""HTTP endpoint of the driver: ``/progress``, ``/healthz``, ``/metrics``; in a cluster also ``/readyz`` and ``/head``.

Read-only: it serves the last view of the run and the head's state for the replicas' pods.
"""

from __future__ import annotations

import gzip
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client.exposition import choose_encoder, gzip_accepted

from evalrun_api import Counts, Phase, RunConfig, RunProgress, Work
from evalrun_api.addresses import join_host_port
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.accounts import answer_counts
from evalrun_runner.driver.progress import View
from evalrun_runner.errors import InputError
from evalrun_runner.serving.head import HeadStatus
from evalrun_runner.serving.metrics import RunMetrics

STALE_SECONDS = 120.0
"""Seconds without a new view after which a driver is not healthy."""
TIMEOUT_SECONDS = 10.0
"""Timeout for receiving a request, in seconds."""
LONGEST_WAIT = 60.0
"""Maximum number of seconds for which ``/head`` delays its answer."""

_TEXT, _JSON = "text/plain", "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """HTTP answer."""

    status: int
    kind: str
    body: bytes
    encoding: str | None = None

    @classmethod
    def text(cls, status: int, line: str) -> Page:
        """Make an answer of one line of text."""
        return cls(status, _TEXT, f"{line}\n".encode())


class Endpoint:
    """HTTP server of a run's progress and metrics.

    Args:
        config: The run.
        port: The port; 0 for any free one.
        host: The address to listen on; empty for all addresses, IPv4 and IPv6.
        head_status: Readiness and the state for replicas, in a cluster.
        clock: Monotonic seconds.

    Raises:
        InputError: The port is not available.
    """

    def __init__(
        self,
        config: RunConfig,
        port: int,
        host: str = "127.0.0.1",
        *,
        head_status: HeadStatus | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view: View | None = None
        self._progress: ProgressSnapshot | None = None
        self._clock = clock
        self._shown = clock()
        self._metrics = RunMetrics(config)
        self._head_status = head_status
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_SECONDS

            def do_GET(self) -> None:
                page = endpoint._answer(self.path, self.headers)
                self.send_response(page.status)
                self.send_header("Content-Type", page.kind)
                if page.encoding is not None:
                    self.send_header("Content-Encoding", page.encoding)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Do not log requests."""

        try:
            self._server = _server(host, port, Handler)
        except (OSError, OverflowError) as error:
            where = join_host_port(host, port)
            raise InputError(
                f"--port {port}: {where} cannot be served: {error}; give another port, or 0 for any that is free"
            ) from error

    def start(self) -> str:
        """Start to serve in a thread, and return the URL."""
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()
        host, port = self._server.server_address[:2]
        return f"http://{join_host_port(str(host), port)}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def update(self, view: View) -> None:
        """Replace the view with the newest one."""
        self._view, self._shown = view, self._clock()
        # A view without progress does not concern items, so the last known progress stays.
        self._progress = view.progress or self._progress
        self._metrics.update(view)

    def progress(self) -> RunProgress:
        """Return the run's progress in the form of an EvalRun's status."""
        return progress_of(self._view, self._progress)

    def _answer(self, address: str, headers: Message) -> Page:
        parts = urlsplit(address)
        match parts.path:
            case "/progress":
                return Page(200, _JSON, self.progress().to_json().encode())
            case "/healthz":
                return self._health()
            case "/metrics":
                return self._scrape(headers)
            case "/readyz" if self._head_status is not None:
                ready = self._head_status.ready
                return Page.text(200 if ready else 503, "ready" if ready else "preflight has not passed yet")
            case "/head" if self._head_status is not None:
                return _head(self._head_status, parts.query)
            case _:
                more = "" if self._head_status is None else "/readyz, /head, "
                return Page.text(404, f"there are {more}/progress, /healthz and /metrics")

    def _scrape(self, headers: Message) -> Page:
        encode, kind = choose_encoder(headers.get("Accept", ""))
        body = encode(self._metrics.registry)
        if gzip_accepted(headers.get("Accept-Encoding", "")):
            # The fastest level makes the page twenty times smaller; higher levels cost more than they save.
            return Page(200, kind, gzip.compress(body, 1), "gzip")
        return Page(200, kind, body)

    def _health(self) -> Page:
        age = self._clock() - self._shown
        # Only the dispatch loop updates the view continuously; a download or an aggregation may take long.
        healthy = age < STALE_SECONDS or self._view is None or self._view.progress is None
        return Page.text(200 if healthy else 503, "ok" if healthy else f"no progress was shown for {age:.0f} s")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Length of the accept queue: a thousand replicas ask at the same moment when a driver starts."""

    def server_bind(self) -> None:
        """Bind the address; that of all IPv6 addresses stands for all IPv4 addresses as well."""
        if self.address_family is socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected before the answer: they will ask again."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _server(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    """Listen on an address, or with an empty host on every address of the machine, whichever families it has."""
    everywhere = not host and socket.has_dualstack_ipv6()
    return (_ServerV6 if everywhere or ":" in host else _Server)((host, port), handler)


def _head(head_status: HeadStatus, query: str) -> Page:
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    try:
        wait = min(LONGEST_WAIT, float(given.get("wait", "0")))
    except ValueError:
        return Page.text(400, f"wait={given['wait']!r} is no number of seconds")
    pod = given.get("pod", "")
    head = head_status.ask(pod, given.get("known", ""), wait)
    if "leaving" in given:
        head_status.leave(pod)
    return Page(200, _JSON, head.to_json().encode())


def progress_of(view: View | None, progress: ProgressSnapshot | None) -> RunProgress:
    """Convert a view and the last known progress of items into the form of an EvalRun's status."""
    if view is None:
        return RunProgress(phase=Phase.STARTING)
    shown = RunProgress(phase=view.phase, note=view.note, replicas_ready=view.replicas_ready, degraded=view.degraded)
    if progress is None:
        return shown
    counts = progress.counts
    busy = view.progress is not None
    eta = None if progress.eta_s is None or not busy else datetime.now(UTC) + timedelta(seconds=progress.eta_s)
    return shown.model_copy(
        update={
            "counts": Counts(
                planned=progress.planned,
                ok=counts.ok,
                failed=counts.failed,
                quarantined=counts.quarantined,
                skipped=progress.skipped,
                answers=answer_counts(counts),
            ),
            "planning_done": progress.planning_done,
            "work": Work(kept=progress.kept, redone=progress.redone),
            "items_per_second": round(progress.items_per_s, 3) if busy else None,
            "output_tokens_per_second": round(progress.output_tokens_per_s, 3) if busy else None,
            "eta": eta,
        }
    )
