"""The driver over HTTP: real requests to a real port."""

from __future__ import annotations

import gzip
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from evalrun_api import (
    AnswerCounts,
    Counts,
    EvalRunSpec,
    ModelLocation,
    Phase,
    RunConfig,
    RunLocation,
    RunProgress,
    Work,
)
from evalrun_api.wire.pods import HeadState
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.telemetry import RunTelemetry, TelemetrySnapshot
from evalrun_runner.errors import InputError
from evalrun_runner.records.messages import Report, StoreStats
from evalrun_runner.records.results import ItemCounts, MeanTally
from evalrun_runner.serving.endpoint import STALE_SECONDS, Endpoint
from evalrun_runner.serving.head import HeadStatus
from support.engines import Clock
from support.seaweed import wait_until

CONFIG = RunConfig(
    name="my-run",
    namespace="team",
    uid="u",
    spec=EvalRunSpec.model_validate(
        {
            "model": {"name": "llama", "uri": "hf://org/llama"},
            "engine": {"mock": {}},
            "replicas": {"count": 2},
            "benchmarks": [{"task": "a"}],
            "output": {"uri": "out"},
        }
    ),
    results=RunLocation(uri="file:///out"),
    model=ModelLocation(name="llama", uri="hf://org/llama"),
)


def progress(**fields: Any) -> ProgressSnapshot:
    usual: dict[str, Any] = {
        "planned": 200,
        "planning_done": True,
        "counts": ItemCounts(ok=90, failed=6, quarantined=4, truncated=2),
        "answered": 110,
        "kept": 20,
        "redone": 3,
        "redone_here": 1,
        "in_flight": 32,
        "pending": 68,
        "skipped": 0,
        "chunks": 10,
        "skipped_chunks": 0,
        "leased_chunks": 2,
        "pending_chunks": 3,
        "suspect_chunks": 0,
        "duplicate_commits": 0,
        "hedged": 0,
        "prompt_tokens": 1000,
        "output_tokens": 500,
        "items_per_s": 4.0,
        "tokens_per_s": 123.4567,
        "output_tokens_per_s": 45.6789,
        "eta_s": 25.0,
        "replicas": {},
    }
    return ProgressSnapshot(**{**usual, **fields})


def view(**fields: Any) -> View:
    return View(Phase.RUNNING, "", progress(), 1, 2, **fields)


@contextmanager
def serving(
    head_status: HeadStatus | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Endpoint, str]]:
    endpoint = Endpoint(CONFIG, 0, head_status=head_status, clock=clock)
    url = endpoint.start()
    try:
        yield endpoint, url
    finally:
        endpoint.stop()


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_progress_is_the_last_view_in_the_form_of_a_status() -> None:
    with serving() as (endpoint, url):
        assert RunProgress.from_json(get(f"{url}/progress")[2]) == RunProgress(phase=Phase.STARTING)
        endpoint.update(View(Phase.STARTING, "loading the tasks"))
        assert RunProgress.from_json(get(f"{url}/progress")[2]).note == "loading the tasks"
        endpoint.update(view(degraded="503"))
        before = datetime.now(UTC)
        status, kind, body = get(f"{url}/progress?pretty=1")
        assert (status, kind) == (200, "application/json")
        shown = RunProgress.from_json(body)
        assert shown.eta is not None
        assert timedelta(seconds=24) < shown.eta - before < timedelta(seconds=35)
        assert shown.model_copy(update={"eta": None}) == RunProgress(
            phase=Phase.RUNNING,
            counts=Counts(planned=200, ok=90, failed=6, quarantined=4, answers=AnswerCounts(complete=88, truncated=2)),
            planning_done=True,
            work=Work(kept=20, redone=3),
            items_per_second=4.0,
            output_tokens_per_second=45.679,
            replicas_ready=1,
            degraded="503",
        )


def test_the_counts_remain_during_aggregation() -> None:
    with serving() as (endpoint, _):
        endpoint.update(view())
        endpoint.update(View(Phase.FINISHING, "aggregating"))
        shown = endpoint.progress()
    assert (shown.phase, shown.counts.ok, shown.items_per_second, shown.eta) == (Phase.FINISHING, 90, None, None)


def test_a_cluster_learns_when_the_run_is_ready_and_what_replicas_should_do() -> None:
    head_status = HeadStatus()
    with serving(head_status) as (_, url):
        assert get(f"{url}/readyz")[0] == 503
        head_status.preflight_passed()
        assert get(f"{url}/readyz")[0] == 200
        asked = {"instance": head_status.instance, "state": "starting"}
        assert json.loads(get(f"{url}/head")[2]) == asked
        assert json.loads(get(f"{url}/head?pod=a&known=starting&wait=0.01")[2]) == asked, "nothing has changed in time"
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(get, f"{url}/head?pod=a&known=starting&wait=25")
            head_status.announce(HeadState.OPEN)
            assert json.loads(waiting.result()[2])["state"] == "open"
        assert get(f"{url}/head?wait=soon")[0] == 400


def test_the_end_waits_only_for_pods_that_ask() -> None:
    head_status = HeadStatus()
    head_status.announce(HeadState.DONE)
    assert head_status.wait_until_informed(0.0) == 0, "nobody asked"
    head_status = HeadStatus()
    for pod in ("a", "b"):
        head_status.ask(pod, "", 0.0)
    head_status.announce(HeadState.DONE)
    head_status.ask("a", "open", 0.0)
    assert head_status.wait_until_informed(0.0) == 1
    head_status.ask("b", "open", 0.0)
    assert head_status.wait_until_informed(0.0) == 0


def test_the_end_does_not_wait_for_pods_that_have_left() -> None:
    head_status = HeadStatus()
    with serving(head_status) as (_, url), ThreadPoolExecutor(1) as threads:
        # Its question is still held back when it says goodbye.
        held = threads.submit(get, f"{url}/head?pod=a&known=starting&wait=25")
        wait_until(lambda: "a" in head_status._asked, 10, lambda: "the question did not come")
        get(f"{url}/head?pod=a&leaving=1")
        head_status.announce(HeadState.DONE)
        assert head_status.wait_until_informed(0.0) == 0
        held.result()


def telemetry(at: float = 0.0, tokens: int = 0) -> TelemetrySnapshot:
    gathered = RunTelemetry({"a": {"acc": "higher"}})
    gathered.count(0, 1, at)
    gathered.joined("e1-r0", "pod")
    gathered.answered("e1-r0", Report(tokens=tokens))
    gathered.kept({"a": {("acc", "none"): MeanTally(4, 1.0, 1.0)}})
    return gathered.snapshot(at, StoreStats(), {})


def scrape(url: str, **headers: str) -> tuple[Mapping[str, str], bytes]:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/metrics", headers=headers), timeout=10) as answer:
        assert answer.status == 200
        return answer.headers, answer.read()


def values(families: Iterable[Metric]) -> dict[tuple[str, str | None], float]:
    """Samples by name and status."""
    return {
        (sample.name, sample.labels.get("status")): sample.value for family in families for sample in family.samples
    }


def test_metrics_are_those_of_the_last_view() -> None:
    with serving() as (endpoint, url):
        assert values(text_string_to_metric_families(scrape(url)[1].decode()))["evalrun_driver_phase", None] == 1
        endpoint.update(view(telemetry=telemetry()))
        endpoint.update(View(Phase.RUNNING, "", progress(prompt_tokens=1500), 2, 2, telemetry=telemetry(tokens=7)))
        headers, body = scrape(url)
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        shown = values(text_string_to_metric_families(body.decode()))
    assert shown["evalrun_items_planned", None] == 200
    assert shown["evalrun_items", "ok"] == 90
    assert shown["evalrun_items", "leased"] == 32
    assert shown["evalrun_prompt_tokens_total", None] == 1500
    assert shown["evalrun_engine_tokens_total", None] == 7
    assert shown["evalrun_score", None] == 0.25
    assert shown["process_cpu_seconds_total", None] > 0


def test_prometheus_gets_the_format_that_it_asks_for_and_compressed() -> None:
    accepted = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3"
    with serving() as (endpoint, url):
        endpoint.update(view(telemetry=telemetry(tokens=7)))
        headers, body = scrape(url, Accept=accepted)
        assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert headers["Content-Encoding"] is None
        plain = values(open_metrics_families(body.decode()))
        headers, small = scrape(url, Accept=accepted, **{"Accept-Encoding": "gzip"})
        assert headers["Content-Encoding"] == "gzip"
        assert len(small) < len(body) / 3
        unpacked = values(open_metrics_families(gzip.decompress(small).decode()))
    assert plain.keys() == unpacked.keys()
    assert plain["evalrun_engine_tokens_total", None] == unpacked["evalrun_engine_tokens_total", None] == 7


def test_many_may_scrape_at_once_while_views_come() -> None:
    with serving() as (endpoint, url), ThreadPoolExecutor(4) as threads:
        endpoint.update(view(telemetry=telemetry()))
        scrapes = [threads.submit(scrape, url) for _ in range(40)]
        tokens = 0
        while not all(one.done() for one in scrapes):
            tokens += 1
            endpoint.update(view(telemetry=telemetry(tokens=tokens)))
        pages = [values(text_string_to_metric_families(one.result()[1].decode())) for one in scrapes]
    assert len({frozenset(page.keys()) for page in pages}) == 1, "each is whole"
    assert all(0 <= page["evalrun_engine_tokens_total", None] <= tokens for page in pages)


def test_a_running_driver_without_new_views_is_not_healthy() -> None:
    clock = Clock()
    with serving(clock=clock) as (endpoint, url):
        assert get(f"{url}/healthz")[::2] == (200, "ok\n")
        endpoint.update(view())
        assert get(f"{url}/healthz")[0] == 200
        clock.now += STALE_SECONDS
        status, _, body = get(f"{url}/healthz")
        assert (status, body) == (503, "no progress was shown for 120 s\n")


def test_other_pages_list_the_existing_ones() -> None:
    with serving() as (_, url):
        assert get(f"{url}/") == (404, "text/plain", "there are /progress, /healthz and /metrics\n")


def test_an_unavailable_port_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port}: .*give another port, or 0"):
            Endpoint(CONFIG, port)
    with pytest.raises(InputError, match="--port 70000"):
        Endpoint(CONFIG, 70000)
