"""Metrics of real runs, as a real Prometheus scraped them, compared with the results of the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import pytest

from evalrun_api.metrics import ALL, Metric, MetricType, driver, operator, scores
from evalrun_api.wire.pods import LABEL_COMPONENT, Component
from evalrun_runner.benchmarks.values import decode
from evalrun_runner.records.results import ItemResult
from support.e2e import ITEMS, NAMESPACE, Run
from support.watched import (
    BAD,
    DIES,
    FAULTS,
    LONG_EASY,
    REAL,
    STUCK,
    Watched,
)

pytestmark = pytest.mark.timeout(900)

SCRAPED = ("pod", "namespace", "instance", "job")
"""Labels of the scraped pod that Prometheus adds."""


@dataclass(frozen=True)
class Plausible:
    """Bounds of a metric: all its values lie between the first two, and the greatest reaches the third.

    For a histogram: the mean of the observations, and their number.
    """

    least: float
    most: float
    reached: float


INFO = Plausible(1, 1, 1)
TIMES = Plausible(1.7e9, 5e9, 1.7e9)
"""Unix time, between the creation of this test and 2128."""

PLAUSIBLE: Mapping[Metric, Plausible] = {
    scores.SCORE: Plausible(0, 1, 1),
    scores.SCORE_STDERR: Plausible(0, 0.5, 0.01),
    scores.SCORE_LOW: Plausible(0, 1, 0.5),
    scores.SCORE_HIGH: Plausible(0, 1, 1),
    scores.SCORE_ITEMS: Plausible(1, ITEMS, LONG_EASY),
    scores.GATE: INFO,
    scores.GATE_BOUND: Plausible(0, 1, 0.5),
    driver.DRIVER_INFO: INFO,
    driver.DRIVER_PHASE: INFO,
    driver.ITEMS_PLANNED: Plausible(0, LONG_EASY, LONG_EASY),
    driver.PLANNING_DONE: Plausible(0, 1, 1),
    driver.ITEMS: Plausible(0, LONG_EASY, LONG_EASY),
    driver.ANSWERS: Plausible(0, LONG_EASY, 40),
    driver.ITEMS_ALLOWED: Plausible(0, len(DIES) + 1, len(DIES) + 1),
    # The third driver of the run with faults found what the two earlier ones had committed.
    driver.ITEMS_KEPT: Plausible(0, LONG_EASY, 200),
    driver.ITEMS_REDONE: Plausible(0, LONG_EASY, 1),
    driver.ITEMS_COMMITTED: Plausible(0, LONG_EASY, 200),
    driver.ETA: Plausible(0, 1800, 5),
    driver.CHUNKS: Plausible(0, LONG_EASY, 5),
    driver.CHUNKS_COMMITTED: Plausible(0, LONG_EASY, 5),
    driver.CHUNKS_HEDGED: Plausible(0, 64, 1),
    # It is a matter of chance whether the first copy of a hedged chunk is also committed before the run ends.
    driver.CHUNKS_DUPLICATE: Plausible(0, 64, 0),
    driver.PROMPT_TOKENS: Plausible(0, 1e6, 1e4),
    driver.GENERATED_TOKENS: Plausible(0, 1e6, 1e3),
    driver.ENGINE_TOKENS: Plausible(0, 1e6, 1e4),
    driver.REQUEST_SECONDS: Plausible(0.001, 120, 400),
    driver.COMMIT_SECONDS: Plausible(0.001, 30, 20),
    driver.REPLICAS: Plausible(0, 2, 2),
    driver.REPLICAS_WANTED: Plausible(1, 2, 2),
    driver.DEPARTURES: Plausible(0, 10, 2),
    driver.REPLICA_SECONDS: Plausible(0, 1200, 30),
    driver.GPU_SECONDS: Plausible(0, 1200, 30),
    driver.REPLICA_INFO: INFO,
    driver.REPLICA_REQUESTS: Plausible(0, 1000, 2),
    driver.REPLICA_CACHE: Plausible(0, 1, 0.001),
    driver.REPLICA_LEASED: Plausible(0, LONG_EASY, 2),
    driver.REPLICA_ITEMS: Plausible(0, LONG_EASY, 50),
    driver.REPLICA_TOKENS: Plausible(0, 1e6, 1e4),
    driver.PREFIX_QUERIED: Plausible(0, 1e6, 1e3),
    driver.PREFIX_HIT: Plausible(0, 1e6, 100),
    # The cache of a small model on short prompts is never full.
    driver.PREEMPTIONS: Plausible(0, 0, 0),
    driver.STORE_REQUESTS: Plausible(0, 10_000, 5),
    driver.STORE_RETRIES: Plausible(0, 1000, 1),
    driver.STORE_WAIT: Plausible(0, 1000, 0.1),
    driver.STORE_DEGRADED: Plausible(0, 1, 1),
    driver.SERIES_DROPPED: Plausible(0, 0, 0),
    operator.RUNS: Plausible(0, 200, 1),
    operator.PHASE_SECONDS: Plausible(0.1, 200, 8),
    operator.CONDITION_TRANSITIONS: Plausible(1, 5000, 5),
    operator.RUN_INFO: INFO,
    operator.RUN_PHASE: INFO,
    operator.RUN_CREATED: TIMES,
    operator.RUN_STARTED: TIMES,
    operator.RUN_FINISHED: TIMES,
    operator.RUN_ATTEMPT: Plausible(1, 3, 3),
    operator.RUN_REPLICAS: Plausible(0, 2, 2),
    operator.RUN_GPUS: Plausible(0, 2, 2),
    operator.RUN_ITEMS: Plausible(0, ITEMS, LONG_EASY),
    operator.RUNS_NOT_EXPORTED: Plausible(0, 0, 0),
    operator.OPERATOR_INFO: INFO,
    operator.LEADER: Plausible(0, 1, 1),
    operator.RECONCILE_SECONDS: Plausible(0.001, 2, 100),
    operator.RECONCILE_ERRORS: Plausible(1, 1000, 1),
    operator.QUEUE_DEPTH: Plausible(0, 200, 1),
    operator.QUEUE_WAIT: Plausible(0, 2, 100),
    operator.QUEUE_STALLED: Plausible(0, 120, 0),
    operator.API_REQUESTS: Plausible(1, 1e5, 100),
    operator.API_SECONDS: Plausible(0.0005, 2, 100),
    # The operator's watches failed for long enough to fire an alert.
    operator.WATCH_AGE: Plausible(0, 200, 30),
    operator.RESYNC_AGE: Plausible(0, 200, 30),
    operator.NAMESPACES_REFUSED: Plausible(0, 0, 0),
}
OF_EACH_OPERATOR = {
    operator.OPERATOR_INFO,
    operator.LEADER,
    operator.QUEUE_DEPTH,
    operator.QUEUE_WAIT,
    operator.QUEUE_STALLED,
    operator.API_REQUESTS,
    operator.API_SECONDS,
    operator.RUNS_NOT_EXPORTED,
}
"""Metrics of the process, which the operator that waits for the Lease exports too."""


# Metrics ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_every_metric_exists_with_plausible_values(watched: Watched, metric: Metric) -> None:
    plausible = PLAUSIBLE[metric]
    if metric.kind is MetricType.HISTOGRAM:
        count = watched.last(f"{metric.name}_count")
        mean = watched.last(f"{metric.name}_sum") / count
        print(f"\n{metric.name}: {count:.0f} observed, mean {mean:.4g}")
        assert plausible.reached <= count
        assert plausible.least <= mean <= plausible.most
    else:
        low, high = watched.ever("min", metric.name), watched.ever("max", metric.name)
        print(f"\n{metric.name}: {low:.10g} to {high:.10g}")
        assert plausible.least <= low
        assert plausible.reached <= high <= plausible.most
    for series in metric.series:
        labels = watched.prometheus.query(f"last_over_time({series}[{watched.seconds}s])")[0].labels
        bucket = {"le"} if series.endswith("_bucket") else set()
        assert labels.keys() - {"__name__"} == {*metric.labels, *SCRAPED, *bucket}


def test_targets_are_the_operator_and_the_running_drivers(watched: Watched) -> None:
    """Prometheus finds them by annotations: no replica, no other port, no finished pod."""
    targets = watched.prometheus.targets()
    pods = {(one["labels"]["namespace"], one["labels"]["pod"]) for one in targets}
    drivers = watched.platform.cluster.api.list("pods", NAMESPACE, f"{LABEL_COMPONENT}={Component.DRIVER.value}")
    living = [pod for pod in drivers if pod["status"]["phase"] == "Running"]
    ever = {
        one.labels["pod"]
        for one in watched.prometheus.query(f"group by (pod) (last_over_time(up[{watched.seconds}s]))")
    }
    assert {name for name in ever if "-replicas-" in name} == set()
    assert {f"{run}-a1-driver" for run in (REAL, BAD, FAULTS, STUCK)} <= {name.rpartition("-")[0] for name in ever}
    expected = [*living, *watched.platform.operator_pods()]
    assert pods == {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in expected}
    assert {one["health"] for one in targets} == {"up"}
    usual = watched.prometheus.one(
        f"quantile(0.5, quantile_over_time(0.5, scrape_duration_seconds[{watched.seconds}s]))"
    )
    samples = watched.ever("max", "scrape_samples_scraped")
    print(f"\na scrape usually took {usual * 1000:.0f} ms; the largest had {samples:.0f} samples")


@pytest.mark.parametrize(
    ("metric", "label", "values"),
    [
        (driver.ITEMS, "status", {"ok", "failed", "quarantined", "skipped", "leased", "waiting"}),
        (driver.CHUNKS, "state", {"waiting", "leased", "suspect", "committed"}),
        (driver.REPLICAS, "state", {"loading", "ready"}),
        (driver.DRIVER_INFO, "engine", {"vllm", "mock"}),
        (driver.DRIVER_INFO, "attempt", {"1", "2", "3"}),
        (driver.STORE_RETRIES, "side", {"driver", "replica"}),
        (scores.SCORE, "final", {"true", "false"}),
        (scores.GATE, "verdict", {"Passed", "Failed", "Inconclusive"}),
        (operator.RECONCILE_SECONDS, "outcome", {"ok", "failed"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_labels_have_all_their_possible_values(watched: Watched, metric: Metric, label: str, values: set[str]) -> None:
    (series, *_) = (name for name in metric.series if not name.endswith("_bucket"))
    found = watched.prometheus.query(f"group by ({label}) (last_over_time({series}[{watched.seconds}s]))")
    assert {one.labels[label] for one in found} >= values


def test_no_series_is_exported_by_two_pods_at_once(watched: Watched) -> None:
    end = watched.began + watched.seconds
    for metric in [metric for metric in ALL if metric not in OF_EACH_OPERATOR]:
        for series in metric.series:
            twice = f"max(count without ({', '.join(SCRAPED)}) ({series})) > 1"
            assert not watched.prometheus.query_range(twice, watched.began, end, 1), series


# Results ------------------------------------------------------------------------------------------------------------


def rows(run: Run, *tasks: str) -> list[ItemResult]:
    """Read all items in the ledger."""
    ledger = run.ledger
    committed = set(ledger.committed_parts())
    found: list[ItemResult] = []
    for task in tasks:
        index = ledger.task_index(task)
        assert index is not None
        chunks = [chunk for number in range(index.segments) for chunk in ledger.read_chunks(task, number)]
        found += [row for chunk in chunks if chunk.id in committed for row in ledger.read_part(chunk).rows]
    return found


TASKS = {REAL: ("everyday_choice", "word_sums"), BAD: ("easy", "hard"), FAULTS: ("easy",), STUCK: ("stuck",)}


def seen_to_its_end(watched: Watched, name: str) -> bool:
    """Return whether a driver was scraped after its last change."""
    return name == STUCK or watched.ever_had(f'{driver.DRIVER_PHASE.name}{{run="{name}",phase="Finishing"}}')


@pytest.mark.parametrize("name", [STUCK, REAL, BAD])
def test_counters_of_an_undisturbed_driver_equal_the_ledger(watched: Watched, name: str) -> None:
    run = watched.run(name)
    ended = rows(run, *TASKS[name])
    responses = [one for row in ended for repeats in row.outcome.responses for one in repeats]
    parts = len(run.committed())
    statuses = Counter(row.outcome.status.value for row in ended)
    expected = {
        driver.PROMPT_TOKENS.name: sum(one.prompt_tokens for one in responses),
        driver.GENERATED_TOKENS.name: sum(one.output_tokens for one in responses),
        driver.CHUNKS_COMMITTED.name: parts,
        driver.COMMIT_SECONDS.name + "_count": parts,
        driver.REPLICA_ITEMS.name: len(ended),
        **{f'{driver.ITEMS_COMMITTED.name}{{status="{status}"}}': count for status, count in statuses.items()},
        **{f'{driver.ITEMS.name}{{status="{status}"}}': count for status, count in statuses.items()},
    }
    told = {
        series: watched.last(f'{series[:-1]},run="{name}"}}' if "{" in series else f'{series}{{run="{name}"}}')
        for series in expected
    }
    if seen_to_its_end(watched, name):
        assert told == expected
    else:  # Changes between the last scrape and the end are in no scraped counter.
        assert all(0 <= told[series] <= expected[series] for series in expected)


@pytest.mark.parametrize("name", [REAL, BAD, FAULTS])
def test_final_items_equal_the_ledger(watched: Watched, name: str) -> None:
    statuses = [row.outcome.status.value for row in rows(watched.run(name), *TASKS[name])]
    told = watched.prometheus.query(f'{operator.RUN_ITEMS.name}{{run_namespace="{NAMESPACE}",run="{name}"}}')
    assert {one.labels["status"]: one.value for one in told} == {
        status: statuses.count(status) for status in ("ok", "failed", "quarantined", "skipped")
    }


@pytest.mark.parametrize("name", [REAL, BAD, FAULTS])
def test_final_scores_equal_the_results_after_the_drivers_pod_is_deleted(watched: Watched, name: str) -> None:
    run = watched.run(name)
    for pod in run.pods(Component.DRIVER, over=True):
        watched.platform.cluster.api.delete("pods", pod["metadata"]["name"], NAMESPACE)
    results = run.results()["results"]

    def told(metric: Metric) -> dict[tuple[str, str, str], float]:
        found = watched.prometheus.query(f'{metric.name}{{final="true",run_namespace="{NAMESPACE}",run="{name}"}}')
        return {(one.labels["task"], one.labels["metric"], one.labels["filter"]): one.value for one in found}

    values, errors, numbers = told(scores.SCORE), told(scores.SCORE_STDERR), told(scores.SCORE_ITEMS)
    assert {task for task, _, _ in values} == set(TASKS[name])
    for (task, metric, filter_name), value in values.items():
        assert value == results[task][f"{metric},{filter_name}"]
        assert errors[task, metric, filter_name] == results[task][f"{metric}_stderr,{filter_name}"]
    headline = {(one["task"], one["metric"], one.get("filter", "none")): one["n"] for one in run.status["scores"]}
    assert numbers == headline


def test_running_scores_of_an_idle_driver_equal_the_ledger(watched: Watched) -> None:
    ended = [decode(row.scores)["word"]["exact_match"] for row in rows(watched.run(STUCK), "stuck") if row.scores]
    which = f'{{final="false",run="{STUCK}",task="stuck",metric="exact_match",filter="word"}}'
    assert watched.last(scores.SCORE.name + which) == fmean(ended)
    assert watched.last(scores.SCORE_ITEMS.name + which) == len(ended)


@pytest.mark.parametrize("name", [REAL, BAD, FAULTS])
def test_last_running_scores_equal_the_final_scores(watched: Watched, name: str) -> None:
    def told(series: str) -> dict[tuple[str, ...], float]:
        kinds = ("task", "metric", "filter")
        found = watched.prometheus.query(f"max by ({', '.join(kinds)}) ({series})")
        return {tuple(one.labels[kind] for kind in kinds): one.value for one in found}

    running = told(f'last_over_time({scores.SCORE.name}{{final="false",run="{name}"}}[{watched.seconds}s])')
    final = told(f'{scores.SCORE.name}{{final="true",run="{name}"}}')
    if seen_to_its_end(watched, name):
        assert running == final
    else:  # Items committed between the last scrape and the end are in none.
        assert running.keys() <= final.keys()
