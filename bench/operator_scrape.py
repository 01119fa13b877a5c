"""Cost of scraping an operator that has seen a thousand finished runs, over HTTP, from another process."""

from __future__ import annotations

import asyncio
import gc
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.child import Child
from bench.pairs import Goal, Spread
from bench.report import Row, Section

if TYPE_CHECKING:
    from evalrun_api import EvalRun
    from evalrun_operator.metrics.exposition import Exposition

RUNS = 1000
GATES = 2
SCRAPES = 10
MOST_SECONDS, MOST_MB = 0.2, 50.0
TICK = 0.001
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class OperatorSide:
    """Metrics of an operator in a process of their own, served as the operator serves them.

    Memory is the growth of the process after everything is imported and one run was added. The runs' models are
    dropped, as after a reconcile.
    """

    def __init__(self, scores: int) -> None:
        self._page = _exposition()
        _see(self._page, range(1), scores)
        asyncio.run(self._text())
        gc.collect()
        self._before = _resident("VmRSS")
        self._seeing = _see(self._page, range(1, RUNS), scores)
        self._port, self._pause = _free_port(), 0.0
        ready = threading.Event()
        threading.Thread(target=asyncio.run, args=(self._serve(ready),), daemon=True).start()
        ready.wait()

    def port(self) -> int:
        """Return the port of /metrics."""
        return self._port

    def numbers(self) -> dict[str, float]:
        """Return the process's growth in MB, now and at its peak, and the event loop's longest pause in seconds."""
        pause = self._pause
        gc.collect()
        return {
            "kept": (_resident("VmRSS") - self._before) / 1e6,
            "peak": (_resident("VmHWM") - self._before) / 1e6,
            "pause": pause,
            "seeing": self._seeing / (RUNS - 1),
        }

    def anew(self) -> float:
        """Measure the seconds that the library alone needs to make the same text from all series."""
        from prometheus_client.parser import text_string_to_metric_families

        from evalrun_operator.metrics.text import page

        families = list(text_string_to_metric_families(asyncio.run(self._text()).decode()))
        began = time.perf_counter()
        page(families)
        return time.perf_counter() - began

    async def _text(self) -> bytes:
        return b"".join(self._page.pieces())

    async def _serve(self, ready: threading.Event) -> None:
        from evalrun_operator.metrics import scrape
        from evalrun_operator.serving import serve

        async with serve(scrape.routes(self._page), self._port):
            ready.set()
            while True:
                asked = time.perf_counter()
                await asyncio.sleep(TICK)
                self._pause = max(self._pause, time.perf_counter() - asked - TICK)


def measure(scratch: Path, launches: int, say: Callable[[str], None]) -> Section:
    """Measure operators that are started ``launches`` times, and return the section of the document."""
    rows: list[Row] = []
    beside: dict[str, str] = {}
    for scores, binding in ((10, True), (50, False)):
        seconds: list[float] = []
        numbers: list[dict[str, float]] = []
        size = anew = 0.0
        for _ in range(launches):
            with Child(OperatorSide, scores, log=scratch / f"operator-{scores}.log") as side:
                port = side.call("port")
                scrapes = list(_scrapes(port))
                seconds += [took for took, _ in scrapes]
                size = scrapes[-1][1]
                numbers.append(side.call("numbers"))
                anew = side.call("anew")
            say(f"operator, {scores} scores: {seconds[-1]:.3f} s a scrape, {numbers[-1]['peak']:.0f} MB")
        what = f"{scores} scores"
        goals = (Goal(at_most=MOST_SECONDS), Goal(at_most=MOST_MB)) if binding else (Goal(), Goal())
        rows += [
            Row(f"a scrape, {what}", Spread.of(seconds), goals[0], "s"),
            Row(f"memory at most, scrapes included, {what}", _spread(numbers, "peak"), goals[1], "MB"),
            Row(f"memory kept, {what}", _spread(numbers, "kept"), unit="MB"),
            Row(f"longest pause of the event loop, {what}", _spread(numbers, "pause"), unit="s"),
        ]
        beside[f"a page, {what}"] = f"{size / 1e6:.1f} MB"
        beside[f"the library's time for it without what is kept, {what}"] = f"{anew:.2f} s"
        beside[f"to tell of one more run, {what}"] = f"{_spread(numbers, 'seeing').median * 1e3:.2f} ms"
    how = (
        f"An operator that has seen {RUNS:,} finished runs with 10 or 50 scores and {GATES} gates each, scraped over "
        "HTTP from another process. Memory is the growth of the operator's process by all of it; a pause is how long "
        "its event loop was late while it was scraped."
    )
    return Section("Scraping the operator", how, rows, beside)


def _scrapes(port: int) -> Iterator[tuple[float, float]]:
    """Scrape repeatedly, and yield the seconds and bytes of each scrape."""
    for _ in range(SCRAPES):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        yield time.perf_counter() - began, len(text)
        connection.close()


def _spread(numbers: list[dict[str, float]], name: str) -> Spread:
    return Spread.of(one[name] for one in numbers)


def _exposition() -> Exposition:
    """Make the operator's metrics page without its watches and workers."""
    from kubernetes.aio.client import Configuration

    from evalrun_operator.kube.client import Client
    from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS
    from evalrun_operator.kube.workqueue import WorkQueue
    from evalrun_operator.metrics.calls import ApiCallMetrics
    from evalrun_operator.metrics.exposition import Exposition
    from evalrun_operator.metrics.operator import OperatorMetrics, ReconcileMetrics
    from evalrun_operator.metrics.runs import ObservedRuns
    from evalrun_operator.observe.observer import Key
    from evalrun_operator.settings import MetricsSettings
    from evalrun_operator.watch.deliveries import Deliveries
    from evalrun_operator.watch.resync import Resync

    async def make() -> Exposition:
        client = Client(Configuration(host="http://127.0.0.1:1"))
        queue: WorkQueue[Key] = WorkQueue()
        resync = Resync(client, queue.add, Deliveries(), (EVALRUNS, JOBS, PODS), (), 60.0)
        await client.__aexit__(None, None, None)
        return Exposition(
            ObservedRuns(MetricsSettings()),
            OperatorMetrics(queue, ReconcileMetrics(), ApiCallMetrics(), resync),
            lambda: NOW,
        )

    return asyncio.run(make())


def _see(page: Exposition, numbers: range, scores: int) -> float:
    """Add runs to the page, and return the seconds that it took, without the time to make the runs."""
    took = 0.0
    for number in numbers:
        run = _finished(number, scores)
        began = time.perf_counter()
        page.runs.see(run, run.status, NOW)
        took += time.perf_counter() - began
    return took


def _finished(number: int, scores: int) -> EvalRun:
    """Make a finished evaluation of a checkpoint, with names of realistic length."""
    from evalrun_api import EvalRun, EvalRunStatus, GateResult, Phase, Progress, Reason, Score, Verdict

    tasks = [f"mmlu_college_computer_science_{task}" for task in range(scores)]
    body = {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {
            "name": f"llama-3-8b-instruct-step-{number:06}",
            "namespace": "team-nlp",
            "uid": f"u-{number}",
            "creationTimestamp": NOW.isoformat(),
        },
        "spec": {
            "model": {"uri": f"s3://models/llama-3-8b-instruct/step-{number:06}/", "name": "llama-3-8b-instruct"},
            "engine": {"vllm": {}},
            "benchmarks": [{"task": tasks[0]}],
            "output": {"uri": "s3://evals/"},
        },
    }
    status = EvalRunStatus(
        phase=Phase.SUCCEEDED,
        attempt=1,
        started_at=NOW,
        finished_at=NOW - timedelta(minutes=number),
        progress=Progress(planned=1319, ok=1319),
        scores=tuple(
            Score(
                task=task, metric="exact_match", filter="strict-match", value=1 / (3 + n), stderr=1 / (77 + n), n=1319
            )
            for n, task in enumerate(tasks)
        ),
        gates=tuple(
            GateResult(
                task=task,
                metric="exact_match",
                filter="strict-match",
                min=0.25,
                verdict=Verdict.PASSED,
                reason=Reason.GATES_PASSED,
            )
            for task in tasks[:GATES]
        ),
    )
    run = EvalRun.model_validate(body, by_alias=True, by_name=False)
    return run.model_copy(update={"status": status})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _resident(what: str) -> int:
    """Return the memory of this process in bytes: VmRSS is the present value, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))
