"""What it costs a runner that Prometheus scrapes it.

*Scraped against not*: one process holds a whole run except Ray: the driver with its endpoint, and a replica whose mock
engine answers as fast as Python can, so that every scrape slows the run. On a cluster the engine runs elsewhere and
loses nothing. Another process scrapes it every second, fifteen times as often as usual, or does not scrape it, in
alternating windows within one run. The measured values are the tokens that the engine answered, per second of wall time
and per CPU second of the run's process, and, because these two vary with the load of the machine, the CPU time of the
threads that answer the scrapes.

*One scrape*: the CPU time and the size of a page, for a run with 300 scores, the maximum; and the CPU time that the
driver's loop spends on it every quarter of a second, scraped or not. With a thousand replicas the page has eight
thousand lines; the driver then has a core of its own, and the goal is a hundredth of it.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import Message
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.exposition import choose_encoder

from bench.child import Child
from bench.pairs import Goal, Spread, in_rounds
from bench.report import Row, Section
from bench.runner_side import _Clock, _OneReplica
from evalrun_api import EvalRunSpec, ModelLocation, Phase, RunConfig, RunLocation, SuiteLocation
from evalrun_api.metrics import driver
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.run import run
from evalrun_runner.driver.telemetry import RunTelemetry
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.records.messages import EngineStats, Latencies, Order, Report, StoreStats, Telemetry
from evalrun_runner.records.results import MeanTally
from evalrun_runner.replica.assembly import build_replica
from evalrun_runner.replica.replica import Replica
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.serving.endpoint import Endpoint, Page
from evalrun_runner.serving.metrics import RunMetrics
from evalrun_runner.serving.metrics.scores import MOST_SCORES

ACCEPT = {
    "Accept": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3",
    "Accept-Encoding": "gzip",
}
"""Headers of Prometheus's requests."""
SCRAPE_S = 1.0
USUAL_S = 15.0
GOAL = Goal(at_least=0.995)
WINDOW_S = 5.0
DOCUMENT_BYTES = 600
"""Number of log-probabilities per item, 5 to 20 ms of the mock engine's work."""
REPEATS = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """Progress of a run: seconds, and tokens of answered requests."""

    clock: float
    cpu: float
    tokens: int


class _Watching:
    """Watcher that shows a run on its endpoint, as in a pod."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.planned = threading.Event()

    def show(self, view: View) -> None:
        self._endpoint.update(view)
        if view.progress is not None and view.progress.planning_done:
            self.planned.set()

    def log(self, line: str) -> None:
        print(line)


class _Unclocked(_Clock):
    """Clock that records nothing, because only tokens count."""

    def order(self, order: Order) -> None:
        pass

    def report(self, report: Report) -> None:
        pass


class _TimedEndpoint(Endpoint):
    """Endpoint that records the CPU time of each scrape."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config, 0)
        self.scrapes: list[float] = []

    def _answer(self, address: str, headers: Message) -> Page:
        started = time.thread_time()
        page = super()._answer(address, headers)
        self.scrapes.append(time.thread_time() - started)
        return page


class ScrapedRun:
    """Run with so many items that it continues in threads until its process is ended."""

    def __init__(self, folder: Path, items: int) -> None:
        config = _config(folder, _suite(folder / "suite", items))
        self._endpoint = _TimedEndpoint(config)
        self._url = self._endpoint.start()
        self._watching = _Watching(self._endpoint)
        self._replica: Replica | None = None
        threading.Thread(target=self._run, args=(config,), name="run", daemon=True).start()
        # From here on, the run only dispatches.
        assert self._watching.planned.wait(600), "the run was not planned in ten minutes"

    def url(self) -> str:
        """Return the URL to scrape."""
        return f"{self._url}/metrics"

    def scrapes(self) -> list[float]:
        """Return the CPU seconds of each scrape, while the engine competed for the same interpreter."""
        return self._endpoint.scrapes

    def read(self) -> Reading:
        """Read the present progress."""
        assert self._replica is not None and self._replica._pump is not None
        return Reading(time.monotonic(), time.process_time(), self._replica._pump.tokens)

    def _run(self, config: RunConfig) -> None:
        run(config, DriverOptions(), self._watching, Adapters(start_fleet=self._fleet))

    def _fleet(self, settings: ReplicaSettings, *, writer: str) -> _OneReplica:
        # One request at a time makes the progress even, so that a window can be short.
        self._replica = build_replica("bench", replace(settings, engine=MockSettings(max_num_seqs=1)))
        self._replica.load()
        return _OneReplica(self._replica, _Unclocked())


def measure(scratch: Path, windows: int, say: Callable[[str], None]) -> list[Section]:
    """Measure, and return the sections of the document; ``windows`` is the number of pairs of windows."""
    assert __doc__ is not None
    _, scraped, alone = __doc__.strip().split("\n\n")
    return [_scraped_run(scratch, windows, say, scraped), _one_scrape(scratch, say, alone)]


def _scraped_run(scratch: Path, windows: int, say: Callable[[str], None], how: str) -> Section:
    # These are more items than can be answered; the run ends with its process.
    items = round(400 * WINDOW_S) * windows
    with Child(ScrapedRun, scratch / "scraped", items, log=scratch / "scraped.log") as side:
        url, read = side.call("url"), partial(side.call, "read")
        sides = {"scraped": partial(window, read, url), "alone": partial(window, read, None)}
        taken = in_rounds(sides, windows)
        scrapes = Spread.of(seconds / SCRAPE_S for seconds in side.call("scrapes"))
    by_clock, by_cpu = (
        Spread.of_ratios([rates[number] for rates in taken["scraped"]], [rates[number] for rates in taken["alone"]])
        for number in (0, 1)
    )
    say(f"scraped: {by_clock.median:.4f} of the tokens by the clock, {by_cpu.median:.4f} by CPU time")
    rows = [
        Row("tokens/s, scraped each second ÷ not", by_clock, GOAL),
        Row("tokens by CPU second, scraped each second ÷ not", by_cpu, GOAL),
        Row("CPU time of its scrapes, each second, of a core", scrapes, Goal(at_most=0.005)),
    ]
    alone = Spread.of(rate for rate, _ in taken["alone"]).median
    return Section("A run that is scraped", how, rows, {"a window": f"{WINDOW_S:g} s, {alone * WINDOW_S:,.0f} tokens"})


def _one_scrape(scratch: Path, say: Callable[[str], None], how: str) -> Section:
    rows = []
    for replicas, allowed in ((8, 0.005), (1000, 0.01)):
        with Child(import_module, "bench.driver_scrape", log=scratch / f"scrape{replicas}.log") as fresh:
            taken: dict[str, list[float]] = fresh.call("one_scrape", replicas)
        of = f"{replicas:,} replicas"
        share = Spread.of(
            (scrape + packing) / 1000 / USUAL_S for scrape, packing in zip(taken["scrape"], taken["gzip"], strict=True)
        )
        spread = {name: Spread.of(values) for name, values in taken.items()}
        say(f"one scrape, {of}: {spread['scrape'].median:.1f} ms")
        rows += [
            Row(f"CPU time of a scrape, {of}", spread["scrape"], unit="ms"),
            Row(f"CPU time of its compression, {of}", spread["gzip"], unit="ms"),
            Row(f"both, of a core, scraped every {USUAL_S:g} s, {of}", share, Goal(at_most=allowed)),
            Row(f"its size, {of}", spread["bytes"], unit="bytes"),
            Row(f"its size, compressed, {of}", spread["sent"], unit="bytes"),
            Row(f"CPU time of a view, {of}", spread["view"], Goal(at_most=5.0), "ms"),
        ]
    return Section("One scrape of a driver", how, rows)


def window(read: Callable[[], Reading], url: str | None) -> tuple[float, float]:
    """Measure tokens per second by the clock and by CPU time, while ``url`` is scraped (None: no scrapes)."""
    before = read()
    end = time.monotonic() + WINDOW_S
    while (left := end - time.monotonic()) > 0:
        if url is not None:
            with urllib.request.urlopen(urllib.request.Request(url, headers=ACCEPT), timeout=10) as answer:
                answer.read()
        time.sleep(max(0.0, min(SCRAPE_S, left, end - time.monotonic())))
    after = read()
    tokens = after.tokens - before.tokens
    assert tokens, "the run has ended: it needs more items on this machine"
    return tokens / (after.clock - before.clock), tokens / (after.cpu - before.cpu)


def one_scrape(replicas: int) -> dict[str, list[float]]:
    """Measure CPU milliseconds of a scrape, its compression and a view, and bytes of the page.

    ``_one_scrape`` calls this by name in a process of its own.
    """
    telemetry = RunTelemetry({f"task{number}": {"acc": "higher"} for number in range(MOST_SCORES)})
    dispatcher = Dispatcher(on_commit=telemetry.committed)
    names = [f"e1-r{number}" for number in range(replicas)]
    for name in names:
        dispatcher.join(name, 0.0)
        telemetry.joined(name, f"a-run-of-mine-a1-replicas-{name}")
    telemetry.count(0, replicas, 0.0)
    telemetry.kept({f"task{number}": {("acc", "none"): MeanTally(100, 40.0, 40.0)} for number in range(MOST_SCORES)})
    reports = [Report(tokens=1000 + number, telemetry=_told(number)) for number in range(replicas)]
    metrics = RunMetrics(_config(Path("/"), Path("/")))
    encode, _ = choose_encoder(ACCEPT["Accept"])
    taken: dict[str, list[float]] = {name: [] for name in ("scrape", "gzip", "view", "bytes", "sent")}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        started = time.process_time()
        answer = call()
        taken[name].append(1000 * (time.process_time() - started))
        return answer

    def view() -> View:
        # Each replica reports at most once in a quarter of a second.
        for name, report in zip(names, reports, strict=True):
            telemetry.answered(name, report)
        progress = dispatcher.progress(1.0)
        return View(Phase.RUNNING, "", progress, telemetry=telemetry.snapshot(1.0, StoreStats(), progress.replicas))

    for _ in range(REPEATS):
        metrics.update(timed("view", view))
        page = timed("scrape", lambda: encode(metrics.registry))
        taken["bytes"].append(len(page))
        taken["sent"].append(len(timed("gzip", partial(gzip.compress, page, 1))))
    return taken


def _told(number: int) -> Telemetry:
    return Telemetry(
        EngineStats(60, 4, 0.5, 1_000_000 + number, 500_000, 12),
        StoreStats({"create": 1000 + number, "get": 1000}, {"unavailable": 1}, 1.5),
        Latencies(tuple(range(len(driver.REQUEST_SECONDS.buckets) + 1)), 1234.5),
    )


def _suite(folder: Path, items: int) -> Path:
    folder.mkdir(parents=True)
    text = "the quick brown fox jumps over the lazy dog and " * (1 + DOCUMENT_BYTES // 48)
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        for number in range(items):
            file.write(json.dumps({"text": f"{number:08} {text}"[:DOCUMENT_BYTES]}) + "\n")
    task = {
        "task": "texts",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "texts.jsonl")}},
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}],
    }
    (folder / "texts.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return folder


def _config(folder: Path, suite: Path) -> RunConfig:
    spec = EvalRunSpec.model_validate(
        {
            "model": {"name": "mock", "uri": "hf://bench/mock"},
            "engine": {"mock": {}},
            "replicas": {"count": 1},
            "benchmarks": [{"task": "texts", "source": {"path": str(suite)}}],
            "output": {"uri": (folder / "out").as_uri()},
        }
    )
    return RunConfig(
        name="bench",
        uid="bench",
        spec=spec,
        results=RunLocation(uri=(folder / "out").as_uri()),
        model=ModelLocation(name="mock", uri="hf://bench/mock"),
        suites={"texts": SuiteLocation(uri=suite.as_uri())},
    )
