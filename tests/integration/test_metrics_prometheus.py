"""What driver and operator export, as a real Prometheus reads it: every metric, its labels, names that mean harm."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.prometheus_api import Value
from evalrun_api import Counts, GateResult, Phase, Reason, RunResult, Score, Verdict
from evalrun_api.metrics import ALL, Metric, MetricType, Source, driver, operator, scores
from evalrun_api.status.outcomes import ScoreInterval
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.store.directory import DirectoryStore
from support.operator_scene import Scene, with_evalruns
from support.prometheus import Prometheus, promtool, scrape
from support.runs import Ground, Run, make_ground, write_run, write_suite

pytestmark = pytest.mark.slow

WILD_TASK = "s\"um\\s{run='x'}=1}é日本\N{ZERO WIDTH JOINER}#"
"""A task's name may have everything but spaces, slashes and commas; a quote that stays open would end a label."""
WILD_FILTER = 'num"ber\\\nevalrun_score{run="other"} 1\n# EOF'
"""A filter's name may have everything: this one tries to end the line and to add a series, and the page."""
WILD_MODEL = 's3://models/we"ird\\{name="x"}\N{SNOWMAN}'


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


def labels_of(metric: Metric, series: str) -> set[str]:
    """Those that a scraped series has to have."""
    return {*metric.labels, "instance", "job", *(["le"] if series.endswith("_bucket") else [])}


def check_catalogue(prometheus: Prometheus, source: Source, may_lack: set[Metric]) -> None:
    """Prometheus has what this source exports by the catalogue, with its labels, and nothing else of ours."""
    promised = {metric for metric in ALL if metric.source in (source, Source.BOTH)}
    names = {metric: set(metric.series) for metric in promised}
    there = set(prometheus.label_values("__name__", '{__name__=~"evalrun_.*"}'))
    lacking = set().union(*names.values()) - there
    assert there <= set().union(*names.values())
    assert lacking <= {series for metric in may_lack for series in names[metric]}
    for metric in promised:
        for series in names[metric] - lacking:
            found = prometheus.query(series)
            assert found, f"{series} is stale"
            for labels, _ in found:
                assert labels.keys() - {"__name__"} == labels_of(metric, series), series
        if not names[metric] & lacking:
            # OpenMetrics names a counter's family without its ending.
            family = metric.name.removesuffix("_total") if metric.kind is MetricType.COUNTER else metric.name
            (said,) = prometheus.metadata(family) or prometheus.metadata(metric.name)
            assert (said["type"], said["help"]) == (metric.kind.value, metric.help)


def quoted(text: str) -> str:
    """A string of PromQL's, as a dashboard's variable or an alert's template writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def check_asked_by_name(prometheus: Prometheus, score: Value) -> None:
    """A series is found by what its labels say."""
    matchers = ",".join(f"{label}={quoted(value)}" for label, value in score.labels.items() if label != "__name__")
    assert prometheus.query(f"{scores.SCORE.name}{{{matchers}}}") == [score]


def test_a_driver_exports_the_catalogue_and_its_numbers_match_the_ledger(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    arguments = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed(), Run(tmp_path, arguments) as run:
        ground.reached(run)
        with Prometheus(tmp_path / "prometheus", scrape("driver", run.url.removeprefix("http://"))) as prometheus:
            here = '{run_namespace="default",run="faults"}'
            prometheus.wait_for_series(driver.ETA.name + here)
            check_catalogue(prometheus, Source.DRIVER, may_lack=set())
            promtool("check", "metrics", stdin=run.get("/metrics"))

            def total(metric: Metric, **labels: str) -> float:
                matchers = ",".join(f'{label}="{value}"' for label, value in labels.items())
                return prometheus.one(f"sum({metric.name}{{{matchers}}})")

            # The run stands still at the gate: all numbers are of one moment.
            assert total(driver.ITEMS_PLANNED) == ground.planned == total(driver.ITEMS)
            assert total(driver.ITEMS, status="ok") == ground.free_items
            assert total(driver.ITEMS, status="leased") == ground.held_items
            assert total(driver.ITEMS_COMMITTED, status="ok") == ground.free_items
            assert total(driver.REPLICA_ITEMS) == ground.free_items
            # What is held for long may be leased to the other replica as well.
            assert ground.held_items <= total(driver.REPLICA_LEASED) <= 2 * ground.held_items
            assert total(driver.REPLICAS, state="ready") == total(driver.REPLICAS_WANTED) == 2
            assert total(driver.CHUNKS, state="leased") == ground.held_chunks
            ledger = Ledger(DirectoryStore(output))
            chunks = [
                chunk
                for task in ("choices", "sums")
                for chunk in ledger.read_segment(task, 0).chunks
                if (chunk.task, chunk.number) in ledger.committed_parts()
            ]
            rows = [row for chunk in chunks for row in ledger.read_part(chunk).rows]
            responses = [one for row in rows for repeats in row.outcome.responses for one in repeats]
            assert total(driver.CHUNKS_COMMITTED) == total(driver.CHUNKS, state="committed") == len(chunks)
            assert total(driver.ITEMS_COMMITTED) == len(rows)
            assert total(driver.PROMPT_TOKENS) == sum(one.prompt_tokens for one in responses)
            assert total(driver.GENERATED_TOKENS) == sum(one.output_tokens for one in responses)
            assert prometheus.one(f"{driver.COMMIT_SECONDS.name}_count") == len(chunks)
            assert prometheus.one(f"{driver.REQUEST_SECONDS.name}_count") >= len(rows)
            (info,) = prometheus.query(driver.DRIVER_INFO.name)
            assert (info.labels["engine"], info.labels["model"]) == ("mock", "mock")
            assert {one.labels["final"] for one in prometheus.query(scores.SCORE.name)} == {"false"}
            assert total(scores.SCORE_ITEMS) == len(rows)
        ground.open()
        assert run.ended() == 0, run.stderr


def test_malicious_names_are_plain_names_to_a_drivers_prometheus(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", [f"What is {n} and {n}?" for n in range(24)])
    gate = tmp_path / "gate"
    gate.touch()
    task = yaml.safe_load((suite / "sums.yaml").read_text())
    task["task"] = WILD_TASK
    task["filter_list"][0]["name"] = WILD_FILTER
    (suite / "sums.yaml").write_text(yaml.safe_dump(task))
    (suite / "sums.jsonl").write_text((suite / "sums.jsonl").read_text().replace("What is 23", f"[mock:hold:{gate}]"))
    file = write_run(
        tmp_path / "run.yaml",
        suite,
        benchmarks=[{"task": WILD_TASK, "source": {"path": str(suite)}}],
        model={"uri": WILD_MODEL},
    )
    with Run(tmp_path, ["run", file, "--port", "0"]) as run:
        run.until(lambda: run.progress().counts.ok, "the first items")
        with Prometheus(tmp_path / "prometheus", scrape("driver", run.url.removeprefix("http://"))) as prometheus:
            wild = {"task": WILD_TASK, "model": WILD_MODEL.rpartition("/")[2]}
            (score,) = prometheus.wait_for_series(scores.SCORE.name)
            assert wild.items() <= score.labels.items()
            assert score.labels["filter"] == WILD_FILTER.replace("\n", "_")
            assert score.labels["run"] == "faults"
            check_asked_by_name(prometheus, score)
            assert prometheus.one("up") == 1
            promtool("check", "metrics", stdin=run.get("/metrics"))
        gate.unlink()
        assert run.ended() == 0, run.stderr


def test_an_operator_exports_the_catalogue_whatever_the_names(control_plane: Cluster, tmp_path: Path) -> None:
    with_evalruns(control_plane).create_namespace("scraped")
    scene = Scene(control_plane, "scraped", tmp_path)
    named = {"task": WILD_TASK, "metric": "exact_match", "filter": WILD_FILTER}
    interval = ScoreInterval(low=0.4516, high=0.8464, confidence=0.95, method="wilson")
    result = RunResult(
        phase=Phase.SUCCEEDED,
        engine="mock",
        counts=Counts(planned=20, ok=20),
        scores=(Score(**named, value=0.6831, stderr=0.0128, interval=interval, n=20),),
        gates=(GateResult(**named, min=0.5, verdict=Verdict.PASSED, reason=Reason.GATES_PASSED),),
        results_uri="s3://evals/scraped/nightly-12345678/",
    )
    with scene.operator() as process:
        process.wait_ready()
        scene.apply(model={"uri": WILD_MODEL})
        scene.kubelet.driver_ends(result)
        scene.wait_phase(Phase.SUCCEEDED)
        scene.apply("waiting")
        scene.wait_phase(Phase.STARTING, "waiting")
        with Prometheus(tmp_path / "prometheus", scrape("operator", f"127.0.0.1:{process.metrics_port}")) as prometheus:
            (score,) = prometheus.wait_for_series(scores.SCORE.name)
            assert score.value == 0.6831
            assert score.labels["model"] == WILD_MODEL.rpartition("/")[2]
            assert score.labels["task"] == WILD_TASK
            assert score.labels["filter"] == WILD_FILTER.replace("\n", "_")
            assert score.labels["final"] == "true"
            check_asked_by_name(prometheus, score)
            (gate,) = prometheus.query(scores.GATE.name)
            assert (gate.labels["verdict"], gate.labels["task"]) == ("Passed", WILD_TASK)
            # Nothing went wrong, so that no kind of error has a series.
            check_catalogue(prometheus, Source.OPERATOR, may_lack={operator.RECONCILE_ERRORS})
            assert prometheus.one("up") == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{process.metrics_port}/metrics", timeout=10) as answer:
            promtool("check", "metrics", stdin=answer.read().decode())
