"""A run that is scraped all the time: no counter falls, and its last words are those of its results."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evalrun_api.metrics import MetricType, driver, scores
from support.runs import Ground, Run, make_ground, write_run

Labels = tuple[tuple[str, str], ...]
PAUSE_SECONDS = 0.05
COUNTERS = {name for metric in driver.METRICS if metric.kind is not MetricType.GAUGE for name in metric.series}


class Page:
    """One scrape: values by name and labels."""

    def __init__(self, text: str) -> None:
        self.values: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

    def __getitem__(self, name: str) -> float:
        """The value of the only series of this name."""
        (value,) = [value for (one, _), value in self.values.items() if one == name]
        return value

    def by(self, name: str, *labels: str) -> dict[Any, float]:
        """The values by some of their labels."""
        found = {}
        for (one, pairs), value in self.values.items():
            if one == name:
                key = tuple(dict(pairs)[label] for label in labels)
                found[key if len(labels) > 1 else key[0]] = value
        return found

    @property
    def counters(self) -> Mapping[tuple[str, Labels], float]:
        """All of the driver's own that must not fall."""
        return {key: value for key, value in self.values.items() if key[0] in COUNTERS}


@contextmanager
def scraped(run: Run) -> Iterator[list[Page]]:
    """Scrape until the run is gone; the pages are whole when the context ends."""
    pages: list[Page] = []
    url, stop = run.url, Event()

    def scrape() -> None:
        while not stop.wait(PAUSE_SECONDS):
            try:
                pages.append(Page(run.get("/metrics")))
            except (urllib.error.URLError, ConnectionError):
                return  # it has ended

    thread = Thread(target=scrape, name=f"scrapes of {url}")
    thread.start()
    try:
        yield pages
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


def never_falls(pages: list[Page]) -> None:
    assert len(pages) > 20
    told: dict[tuple[str, Labels], float] = {}
    for page in pages:
        now = page.counters
        assert told.keys() <= now.keys(), "a counter is gone"
        assert [key for key in told if now[key] < told[key]] == []
        told = dict(now)


def agrees_with_results(page: Page, output: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    counts = results["evalrun"]["counts"]
    items = page.by("evalrun_items", "status")
    statuses = ("ok", "failed", "quarantined", "skipped")
    assert items == {"leased": 0, "waiting": 0} | {status: counts.get(status, 0) for status in statuses}
    assert page["evalrun_items_planned"] == counts["planned"]
    assert page["evalrun_planning_done"] == 1
    shown = page.by(scores.SCORE.name, "task", "metric", "filter")
    errors = page.by(scores.SCORE_STDERR.name, "task", "metric", "filter")
    many = page.by(scores.SCORE_ITEMS.name, "task", "metric", "filter")
    assert shown
    for task, metric, filter_name in shown:
        final = results["results"][task]
        key = task, metric, filter_name
        assert shown[key] == pytest.approx(final[f"{metric},{filter_name}"], abs=1e-9)
        assert errors[key] == pytest.approx(final[f"{metric}_stderr,{filter_name}"], abs=1e-9)
        assert many[key] == final["sample_len"]
    assert {task for task, _, _ in shown} == results["results"].keys()


def test_a_scraped_run_whose_replica_is_killed(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed(), Run(tmp_path, command) as run, scraped(run) as pages:
        ground.reached(run)
        stopped = Page(run.get("/metrics"))
        os.kill(run.replicas()[0].pid, signal.SIGKILL)
        run.until(lambda: pages[-1].by("evalrun_replica_departures_total", "cause")["crashed"], "the replica's death")
        run.until(lambda: pages[-1].by("evalrun_replicas", "state")["ready"] == 2, "its replacement")
        replaced = pages[-1]
        ground.open()
        assert run.ended() == 0, run.stderr
    never_falls(pages)

    assert stopped.by("evalrun_items", "status") == {
        "ok": ground.free_items,
        "failed": 0,
        "quarantined": 0,
        "skipped": 0,
        "leased": ground.held_items,
        "waiting": 0,
    }
    assert stopped.by("evalrun_replica_leased_items", "replica").keys() == {"0", "1"}
    assert sum(stopped.by("evalrun_replica_requests", "replica", "state").values()) > 0, "those at the gate"
    assert stopped["evalrun_chunks_committed_total"] > 0
    assert stopped.by("evalrun_driver_phase", "phase") == {"Running": 1}
    before, after = stopped.by("evalrun_replica_info", "name"), replaced.by("evalrun_replica_info", "name")
    assert len(before) == len(after) == 2
    assert len(before.keys() & after.keys()) == 1
    assert replaced.by("evalrun_replica_info", "replica").keys() == {"0", "1"}, "the place of the one that died"

    last = pages[-1]
    agrees_with_results(last, output)
    assert last.by("evalrun_driver_phase", "phase") == {"Finishing": 1}
    assert last.by("evalrun_items_committed_total", "status")["ok"] == ground.planned
    assert sum(last.by("evalrun_replica_items_total", "replica").values()) == ground.planned
    assert last["evalrun_items_redone_total"] == replaced["evalrun_items_redone_total"] <= ground.held_items
    assert last["evalrun_chunks_committed_total"] == last["evalrun_commit_seconds_count"] == len(ground.parts)
    assert last["evalrun_engine_tokens_total"] >= last["evalrun_generated_tokens_total"] > 0
    assert last["evalrun_request_seconds_count"] >= ground.planned
    requests = last.by("evalrun_store_requests_total", "side", "operation")
    assert requests["replica", "create"] >= len(ground.parts)
    assert requests["driver", "create"] > 0
    seconds = last.by("evalrun_replica_seconds_total", "state")
    assert seconds["loading"] > 0 and seconds["ready"] > 0
    assert last.by("evalrun_gpu_seconds_total", "state") == {"loading": 0, "ready": 0}, "it has no GPUs"
    assert "evalrun_eta_seconds" not in {name for name, _ in last.values}


def test_a_resumed_run_that_is_scraped(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed():
        with Run(tmp_path, command) as run:
            ground.reached(run)
            run.signal(signal.SIGTERM)
            assert run.ended() == 130
        with Run(tmp_path, command) as run, scraped(run) as pages:
            ground.reached(run)
            kept = pages[-1]
            ground.open()
            assert run.ended() == 0, run.stderr
    never_falls(pages)
    assert kept["evalrun_items_kept"] == ground.free_items
    assert kept.by("evalrun_items_committed_total", "status")["ok"] == 0
    assert sum(kept.by(scores.SCORE_ITEMS.name, "task").values()) == ground.free_items
    last = pages[-1]
    agrees_with_results(last, output)
    assert last.by("evalrun_items_committed_total", "status")["ok"] == ground.held_items
    assert last["evalrun_items_kept"] + ground.held_items == ground.planned
