"""README's example on a real cluster: a real model on two replicas, a real S3, from apply to Complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from evalrun_api.metrics import driver, scores
from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, ROOT, Object, Platform, Run, documented
from support.watched import Watched

pytestmark = pytest.mark.timeout(900)

MODEL = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun/models/smollm2-135m-instruct"
EXAMPLE = ROOT / "examples" / "kubernetes" / "quickstart.yaml"
EVALRUN = Path(sys.executable).with_name("evalrun")


@dataclass(frozen=True)
class Quickstart:
    """The example, run by the commands of docs/kubernetes.md."""

    run: Run
    seconds: float
    """From apply to Complete."""
    children: list[tuple[str, Object]]
    """Kind and body of what the driver's pod mounts and is found by, which a finished run no longer has."""


@pytest.fixture(scope="module")
def quickstart(platform: Platform, scraped: Watched) -> Quickstart:
    """Run the example to its end."""
    platform.seaweed.put_folder(MODEL, "checkpoints", MODEL.name)
    run = Run(platform, "quickstart")
    started = time.monotonic()
    apply, *rest = documented("kubectl apply")
    platform.shell(apply)
    platform.cluster.wait_for(lambda: found(platform, run, "Job"), 60, "the driver's Job", NAMESPACE)
    children = found(platform, run, "Secret", "ConfigMap", "Service")
    for command in rest:
        platform.shell(command)
    return Quickstart(run, time.monotonic() - started, children)


def found(platform: Platform, run: Run, *kinds: str) -> list[tuple[str, Object]]:
    """List the run's objects of these kinds, each with its kind."""
    selector = f"evalrun.dev/run={run.uid}"
    return [(kind, body) for kind in kinds for body in platform.cluster.api.list(kind, NAMESPACE, selector)]


@pytest.mark.story
def test_the_example_completes_and_kubectl_shows_its_state(quickstart: Quickstart, platform: Platform) -> None:
    run = quickstart.run
    run.until_no_gpu_pods(30)
    assert len(run.pods(Component.REPLICA, over=True)) == 2
    header, line = platform.cluster.kubectl("-n", NAMESPACE, "get", "evr", "quickstart").splitlines()
    print(f"\n{header}\n{line}")
    words = line.split()
    assert words[:4] == ["quickstart", "Succeeded", "smollm2-135m-instruct", "200/200"]
    assert words[5] == "Passed"


@pytest.mark.story
def test_scores_in_the_status_equal_those_in_the_bucket(quickstart: Quickstart) -> None:
    run = quickstart.run
    results = run.results()["results"]
    scores = run.status["scores"]
    assert len(scores) == 3
    for score in scores:
        entry = results[score["task"]]
        assert score["value"] == entry[f"{score['metric']},{score['filter']}"]
        assert score["stderr"] == entry[f"{score['metric']}_stderr,{score['filter']}"]


@pytest.mark.story
def test_prometheus_has_the_scores_of_a_real_model(quickstart: Quickstart, scraped: Watched) -> None:
    run = quickstart.run
    which = f'{scores.SCORE.name}{{final="true",run_namespace="{NAMESPACE}",run="{run.name}"}}'
    final = scraped.prometheus.wait_for_series(which)
    told = {(one.labels["task"], one.labels["metric"], one.labels["filter"]): one.value for one in final}
    assert told == {(one["task"], one["metric"], one["filter"]): one["value"] for one in run.status["scores"]}
    generated = f'sum(last_over_time({driver.GENERATED_TOKENS.name}{{run="{run.name}"}}[{scraped.seconds}s]))'
    assert scraped.prometheus.one(generated) > 0


def test_scores_equal_those_of_a_local_run(quickstart: Quickstart, tmp_path: Path) -> None:
    """Run the same file on this machine; only what a cluster provides is replaced, not the requests."""
    run = quickstart.run
    document = yaml.safe_load(EXAMPLE.read_text())
    document["spec"]["model"] = {"name": document["spec"]["model"]["name"], "uri": MODEL.as_uri()}
    document["spec"]["replicas"] = {"count": 1}
    for benchmark in document["spec"]["benchmarks"]:
        benchmark["source"] = {"path": str(ROOT / "examples" / "suites" / "quickstart")}
    document["spec"]["output"] = {"uri": str(tmp_path / "results")}
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(document))
    done = subprocess.run([EVALRUN, "run", file, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    local = {(one["task"], one["metric"], one["filter"]): one for one in json.loads(done.stdout)["scores"]}
    there = {(one["task"], one["metric"], one["filter"]): one for one in run.status["scores"]}
    assert there == local


def test_the_operator_adds_little_time_to_a_run(quickstart: Quickstart, platform: Platform) -> None:
    """Compare the time from apply to Complete with that of the same Jobs, written by hand and applied all at once."""
    operated = quickstart.seconds
    objects = by_hand(platform, quickstart)
    started = time.monotonic()
    for body in objects:
        platform.cluster.api.create(body, NAMESPACE)

    def complete() -> bool:
        conditions = platform.cluster.api.get("jobs", "by-hand-driver", NAMESPACE)["status"].get("conditions", [])
        return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)

    platform.cluster.wait_for(complete, 600, "the Jobs made by hand", NAMESPACE)
    manual = time.monotonic() - started
    print(f"\nfrom apply to Complete: {operated:.1f} s with the operator, {manual:.1f} s with Jobs written by hand")
    # The printed value is the measurement. One pair on busy cores is too noisy to assert the goal of 5 s (seen: 4.4 s,
    # and 42 s while other work ran beside the first of the two): the assertion only catches a gross regression.
    assert operated - manual < 5 + 0.6 * manual


def by_hand(platform: Platform, quickstart: Quickstart) -> list[Object]:
    """Copy the run's objects under other names and for another folder of results, without an owner."""
    run = quickstart.run
    own = [*quickstart.children, *found(platform, run, "Job")]
    names = {body["metadata"]["name"]: new_name(kind, body["metadata"]["name"]) for kind, body in own}
    text = json.dumps([clean(kind, body) for kind, body in own])
    # The longest first, because the others contain the Service's name.
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    text = text.replace(f"quickstart-{run.uid[:8]}", "by-hand-results").replace(run.uid, "0" * 36)
    objects: list[Object] = json.loads(text)
    return objects


def new_name(kind: str, name: str) -> str:
    return f"by-hand-{name.rpartition('-')[2]}" if kind == "Job" else f"by-hand-{kind.lower()}"


def clean(kind: str, body: Object) -> Object:
    """Keep what a person would have written."""
    meta, spec = body["metadata"], body.get("spec", {})
    for field in ("clusterIPs", "suspend", *(["selector"] if kind == "Job" else [])):
        spec.pop(field, None)
    if kind == "Job":
        labels = spec["template"]["metadata"]["labels"]
        spec["template"]["metadata"]["labels"] = {
            name: value for name, value in labels.items() if "job-name" not in name and "controller-uid" not in name
        }
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "v1",
        "kind": kind,
        "metadata": {"name": meta["name"], "labels": meta["labels"]},
        **({"spec": spec} if spec else {}),
        **{field: body[field] for field in ("data", "type") if field in body},
    }
