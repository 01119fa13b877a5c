"""The driver over HTTP: ``/progress`` (JSON), ``/healthz``, ``/metrics``. Read-only; knows only the last view."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from evalrun_api import Phase, RunConfig
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.watching import View
from evalrun_runner.errors import InputError

STALE_SECONDS = 120.0
"""A driver that has shown nothing for this long is not healthy."""
TIMEOUT_SECONDS = 10.0


class Endpoint:
    """Serves a run's progress on 127.0.0.1, or on ``host``. ``port`` 0 takes any free one.

    Raises ``InputError`` if the port cannot be had.
    """

    def __init__(self, config: RunConfig, port: int, host: str = "127.0.0.1") -> None:
        self._view: View | None = None
        self._shown = time.monotonic()
        self._metrics = _Metrics(config)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_SECONDS

            def do_GET(self) -> None:
                status, kind, body = endpoint._answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"--port {port}: {host}:{port} cannot be served: {error}; give another port, or 0 for any that is free"
            ) from error
        self._server.daemon_threads = True

    def start(self) -> str:
        """Serve in a thread; returns the URL."""
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def update(self, view: View) -> None:
        """Take the newest view."""
        self._view, self._shown = view, time.monotonic()
        self._metrics.update(view)

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path:
            case "/progress":
                return 200, "application/json", json.dumps(progress_json(self._view)).encode()
            case "/healthz":
                age = time.monotonic() - self._shown
                # Only the dispatch loop shows itself all the time; a download or an aggregation may take long.
                healthy = age < STALE_SECONDS or self._view is None or self._view.phase is not Phase.RUNNING
                text = "ok\n" if healthy else f"no progress was shown for {age:.0f} s\n"
                return 200 if healthy else 503, "text/plain", text.encode()
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry)
            case _:
                return 404, "text/plain", b"there are /progress, /healthz and /metrics\n"


def progress_json(view: View | None) -> dict[str, Any]:
    """A view in the words of the status of an EvalRun."""
    if view is None:
        return {"phase": "Starting"}
    shown: dict[str, Any] = {
        "phase": view.phase.value,
        "note": view.note,
        "replicas": {"desired": view.replicas_wanted, "ready": view.replicas_ready},
        "storageDegraded": view.degraded,
    }
    if (progress := view.progress) is not None:
        counts = progress.counts
        shown["progress"] = {
            "planned": progress.planned,
            "planningDone": progress.planning_done,
            "ok": counts.ok,
            "failed": counts.failed,
            "quarantined": counts.quarantined,
            "percent": round(100 * counts.total / progress.planned, 1) if progress.planned else 0.0,
            "itemsPerSecond": round(progress.items_per_s, 3),
            "tokensPerSecond": round(progress.tokens_per_s, 3),
            "etaSeconds": progress.eta_s,
        }
        shown["work"] = {"kept": progress.kept, "redone": progress.redone}
        shown["leases"] = {"chunks": progress.leased_chunks, "items": progress.in_flight}
    return shown


class _Metrics:
    """Prometheus metrics of one run; counters follow the dispatcher's own totals."""

    def __init__(self, config: RunConfig) -> None:
        self.registry = CollectorRegistry()
        labels = {"run_namespace": config.namespace, "run": config.name, "model": config.model.name}
        names = list(labels)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, names, registry=self.registry).labels(**labels)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, names, registry=self.registry).labels(**labels)

        items = Gauge("evalrun_items", "Items by how they ended.", [*names, "status"], registry=self.registry)
        self._items = {status: items.labels(**labels, status=status) for status in ("ok", "failed", "quarantined")}
        self._planned = gauge("evalrun_items_planned", "Items planned so far.")
        self._in_flight = gauge("evalrun_leased_chunks", "Chunks leased to replicas.")
        self._ready = gauge("evalrun_replicas_ready", "Replicas that have loaded their engine.")
        self._redone = gauge("evalrun_items_redone", "Items answered again because their first answers were lost.")
        self._prompt = counter("evalrun_prompt_tokens", "Prompt tokens of committed items.")
        self._output = counter("evalrun_output_tokens", "Generated tokens of committed items.")
        self._commit = Histogram(
            "evalrun_commit_seconds",
            "Seconds from the end of a chunk's last item to its part in the store.",
            names,
            registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
        ).labels(**labels)
        self._seen_prompt = self._seen_output = 0

    def update(self, view: View) -> None:
        """Take the newest view."""
        self._ready.set(view.replicas_ready)
        for seconds in view.commit_seconds:
            self._commit.observe(seconds)
        if view.progress is not None:
            self._update_progress(view.progress)

    def _update_progress(self, progress: ProgressSnapshot) -> None:
        for status, gauge in self._items.items():
            gauge.set(getattr(progress.counts, status))
        self._planned.set(progress.planned)
        self._in_flight.set(progress.leased_chunks)
        self._redone.set(progress.redone)
        self._prompt.inc(progress.prompt_tokens - self._seen_prompt)
        self._output.inc(progress.output_tokens - self._seen_output)
        self._seen_prompt, self._seen_output = progress.prompt_tokens, progress.output_tokens
