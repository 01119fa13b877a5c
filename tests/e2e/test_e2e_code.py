"""Hostile programs in a run on the cluster: none passes, and pods, runs and nodes go on as if there were none."""

from __future__ import annotations

import json

import pytest

from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, USE, Platform
from support.hostile import HOSTILE, TASK, rows

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hostile_suite(platform: Platform) -> str:
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "hostile.jsonl"}},
        "test_split": "test",
    }
    files = {
        "hostile.yaml": json.dumps({"task": "hostile", **data, **TASK}),
        "hostile.jsonl": "".join(json.dumps(row) + "\n" for row in rows()),
    }
    suite = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hostile", "labels": USE}, "data": files}
    platform.cluster.apply(json.dumps(suite), NAMESPACE)
    return "hostile"


def test_hostile_programs_harm_nothing_but_their_score(platform: Platform, hostile_suite: str) -> None:
    benchmark = {"task": "hostile", "source": {"configMap": {"name": hostile_suite}}, "allowCode": True}
    run = platform.run("hostile", count=1, benchmarks=[benchmark])
    status = run.ended_well(items=2 * len(HOSTILE), task="hostile")
    results = run.results()
    assert results["results"]["hostile"]["pass@1,planted"] == 0.5
    ends = results["evalrun"]["tasks"]["hostile"]["executions"]
    assert ends["passed"] == len(HOSTILE)
    assert sum(ends.values()) == 2 * len(HOSTILE)
    # No attempt and no pod was lost to them.
    assert status["attempt"] == 1
    for pod in run.pods(Component.REPLICA, over=True):
        (container,) = pod["status"]["containerStatuses"]
        assert container["restartCount"] == 0
        assert container["state"]["terminated"]["exitCode"] == 0


def test_code_without_consent_is_refused_before_a_replica_exists(platform: Platform, hostile_suite: str) -> None:
    benchmark = {"task": "hostile", "source": {"configMap": {"name": hostile_suite}}}
    run = platform.run("no-consent", count=1, benchmarks=[benchmark])
    run.until_phase("Invalid", "Failed", "Succeeded", seconds=240)
    happened, reason, message = run.condition("Failed")
    assert (happened, reason) == ("True", "TaskInvalid"), message
    assert "allowCode" in message
    assert not run.pods(Component.REPLICA, over=True)
