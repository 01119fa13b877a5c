"""The whole page: everything in the catalogue is exported, over HTTP, and again after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import pytest
from kubernetes.aio.client import Configuration
from prometheus_client.parser import text_string_to_metric_families

from evalrun_api import Counts, GateResult, Phase, Reason, RunProgress, RunResult, Score, ScoreInterval, Verdict
from evalrun_api.metrics import ALL, MetricType, Source
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import ApiError, Conflict, Unavailable
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS
from evalrun_operator.kube.workqueue import WorkQueue
from evalrun_operator.metrics import scrape
from evalrun_operator.metrics.calls import ApiCallMetrics
from evalrun_operator.metrics.exposition import Exposition
from evalrun_operator.metrics.operator import OperatorMetrics, ReconcileMetrics
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.serving import serve
from evalrun_operator.settings import MetricsSettings, OperatorSettings
from evalrun_operator.state.observed import DriverPhase, ObservedDriver
from evalrun_operator.watch.deliveries import Deliveries
from evalrun_operator.watch.events import EventHandler
from evalrun_operator.watch.health import Health
from evalrun_operator.watch.resync import Resync
from support import virtual_time
from support.evalruns import NOON, Builder, make_run
from support.expositions import Told, told
from support.fake_api import FakeApi, FakeBackend
from support.operators import free_port

KIND_OF = {"gauge": MetricType.GAUGE, "counter": MetricType.COUNTER, "histogram": MetricType.HISTOGRAM}
INTERVAL = ScoreInterval(low=0.53, high=0.89, confidence=0.95, method="wilson")
GATE = GateResult(task="gsm8k", metric="acc", min=0.5, verdict=Verdict.PASSED, reason=Reason.GATES_PASSED)
RESULT = RunResult(
    phase=Phase.SUCCEEDED,
    engine="vllm",
    counts=Counts(planned=20, ok=20),
    scores=(Score(task="gsm8k", metric="acc", value=0.75, stderr=0.1, n=20, interval=INTERVAL),),
    gates=(GATE,),
    results_uri="s3://evals/team/nightly/",
)
WORKING = ObservedDriver(DriverPhase.READY, address="10.0.0.5")
DONE = ObservedDriver(DriverPhase.SUCCEEDED, result=RESULT, exit_code=0)


@dataclass
class Life:
    """An operator on an API server of dictionaries, from its start on; create it in a running event loop."""

    api: FakeApi = field(default_factory=FakeApi)
    backend: FakeBackend = field(default_factory=FakeBackend)
    settings: OperatorSettings = field(default_factory=OperatorSettings)

    def __post_init__(self) -> None:
        async def ask(_: str) -> RunProgress | None:
            return None

        def changed(key: Key) -> None:
            observer.forget(key)
            self.queue.add(key)

        self.reconciles, runs, deliveries = ReconcileMetrics(), ObservedRuns(self.settings.metrics), Deliveries()
        self.queue: WorkQueue[Key] = WorkQueue(waited=self.reconciles.waits.observe)
        self.calls = ApiCallMetrics()
        self.client = Client(Configuration(host="http://127.0.0.1:1"), self.calls.add)
        observer = Observer(self.api, self.backend, ask, lambda: NOON)  # type: ignore[arg-type]
        self.resync = Resync(self.api, changed, deliveries, (EVALRUNS, JOBS, PODS), (), 60.0)  # type: ignore[arg-type]
        reconciler = Reconciler(self.api, self.backend, observer, self.settings, lambda: NOON, runs)  # type: ignore[arg-type]
        self.look = self.reconciles.timed(reconciler.reconcile)
        self.handler = EventHandler(changed, deliveries)
        self.health = Health(self.queue, self.resync)
        self.page = Exposition(
            runs, OperatorMetrics(self.queue, self.reconciles, self.calls, self.resync), lambda: NOON
        )

    def has(self, *runs: Builder) -> None:
        """Apply runs."""
        for run in runs:
            manifest = run.manifest()
            manifest["metadata"]["resourceVersion"] = "1"
            self.api.objects["EvalRun", run.name] = manifest

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run two workers, with everything delivered that exists, like the watches at their start."""
        workers = [asyncio.create_task(self.queue.run(self.look)) for _ in range(2)]
        for (kind, _), body in self.api.objects.items():
            if kind == "EvalRun":
                self.handler.handle(EVALRUNS, {"type": None, "object": body})
        yield
        self.queue.close()
        await asyncio.gather(*workers)

    def says(self) -> Told:
        return told(self.page.pieces())


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    virtual_time.run(run())


async def busy() -> Life:
    """Create a life in which something happened for everything that has a metric."""
    life = Life(settings=OperatorSettings(metrics=MetricsSettings(finished_runs=1)))
    life.has(make_run("done"), make_run("done-before"), make_run("going").with_replicas(2))
    for driver, names in ((WORKING, ("going",)), (DONE, ("done-before", "done", "nobody"))):
        life.backend.driver = driver
        for name in names:
            await life.look(Key("team", name))
    life.api.failing("get", EVALRUNS, Unavailable("get", "no answer"))
    with pytest.raises(Unavailable):
        await life.look(Key("team", "going"))
    async with life.client:
        with pytest.raises(ApiError):
            await life.client.get(PODS, "team", "x")
    return life


@pytest.fixture(scope="module")
def page() -> str:
    async def scene() -> str:
        life = await busy()
        async with (
            serve(scrape.routes(life.page), free_port()) as port,
            serve(life.health.routes(), free_port()) as health,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                text = await answer.text()
            async with session.get(f"http://127.0.0.1:{health}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{health}/metrics") as answer:
                assert answer.status == 404, "whoever reaches the health port learns nothing of runs"
        return text

    return asyncio.run(scene())


def test_exported_metrics_equal_the_catalogue(page: str) -> None:
    promised = {metric.name.removesuffix("_total"): metric for metric in ALL if metric.source is not Source.DRIVER}
    families = {family.name: family for family in text_string_to_metric_families(page)}
    ours = {name for name in families if not name.startswith("process_")}
    assert ours == promised.keys()
    for name, metric in promised.items():
        family = families[name]
        assert (KIND_OF[family.type], family.documentation) == (metric.kind, metric.help)
        assert {sample.name for sample in family.samples} == set(metric.series), f"{name} has no series"
        for sample in family.samples:
            bucket = {"le"} if sample.name.endswith("_bucket") else set()
            assert set(sample.labels) == {*metric.labels, *bucket}, sample
    assert "process_resident_memory_bytes" in families


def test_scores_of_the_operator_are_final(page: str) -> None:
    for name in (
        "evalrun_score",
        "evalrun_score_stderr",
        "evalrun_score_low",
        "evalrun_score_high",
        "evalrun_score_items",
    ):
        assert {labels[2] for labels in told(page.encode())[name]} == {"true"}


def test_reconciles_are_timed_by_outcome_and_errors_counted_by_kind(page: str) -> None:
    says = told(page.encode())
    assert says["evalrun_operator_reconcile_seconds_count"] == {("ok",): 3, ("gone",): 1, ("failed",): 1}
    assert says["evalrun_operator_reconcile_errors_total"] == {("Unavailable",): 1}
    assert says["evalrun_operator_api_requests_total"] == {("Pod", "none", "get"): 1}


def test_scores_of_finished_runs_return_after_a_restart() -> None:
    async def scene() -> None:
        first = Life(backend=FakeBackend(DONE))
        first.has(make_run("nightly"))
        async with first.working():
            await asyncio.sleep(1)
        before = first.says()
        assert list(before["evalrun_score"].values()) == [0.75] and list(before["evalrun_gate"].values()) == [1]

        second = Life(first.api)
        assert "evalrun_score" not in second.says()
        async with second.working():
            await asyncio.sleep(1)
        after = second.says()
        runs = {name for name in before if name.startswith(("evalrun_run", "evalrun_score", "evalrun_gate"))}
        assert {name: after.get(name) for name in runs} == {name: before[name] for name in runs}

    play(scene)


def test_deleted_run_disappears_from_the_page() -> None:
    async def scene() -> None:
        life = Life(backend=FakeBackend(DONE))
        life.has(make_run("nightly"))
        async with life.working():
            await asyncio.sleep(1)
            body = life.api.objects.pop(("EvalRun", "nightly"))
            life.handler.handle(EVALRUNS, {"type": "DELETED", "object": body})
            await asyncio.sleep(1)
        assert not {"evalrun_runs", "evalrun_score", "evalrun_run_info"} & life.says().keys()

    play(scene)


def test_unwritten_status_is_not_exported() -> None:
    async def scene() -> None:
        life = Life(backend=FakeBackend(DONE))
        life.has(make_run("nightly"))
        life.api.failing("apply", EVALRUNS, Conflict("apply", "changed", status=409))
        with pytest.raises(Conflict):
            await life.look(Key("team", "nightly"))
        says = life.says()
        assert says["evalrun_run_phase"] == {("Pending", "nightly", "team"): 1}
        assert not {"evalrun_score", "evalrun_condition_transitions_total"} & says.keys()

    play(scene)


def test_queue_exports_depth_waits_and_stall() -> None:
    async def scene() -> None:
        life = Life()
        life.queue.add(Key("team", "x"))
        await asyncio.sleep(7)
        says = life.says()
        assert says["evalrun_operator_queue_depth"] == {(): 1}
        assert says["evalrun_operator_queue_stalled_seconds"] == {(): 7}
        assert says["evalrun_operator_queue_wait_seconds_count"] == {(): 0}
        async with life.working():
            await asyncio.sleep(1)
        says = life.says()
        assert says["evalrun_operator_queue_depth"] == {(): 0}
        assert says["evalrun_operator_queue_wait_seconds_sum"] == {(): 7}
        assert says["evalrun_operator_queue_wait_seconds_bucket"]["5.0",] == 0
        assert says["evalrun_operator_queue_wait_seconds_bucket"]["15.0",] == 1

    play(scene)


def test_page_is_consistent_however_slowly_it_is_read() -> None:
    async def scene() -> None:
        life = Life(backend=FakeBackend(DONE))
        life.has(make_run("a"), make_run("b"))
        for name in "ab":
            await life.look(Key("team", name))
        pieces = life.page.pieces()
        read = next(pieces)
        del life.api.objects["EvalRun", "a"]
        await life.look(Key("team", "a"))
        says = told([read, *pieces])
        assert len(says["evalrun_score"]) == len(says["evalrun_run_info"]) == says["evalrun_runs"]["Succeeded", "team"]

    play(scene)


def test_aborted_scrape_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        ended = asyncio.Event()

        class Endless:
            def pieces(self) -> Iterator[bytes]:
                try:
                    while True:
                        yield b"x" * 2**16
                finally:
                    ended.set()

        async with serve(scrape.routes(Endless()), free_port()) as port:  # type: ignore[arg-type]
            reader, writer = await asyncio.open_connection("localhost", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n")
            assert await reader.read(1000)
            writer.transport.abort()
            await asyncio.wait_for(ended.wait(), 10)

    asyncio.run(scene())
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_ages_use_the_clock_of_the_page() -> None:
    """A run that is older than it may be loses its series by the time of the scrape, not of its last look."""

    async def scene() -> None:
        life = Life(backend=FakeBackend(DONE), settings=OperatorSettings(metrics=MetricsSettings(finished_days=1)))
        life.has(make_run("nightly"))
        await life.look(Key("team", "nightly"))
        later = Exposition(life.page.runs, life.page.operator, lambda: NOON + timedelta(days=2))
        assert "evalrun_score" in life.says() and "evalrun_score" not in told(later.pieces())

    play(scene)
