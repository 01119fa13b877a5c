"""The driver over HTTP: real requests to a real port."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evalrun_api import EvalRunSpec, ModelLocation, Phase, RunConfig, RunLocation
from evalrun_api.outcomes import Counts as CountsShown
from evalrun_api.outcomes import Work
from evalrun_api.pods import HeadState
from evalrun_api.runprogress import RunProgress
from evalrun_runner import endpoint as module
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.watching import View
from evalrun_runner.endpoint import Endpoint
from evalrun_runner.errors import InputError
from evalrun_runner.pods.board import HeadBoard
from evalrun_runner.records import Counts
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
        "counts": Counts(ok=90, failed=6, quarantined=4),
        "kept": 20,
        "redone": 3,
        "in_flight": 32,
        "pending": 68,
        "chunks": 10,
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
def serving(board: HeadBoard | None = None) -> Iterator[tuple[Endpoint, str]]:
    endpoint = Endpoint(CONFIG, 0, board=board)
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


def test_progress_is_the_last_view_in_the_statuss_words() -> None:
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
            counts=CountsShown(planned=200, ok=90, failed=6, quarantined=4),
            planning_done=True,
            work=Work(kept=20, redone=3),
            items_per_second=4.0,
            output_tokens_per_second=45.679,
            replicas_ready=1,
            degraded="503",
        )


def test_who_aggregates_still_knows_its_counts() -> None:
    with serving() as (endpoint, _):
        endpoint.update(view())
        endpoint.update(View(Phase.FINISHING, "aggregating"))
        shown = endpoint.progress()
    assert (shown.phase, shown.counts.ok, shown.items_per_second, shown.eta) == (Phase.FINISHING, 90, None, None)


def test_a_cluster_is_told_when_the_run_is_ready_and_what_replicas_are_to_do() -> None:
    board = HeadBoard()
    with serving(board) as (_, url):
        assert get(f"{url}/readyz")[0] == 503
        board.preflight_passed()
        assert get(f"{url}/readyz")[0] == 200
        asked = {"instance": board.instance, "state": "starting"}
        assert json.loads(get(f"{url}/head")[2]) == asked
        assert json.loads(get(f"{url}/head?pod=a&known=starting&wait=0.01")[2]) == asked, "nothing has changed in time"
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(get, f"{url}/head?pod=a&known=starting&wait=25")
            board.announce(HeadState.OPEN)
            assert json.loads(waiting.result()[2])["state"] == "open"
        assert get(f"{url}/head?wait=soon")[0] == 400


def test_the_end_waits_for_those_that_ask_and_no_others() -> None:
    board = HeadBoard()
    board.announce(HeadState.DONE)
    assert board.wait_until_heard(0.0) == 0, "nobody asked"
    board = HeadBoard()
    for pod in ("a", "b"):
        board.ask(pod, "", 0.0)
    board.announce(HeadState.DONE)
    board.ask("a", "open", 0.0)
    assert board.wait_until_heard(0.0) == 1
    board.ask("b", "open", 0.0)
    assert board.wait_until_heard(0.0) == 0


def test_the_end_does_not_wait_for_who_has_said_goodbye() -> None:
    board = HeadBoard()
    with serving(board) as (_, url), ThreadPoolExecutor(1) as threads:
        # Its question is still held back when it says goodbye.
        held = threads.submit(get, f"{url}/head?pod=a&known=starting&wait=25")
        wait_until(lambda: "a" in board._asked, 10, lambda: "the question did not come")
        get(f"{url}/head?pod=a&leaving=1")
        board.announce(HeadState.DONE)
        assert board.wait_until_heard(0.0) == 0
        held.result()


def test_metrics_are_prometheus_and_counters_follow_the_totals() -> None:
    with serving() as (endpoint, url):
        endpoint.update(view(commit_seconds=(0.2, 3.0)))
        endpoint.update(View(Phase.RUNNING, "", progress(prompt_tokens=1500), 2, 2, commit_seconds=(0.2,)))
        status, kind, body = get(f"{url}/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        samples = {
            (sample.name, sample.labels.get("status")): sample
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
        for name, expected in {
            "evalrun_items_planned": 200,
            "evalrun_leased_chunks": 2,
            "evalrun_leased_items": 32,
            "evalrun_replicas_ready": 2,
            "evalrun_items_redone": 3,
            "evalrun_prompt_tokens_total": 1500,
            "evalrun_output_tokens_total": 500,
            "evalrun_commit_seconds_count": 3,
        }.items():
            sample = samples[name, None]
            assert sample.value == expected, name
            assert sample.labels.items() >= {"run": "my-run", "run_namespace": "team", "model": "llama"}.items()
        assert samples["evalrun_commit_seconds_sum", None].value == pytest.approx(3.4)
        assert {status: samples["evalrun_items", status].value for status in ("ok", "failed", "quarantined")} == {
            "ok": 90,
            "failed": 6,
            "quarantined": 4,
        }


def test_a_running_driver_that_shows_nothing_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as (endpoint, url):
        assert get(f"{url}/healthz")[::2] == (200, "ok\n")
        endpoint.update(view())
        assert get(f"{url}/healthz")[0] == 200
        monkeypatch.setattr(module, "STALE_SECONDS", 0.0)
        status, _, body = get(f"{url}/healthz")
        assert (status, body) == (503, "no progress was shown for 0 s\n")


def test_other_pages_say_which_there_are() -> None:
    with serving() as (_, url):
        assert get(f"{url}/") == (404, "text/plain", "there are /progress, /healthz and /metrics\n")


def test_a_port_that_cannot_be_had_is_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port}: .*give another port, or 0"):
            Endpoint(CONFIG, port)
    with pytest.raises(InputError, match="--port 70000"):
        Endpoint(CONFIG, 70000)
