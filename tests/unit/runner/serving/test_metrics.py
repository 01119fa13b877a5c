"""What a driver exports is the catalogue, no more and no less, with the numbers of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from evalrun_api import EvalRunSpec, ModelLocation, Phase, RunConfig, RunLocation
from evalrun_api.metrics import ALL, Metric, MetricType, Source, driver, label_value, scores
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.telemetry import RunningMetrics, RunTelemetry
from evalrun_runner.records.messages import Committed, EngineStats, Latencies, Lease, Report, StoreStats, Telemetry
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, MeanTally
from evalrun_runner.serving.metrics import RunMetrics
from evalrun_runner.serving.metrics.replicas import MOST_SLOTS
from evalrun_runner.serving.metrics.scores import MOST_SCORES
from support.builders import make_chunk, make_committed

OPEN_METRICS = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3"
"""What Prometheus asks for."""
ITEMS = 10
EXPORTED = [metric for metric in ALL if metric.source is not Source.OPERATOR]
RUNNING: RunningMetrics = {"t": {"acc": "higher", "loss": "lower"}}


def config(name: str = "my-run", model: str = "llama", **spec: Any) -> RunConfig:
    return RunConfig(
        name=name,
        namespace="team",
        uid="u",
        attempt=2,
        spec=EvalRunSpec.model_validate(
            {
                "model": {"name": "llama", "uri": "hf://org/llama"},
                "engine": {"mock": {}},
                "replicas": {"count": 3},
                "benchmarks": [{"task": "a"}],
                "output": {"uri": "out"},
                "policy": {"maxFailedItems": 7},
                **spec,
            }
        ),
        results=RunLocation(uri="file:///out"),
        model=ModelLocation(name=model, uri="hf://org/llama"),
        gpus_per_replica=4,
    )


def chunk(number: int) -> Chunk:
    return make_chunk(number, first_row=number * ITEMS, items=ITEMS, cost=100.0)


def committed(lease: Lease, **counts: int) -> Committed:
    tallies = {
        ("acc", "none"): MeanTally(8, 6.0, 6.0),
        ("loss", "none"): MeanTally(8, 16.0, 40.0),
        ("bleu", "none"): MeanTally(8),
    }
    return make_committed(
        lease, ItemCounts(**counts) if counts else None, tokens=(100, 50), seconds=0.2, scores=tallies
    )


def told(amount: int) -> Telemetry:
    return Telemetry(
        EngineStats(5, 7, 0.25, prefix_queried=10 * amount, prefix_hit=4 * amount, preemptions=amount),
        StoreStats({"create": amount, "get": 3 * amount}, {"unavailable": amount}, 0.5 * amount),
        Latencies((amount, *[0] * 12, 1), 1.5 * amount),
    )


@dataclass
class Scene:
    """A run of ten chunks, its telemetry and its metrics, by a clock of the test's."""

    config: RunConfig = field(default_factory=config)
    running: RunningMetrics = field(default_factory=lambda: RUNNING)
    now: float = 50.0
    store: StoreStats = field(default_factory=lambda: StoreStats({"put": 2}, {"full": 1}, 3.0))

    def __post_init__(self) -> None:
        self.telemetry = RunTelemetry(self.running)
        self.dispatcher = Dispatcher(on_commit=self.telemetry.committed)
        self.dispatcher.add_chunks(map(chunk, range(10)))
        self.metrics = RunMetrics(self.config, lambda: self.now)
        self.telemetry.count(0, 0, self.now)
        self.held: dict[str, list[Lease]] = {}

    def join(self, *replicas: str, loading: int = 0) -> None:
        for replica in replicas:
            self.dispatcher.join(replica, self.now)
            self.telemetry.joined(replica, f"pod-of-{replica}")
            self.held[replica] = []
        self.telemetry.count(loading, len(self.held), self.now)

    def leave(self, replica: str, departure: Departure = Departure.CRASHED) -> None:
        del self.held[replica]
        self.telemetry.left(replica, departure, work=True)
        self.dispatcher.leave(replica, departure, self.now)
        self.telemetry.count(0, len(self.held), self.now)

    def report(self, replica: str, *, wants: int = 0, **fields: Any) -> None:
        report = Report(wants=wants, **fields)
        self.telemetry.answered(replica, report)
        self.held[replica] += self.dispatcher.report(replica, report, self.now).leases

    def show(self, phase: Phase = Phase.RUNNING, *, busy: bool = True, degraded: str | None = None) -> None:
        progress = self.dispatcher.progress(self.now)
        telemetry = self.telemetry.snapshot(self.now, self.store, progress.replicas)
        self.metrics.update(View(phase, "", progress if busy else None, degraded=degraded, telemetry=telemetry))

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """All of the driver's own series; labels without the run's."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for sample in samples(expose(self.metrics)):
            if sample.name.startswith("evalrun_"):
                labels = dict(sample.labels)
                assert (labels.pop("run_namespace"), labels.pop("run")) == ("team", label_value(self.config.name))
                key = sample.name, tuple(sorted(labels.items()))
                assert key not in found, "a series twice"
                found[key] = sample.value
        return found

    def value(self, exported: Metric | str, /, **labels: str) -> float | None:
        name = exported if isinstance(exported, str) else exported.name
        return self.scrape().get((name, tuple(sorted(labels.items()))))

    def by(self, metric: Metric, label: str) -> dict[str, float]:
        """The values of a metric by one of its labels."""
        return {dict(labels)[label]: value for (name, labels), value in self.scrape().items() if name == metric.name}


def expose(metrics: RunMetrics, accept: str = "") -> str:
    """The text of one scrape."""
    encode, _ = choose_encoder(accept)
    return encode(metrics.registry).decode()


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def busy() -> Scene:
    """Something of everything that there is to be told."""
    scene = Scene()
    scene.dispatcher.planning_done()
    scene.join("a", "b", "c", loading=1)
    scene.now += 10
    scene.report("a", wants=30, tokens=1_000, telemetry=told(1))
    scene.report("b", wants=20, tokens=500, telemetry=told(2))
    scene.report("c", wants=10)
    first, second = scene.held["a"][:2]
    scene.now += 10
    scene.report("a", tokens=2_000, telemetry=told(3), committed=(committed(first), committed(second, ok=7, failed=3)))
    scene.report("b", committed=(committed(first),), tokens=500, telemetry=told(2))  # late: it was a's already
    scene.leave("c", Departure.LOST)
    scene.show(degraded="503")
    return scene


def test_a_busy_run_exports_the_catalogue_and_nothing_else() -> None:
    scene = busy()
    families = {family.name: family for family in scene.metrics.collect()}
    by_name = {metric.family().name: metric for metric in EXPORTED}
    assert families.keys() == by_name.keys()
    for name, metric in by_name.items():
        family = families[name]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        for sample in family.samples:
            labels = sample.labels.keys() - ({"le"} if sample.name.endswith("_bucket") else set())
            assert labels == set(metric.labels), metric.name
            assert sample.name in metric.series
        assert {sample.name for sample in family.samples} == set(metric.series), metric.name


def test_process_metrics_are_exported_too() -> None:
    names = {sample.name for sample in samples(expose(busy().metrics))}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names


def test_a_busy_runs_numbers() -> None:
    scene = busy()
    assert scene.by(driver.DRIVER_INFO, "attempt") == {"2": 1}
    assert scene.by(driver.DRIVER_PHASE, "phase") == {"Running": 1}
    items = scene.by(driver.ITEMS, "status")
    assert items == {"ok": 17, "failed": 3, "quarantined": 0, "leased": 30, "waiting": 50, "skipped": 0}
    assert sum(items.values()) == scene.value(driver.ITEMS_PLANNED) == 100
    assert scene.by(driver.ITEMS_COMMITTED, "status") == {"ok": 17, "failed": 3, "quarantined": 0}
    answers = scene.by(driver.ANSWERS, "answer")
    assert answers == {"complete": 17, "truncated": 0, "refused": 0, "filtered": 0, "empty": 0}
    assert scene.by(driver.CHUNKS, "state") == {"waiting": 5, "leased": 3, "suspect": 0, "committed": 2, "skipped": 0}
    assert scene.value(driver.CHUNKS_COMMITTED) == 2
    assert scene.value(driver.CHUNKS_DUPLICATE) == 1
    assert scene.value(driver.ITEMS_REDONE) == 10, "what c held"
    assert scene.value(driver.ITEMS_ALLOWED) == 7
    assert scene.value(driver.PLANNING_DONE) == 1
    assert scene.value(driver.PROMPT_TOKENS) == 200
    assert scene.value(driver.GENERATED_TOKENS) == 100
    assert scene.value(driver.ENGINE_TOKENS) == 2_500
    assert scene.value("evalrun_commit_seconds_count") == 2
    assert scene.value("evalrun_commit_seconds_bucket", le="0.1") == 0
    assert scene.value("evalrun_commit_seconds_bucket", le="0.25") == 2
    assert scene.value("evalrun_request_seconds_bucket", le="0.05") == 5
    assert scene.value("evalrun_request_seconds_bucket", le="600.0") == 5
    assert scene.value("evalrun_request_seconds_bucket", le="+Inf") == 7
    assert scene.value("evalrun_request_seconds_sum") == 7.5
    assert scene.value(driver.STORE_DEGRADED) == 1
    eta = scene.value(driver.ETA)
    assert eta is not None and eta > 0


def test_replicas_are_reported_by_slot_and_in_total() -> None:
    scene = busy()
    assert scene.by(driver.REPLICAS, "state") == {"loading": 0, "ready": 2}
    assert scene.value(driver.REPLICAS_WANTED) == 3
    assert scene.by(driver.DEPARTURES, "cause") == {"crashed": 0, "hung": 0, "lost": 1, "drained": 0}
    assert scene.by(driver.REPLICA_INFO, "name") == {"a": 1, "b": 1}
    assert scene.by(driver.REPLICA_INFO, "host") == {"pod-of-a": 1, "pod-of-b": 1}
    assert scene.value(driver.REPLICA_REQUESTS, replica="0", state="running") == 5
    assert scene.value(driver.REPLICA_REQUESTS, replica="1", state="waiting") == 7
    assert scene.by(driver.REPLICA_CACHE, "replica") == {"0": 0.25, "1": 0.25}
    assert scene.by(driver.REPLICA_LEASED, "replica") == {"0": 10, "1": 20}
    assert scene.by(driver.REPLICA_ITEMS, "replica") == {"0": 20, "1": 0, "2": 0}
    assert scene.by(driver.REPLICA_TOKENS, "replica") == {"0": 2_000, "1": 500, "2": 0}
    assert scene.value(driver.PREFIX_QUERIED) == 50
    assert scene.value(driver.PREFIX_HIT) == 20
    assert scene.value(driver.PREEMPTIONS) == 5


def test_the_store_is_reported_by_side_starting_at_zero() -> None:
    scene = busy()
    assert scene.value(driver.STORE_REQUESTS, side="driver", operation="put") == 2
    assert scene.value(driver.STORE_REQUESTS, side="driver", operation="create") == 0
    assert scene.value(driver.STORE_REQUESTS, side="replica", operation="get") == 15
    assert scene.value(driver.STORE_RETRIES, side="driver", reason="full") == 1
    assert scene.value(driver.STORE_RETRIES, side="replica", reason="unavailable") == 5
    assert scene.value(driver.STORE_RETRIES, side="replica", reason="denied") == 0
    assert scene.value(driver.STORE_WAIT, side="driver") == 3
    assert scene.value(driver.STORE_WAIT, side="replica") == 2.5


def test_running_scores_are_means_over_the_answers_so_far() -> None:
    scene = busy()
    score = {"model": "llama", "task": "t", "metric": "acc", "filter": "none", "final": "false", "better": "higher"}
    assert scene.value(scores.SCORE, **score) == 0.75
    assert scene.value(scores.SCORE_ITEMS, **score) == 16
    # lm-eval's: the sample's deviation by the root of n; of 12 ones and 4 zeros.
    assert scene.value(scores.SCORE_STDERR, **score) == pytest.approx((0.1875 * 16 / 15 / 16) ** 0.5)
    loss = score | {"metric": "loss", "better": "lower"}
    assert scene.value(scores.SCORE, **loss) == 2.0
    assert "bleu" not in scene.by(scores.SCORE, "metric"), "it is no mean"
    assert scene.by(driver.SERIES_DROPPED, "of") == {"replicas": 0, "scores": 0}


def test_one_answer_has_no_standard_error() -> None:
    scene = Scene()
    scene.telemetry.kept({"t": {("acc", "none"): MeanTally(1, 1.0, 1.0)}})
    scene.show()
    assert scene.by(scores.SCORE, "metric") == {"acc": 1}
    assert scene.by(scores.SCORE_STDERR, "metric") == {}


def test_items_and_replicas_are_unknown_before_the_plan() -> None:
    scene = Scene()
    names = {name for name, _ in scene.scrape()}
    assert names == {
        metric.name
        for metric in (
            driver.DRIVER_INFO,
            driver.DRIVER_PHASE,
            driver.ITEMS_ALLOWED,
            driver.REPLICAS_WANTED,
            driver.STORE_DEGRADED,
        )
    }
    assert scene.by(driver.DRIVER_PHASE, "phase") == {"Starting": 1}


def test_counters_of_a_run_begin_at_zero_and_not_with_their_first_increase() -> None:
    scene = Scene()
    scene.join("a")
    scene.show()
    there = {name for name, _ in scene.scrape()}
    assert {metric.name for metric in EXPORTED if metric.kind is MetricType.COUNTER} <= there
    assert {"evalrun_commit_seconds_count", "evalrun_request_seconds_count"} <= there


def test_the_last_values_stay_until_the_process_ends() -> None:
    scene = busy()
    scene.now += 5
    scene.telemetry.ended(scene.now)
    scene.show(Phase.FINISHING, busy=False)
    assert scene.by(driver.DRIVER_PHASE, "phase") == {"Finishing": 1}
    assert scene.by(driver.ITEMS, "status")["ok"] == 17
    assert scene.by(driver.REPLICAS, "state") == {"loading": 0, "ready": 0}
    assert scene.by(driver.REPLICA_INFO, "name") == {}
    assert scene.by(driver.REPLICA_TOKENS, "replica") == {"0": 2_000, "1": 500, "2": 0}
    assert scene.value(driver.ENGINE_TOKENS) == 2_500
    assert scene.value(driver.PREFIX_HIT) == 20
    assert scene.value(driver.ETA) is None
    seconds = scene.by(driver.REPLICA_SECONDS, "state")
    # Three were there for 20 s, beside one that loaded; two of them 5 s more.
    assert seconds == {"loading": 20.0, "ready": 70.0}
    assert scene.by(driver.GPU_SECONDS, "state") == {"loading": 80.0, "ready": 280.0}
    scene.now += 1_000
    assert scene.by(driver.REPLICA_SECONDS, "state") == seconds


def test_time_passes_between_scrapes_without_new_views() -> None:
    scene = Scene()
    scene.join("a", "b")
    scene.show(Phase.FINISHING, busy=False)
    scene.now += 30
    assert scene.by(driver.REPLICA_SECONDS, "state") == {"loading": 0.0, "ready": 60.0}


def test_seconds_do_not_fall_when_a_replica_departed_before_the_next_view() -> None:
    scene = Scene()
    scene.join("a", "b")
    scene.show()
    scene.now += 1.0
    scene.telemetry.count(0, 0, scene.now)  # both are lost, and nobody has been told so yet
    scene.now += 0.2
    assert scene.by(driver.REPLICA_SECONDS, "state")["ready"] == pytest.approx(2.4)
    scene.show()
    assert scene.by(driver.REPLICA_SECONDS, "state")["ready"] == pytest.approx(2.4), "not back to 2.0"


def counters(scene: Scene) -> Mapping[Any, float]:
    names = {name for metric in EXPORTED if metric.kind is not MetricType.GAUGE for name in metric.series}
    return {key: value for key, value in scene.scrape().items() if key[0] in names}


class Life:
    """What happens to a scene; a number says to whom, or how much."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.joined = 0
        self.done: dict[str, int] = {}

    def join(self, number: int) -> None:
        if len(self.done) < 3:
            self.joined += 1
            self.done[f"r{self.joined}"] = 0
            self.scene.join(f"r{self.joined}", loading=number % 2)

    def leave(self, number: int) -> None:
        if self.done:
            replica = [*self.done][number % len(self.done)]
            del self.done[replica]
            self.scene.leave(replica)

    def work(self, number: int) -> None:
        for replica in self.done:
            self.done[replica] += number
            done, leases = self.done[replica], self.scene.held[replica]
            commits = (committed(leases.pop()),) if leases else ()
            self.scene.report(replica, wants=number, tokens=done, telemetry=told(done), committed=commits)

    def show(self, number: int) -> None:
        self.scene.show(busy=bool(number % 2))

    def wait(self, number: int) -> None:
        self.scene.now += number / 10


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "work", "show", "wait"]), st.integers(0, 30)), max_size=25))
@settings(max_examples=60, deadline=None)
def test_no_counter_falls_between_scrapes_as_replicas_come_and_go(steps: list[tuple[str, int]]) -> None:
    life = Life()
    life.scene.show()
    before = counters(life.scene)
    for what, number in steps:
        getattr(life, what)(number)
        now = counters(life.scene)
        assert before.keys() <= now.keys()
        assert all(before[key] <= now[key] for key in before)
        before = now


def test_scores_are_limited_and_dropped_ones_are_counted() -> None:
    running = {f"task{number}": {"acc": "higher", "f1": "higher"} for number in range(MOST_SCORES)}
    scene = Scene(running=running)
    tallies = {("f1", "none"): MeanTally(2, 1.0, 1.0), ("acc", "none"): MeanTally(2, 1.0, 1.0)}
    for number in reversed(range(MOST_SCORES)):
        scene.telemetry.kept({f"task{number}": tallies})
    scene.show()
    shown = [labels for name, labels in scene.scrape() if name == scores.SCORE.name]
    assert len(shown) == MOST_SCORES
    assert {dict(labels)["task"] for labels in shown} == {f"task{number}" for number in range(MOST_SCORES // 2)}
    assert scene.by(driver.SERIES_DROPPED, "of") == {"replicas": 0, "scores": MOST_SCORES}


def test_slots_beyond_the_limit_have_no_series_and_are_counted() -> None:
    scene = Scene()
    scene.join(*(f"r{number}" for number in range(MOST_SLOTS + 5)))
    scene.show()
    for metric in (driver.REPLICA_INFO, driver.REPLICA_ITEMS):
        assert {int(slot) for slot in scene.by(metric, "replica")} == set(range(MOST_SLOTS))
    assert scene.by(driver.SERIES_DROPPED, "of") == {"replicas": 5, "scores": 0}
    assert scene.by(driver.REPLICAS, "state") == {"loading": 0, "ready": MOST_SLOTS + 5}


NAMES = st.text(alphabet=st.characters(codec=None), min_size=1, max_size=300)
NASTY = 'a"} 1\n# TYPE x counter\nx{y="\\\r\u2028\ud800🦙'


@given(NAMES, NAMES, NAMES, NAMES, NAMES)
@settings(max_examples=50, deadline=None)
def test_no_name_breaks_the_exposition(run: str, model: str, task: str, metric: str, filter_name: str) -> None:
    scene = Scene(config(run, model), {task: {metric: "higher"}, f"{task}\n": {metric: "higher"}})
    for name in (task, f"{task}\n"):
        scene.telemetry.kept(
            {name: {(metric, filter_name): MeanTally(4, 3.0, 3.0), (metric, NASTY): MeanTally(4, 3.0, 3.0)}}
        )
    scene.show()
    plain, opened = expose(scene.metrics), expose(scene.metrics, OPEN_METRICS)
    for families in (text_string_to_metric_families(plain), open_metrics_families(opened)):
        told = [sample for family in families for sample in family.samples]
        shown = {tuple(s.labels[name] for name in scores.SCORE.labels) for s in told if s.name == scores.SCORE.name}
        expected = (label_value(run), label_value(model), label_value(task), label_value(metric))
        assert {labels[1:5] for labels in shown} >= {expected}
        assert {labels[5] for labels in shown if labels[3] == label_value(task)} == {
            label_value(filter_name),
            label_value(NASTY),
        }
        keys = [(sample.name, json.dumps(sample.labels, sort_keys=True)) for sample in told]
        assert len(keys) == len(set(keys)), "a series twice"
        assert {sample.name for sample in told} >= {driver.SERIES_DROPPED.name, "evalrun_driver_info"}


def test_names_that_are_truncated_to_the_same_one_are_reported_once() -> None:
    long = "x" * 400
    scene = Scene(running={f"{long}1": {"acc": "higher"}, f"{long}2": {"acc": "higher"}})
    for number in (1, 2):
        scene.telemetry.kept({f"{long}{number}": {("acc", "none"): MeanTally(number + 1, 1.0, 1.0)}})
    scene.show()
    assert list(scene.by(scores.SCORE_ITEMS, "metric").values()) == [2]
    assert scene.by(driver.SERIES_DROPPED, "of")["scores"] == 1
