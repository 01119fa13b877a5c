"""An operator with thousands of runs: its memory, and how long a run of another tenant waits for its turn.

It imports only what the operator has had since it was laid out in rooms, so that `bench.before` can let it measure an
older tree, too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import big_cluster
from bench.child import Child
from bench.operator_scrape import _free_port, _resident
from bench.pairs import Goal, Spread
from bench.report import Row, Section

if TYPE_CHECKING:
    from aiohttp import web

    from evalrun_operator.kube.client import Client

MOST_MIB = 300.0
MOST_SECONDS = 2.0
TENANT, NEIGHBOUR = "team", "team-b"
NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


class ApiServer:
    """An API server in a process of its own, with ``runs`` runs of nine pods, and as much metadata as a real one sends.

    The runs of the first tenant work, or are suspended; the other tenant has one, which works.
    """

    def __init__(self, runs: int, suspended: bool) -> None:
        self._runs, self._suspended, self._port = runs, suspended, _free_port()
        ready = threading.Event()
        threading.Thread(target=asyncio.run, args=(self._serve(ready),), daemon=True).start()
        ready.wait()

    def port(self) -> int:
        """Return the port of the API."""
        return self._port

    async def _serve(self, ready: threading.Event) -> None:
        from aiohttp import web

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        ready.set()
        await asyncio.Event().wait()

    async def _answer(self, request: web.Request) -> web.Response:
        from aiohttp import web

        body = await request.read()
        if request.method != "GET":
            return web.Response(body=body, content_type="application/json")
        answer = self._list(request) if "limit" in request.query else self._run(request.path)
        return web.Response(text=json.dumps(answer), content_type="application/json")

    def _run(self, path: str) -> dict[str, Any]:
        """Return one EvalRun."""
        namespace, _, name = path.rsplit("/", 3)[1:]
        number = int(name.rsplit("-", 1)[1])
        metadata = big_cluster.metadata(big_cluster.KINDS[0], number) | {"namespace": namespace}
        idle = self._suspended and namespace == TENANT
        spec = {
            "model": {"uri": "s3://models/tiny/"},
            "engine": {"mock": {}},
            "benchmarks": [{"task": "gsm8k"}],
            "output": {"uri": "s3://evals/"},
            "replicas": {"count": big_cluster.RUN_PODS - 1},
            "policy": {"suspend": idle},
        }
        status = {"phase": "Suspended" if idle else "Running", "attempt": 1, "startedAt": "2026-01-01T12:00:00Z"}
        head = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun"}
        return {**head, "metadata": metadata, "spec": spec, "status": status}

    def _list(self, request: web.Request) -> dict[str, Any]:
        """Return a page of metadata of everything, or of one run's Jobs or pods."""
        kind = {one.plural: one for one in big_cluster.KINDS}[request.path.rsplit("/", 1)[1]]
        selector = request.query.get("labelSelector", "")
        if selector.startswith("evalrun.dev/run="):
            run = int(selector.partition("=")[2].partition("-")[0], 16)
            idle = self._suspended and f"/namespaces/{TENANT}/" in request.path
            numbers = range(0) if idle else big_cluster.numbers(kind, range(run, run + 1))
            return {"metadata": {}, "items": [big_cluster.whole(kind, number) for number in numbers]}
        numbers = big_cluster.numbers(kind, range(self._runs))
        first = int(request.query.get("continue") or 0)
        page = numbers[first : first + int(request.query["limit"])]
        more = {"continue": str(first + len(page))} if first + len(page) < len(numbers) else {}
        return {"metadata": more, "items": big_cluster.metadata_only(kind, page)}


class Operator:
    """The parts of an operator that hold what they read, in a process of their own."""

    def __init__(self, port: int, runs: int) -> None:
        self._port, self._runs = port, runs

    def read_all(self) -> dict[str, float]:
        """Resync, observe every run, resync again; return the process's memory in MiB and the seconds of a resync."""
        return asyncio.run(self._read_all())

    def next_look(self) -> float:
        """Reconcile the first tenant's runs, then the other's; return the seconds until that one is looked at again."""
        return asyncio.run(self._next_look())

    async def _read_all(self) -> dict[str, float]:
        from evalrun_operator.backend.jobs import JobsBackend
        from evalrun_operator.observe.observer import Key, Observer
        from evalrun_operator.settings import OperatorSettings
        from evalrun_operator.watch.deliveries import Deliveries
        from evalrun_operator.watch.resync import Resync

        before = _resident("VmRSS")
        async with self._client() as client:
            observer = Observer(client, JobsBackend(OperatorSettings()), _silent, lambda: NOW)
            deliveries = Deliveries()
            resync = Resync(client, lambda key: None, deliveries, big_cluster.KINDS, (), 60.0)
            began = time.perf_counter()
            await resync.once()
            took = time.perf_counter() - began
            for number in range(self._runs):
                await observer.observe(Key(TENANT, f"run-{number:05}"))
            for kind in big_cluster.KINDS:
                for number in big_cluster.numbers(kind, range(self._runs)):
                    one = big_cluster.metadata(kind, number)
                    deliveries.record(kind, one["uid"], one["resourceVersion"], Key(TENANT, one["name"]))
            gc.collect()
            kept = _resident("VmRSS") - before
            # Whoever keeps what it has read keeps it during the next resync, too.
            await resync.once()
            peak = _resident("VmHWM")
        return {"peak": peak / 2**20, "kept": kept / 2**20, "resync": took}

    async def _next_look(self) -> float:
        from evalrun_operator.backend.jobs import JobsBackend
        from evalrun_operator.metrics.runs import ObservedRuns
        from evalrun_operator.observe.observer import Key, Observer
        from evalrun_operator.reconcile import Reconciler
        from evalrun_operator.settings import OperatorSettings

        settings = OperatorSettings()
        backend = JobsBackend(settings)
        async with self._client() as client:
            observer = Observer(client, backend, _silent, lambda: NOW)
            reconciler = Reconciler(client, backend, observer, settings, lambda: NOW, ObservedRuns(settings.metrics))
            for number in range(self._runs):
                await reconciler.reconcile(Key(TENANT, f"run-{number:05}"))
            again = await reconciler.reconcile(Key(NEIGHBOUR, f"run-{self._runs:05}"))
        assert again is not None
        return again

    def _client(self) -> Client:
        from kubernetes.aio.client import Configuration

        from evalrun_operator.kube.client import Client

        return Client(Configuration(host=f"http://127.0.0.1:{self._port}"))


async def _silent(_: str) -> None:
    """Answer like a driver that is busy."""


def measure(scratch: Path, runs: int, rounds: int, say: Callable[[str], None]) -> Section:
    """Measure operators with ``runs`` runs, and return the section of the document."""
    numbers: list[dict[str, float]] = []
    looks: list[float] = []
    for number in range(rounds):
        with _operator(scratch, f"reading-{number}", runs, suspended=False) as operator:
            numbers.append(operator.call("read_all"))
        with _operator(scratch, f"turns-{number}", runs, suspended=True) as operator:
            looks.append(operator.call("next_look"))
        say(f"operator with {runs:,} runs: {numbers[-1]['peak']:.0f} MiB, {looks[-1]:.1f} s between two looks")
    rows = [
        Row("memory of the whole process at most", _spread(numbers, "peak"), Goal(at_most=MOST_MIB), "MiB"),
        Row("memory that the observer and the resync keep", _spread(numbers, "kept"), unit="MiB"),
        Row("a resync", _spread(numbers, "resync"), unit="s"),
        Row(
            "between two looks at a working run, beside another tenant's suspended ones",
            Spread.of(looks),
            Goal(at_most=MOST_SECONDS),
            "s",
        ),
    ]
    how = (
        f"{runs:,} unfinished runs with {big_cluster.RUN_PODS} pods each, whose objects have as many fields as a real "
        "API server sends; the server is a process of its own. One resync, then every run is observed, then everything "
        "is delivered by the watches, then another resync. For the last row all those runs are suspended, and another "
        "namespace has one that works."
    )
    return Section("An operator with thousands of runs", how, rows)


@contextmanager
def _operator(scratch: Path, name: str, runs: int, *, suspended: bool) -> Iterator[Child]:
    """Start an operator's process and its API server's; end both."""
    with (
        Child(ApiServer, runs, suspended, log=scratch / f"{name}-server.log") as server,
        Child(Operator, server.call("port"), runs, log=scratch / f"{name}.log") as operator,
    ):
        yield operator


def _spread(numbers: list[dict[str, float]], name: str) -> Spread:
    return Spread.of(one[name] for one in numbers)
