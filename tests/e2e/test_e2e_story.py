"""One run that loses each of its parts in turn and ends like an undisturbed run, while a Prometheus scrapes it."""

from __future__ import annotations

import pytest

from evalrun_api.metrics import driver, operator, scores
from evalrun_api.wire.pods import Component
from support.e2e import ITEMS, NAMESPACE, Platform, Run
from support.watched import Watched

pytestmark = [pytest.mark.story, pytest.mark.timeout(600)]

SURVIVOR = "survivor"
MARK = "tests/survivor"
"""Label of the node on which the replicas are placed."""


@pytest.fixture(scope="module")
def survivor(platform: Platform, undisturbed: Run, scraped: Watched) -> Run:
    """Provide the finished run. The undisturbed run is finished before it starts, because both are compared."""
    assert undisturbed.status["phase"] == "Succeeded"
    node = platform.node_to_lose()
    platform.cluster.kubectl("label", "node", node.name, f"{MARK}=yes", "--overwrite")
    platform.cluster.kubectl("cordon", node.name)
    run = platform.run(SURVIVOR, seconds=70, node_selector={MARK: "yes"})
    run.until(lambda: run.running(Component.DRIVER), "a driver on another node")
    node.uncordon()

    run.until_items(60)
    run.kill(Component.REPLICA)
    scraped.say("a replica is killed")

    run.until_items(140)
    leader, pod = platform.leader_identity(), platform.leader()
    assert pod is not None
    platform.cluster.node(pod["spec"]["nodeName"]).kill_container(pod)
    scraped.say("the operator that leads is killed")
    run.until(lambda: platform.leader_identity() not in {"", leader}, "another operator to lead", 25)
    scraped.say("another operator leads")

    run.until_items(220)
    committed = run.committed()
    node.crash()
    scraped.say(f"{node.name}, with both replicas, has lost its power")
    node.wait_lost(60)
    node.boot()
    run.until_items(ITEMS // 2)
    scraped.say(f"{node.name} is back, and so are replicas")

    run.kill(Component.DRIVER)
    run.until(lambda: run.status.get("attempt") == 2, "a second attempt", 60)
    assert committed.items() <= run.committed().items(), "what is committed stays as it is"

    run.until(lambda: (found := run.progress()) is not None and found.replicas_ready == 2, "two replicas")
    assert run.until_phase("Running", "Succeeded")["phase"] == "Running", "the upgrade must happen during the run"
    pods = run.pod_uids()
    # As with a new version: another operator, and other pods for the runs that it starts.
    platform.upgrade(**{"operator.podAnnotations.version": "story", "runner.pods.labels.made-by": "story"})
    platform.operator_ready()
    scraped.say("the operator is upgraded")
    run.ended_well()
    scraped.say("the run has ended")
    assert run.pod_uids() == pods, "pods of a run are not replaced by an upgrade"
    return run


def test_only_the_drivers_death_is_charged(survivor: Run) -> None:
    status = survivor.status
    assert (status["attempt"], status["chargedAttempts"]) == (2, 1)
    # I4: committed items are not asked again.
    assert status["work"]["kept"] >= ITEMS // 2


def test_the_scores_equal_those_of_an_undisturbed_run(survivor: Run, undisturbed: Run) -> None:
    survivor.is_as(undisturbed)


@pytest.mark.parametrize("name", ["undisturbed", SURVIVOR])
def test_prometheus_has_the_final_scores_and_items(scraped: Watched, survivor: Run, name: str) -> None:
    run = scraped.run(name)
    which = f'run_namespace="{NAMESPACE}",run="{name}"'
    final = scraped.prometheus.wait_for_series(f'{scores.SCORE.name}{{final="true",{which}}}')
    told = {(one.labels["task"], one.labels["metric"], one.labels["filter"]): one.value for one in final}
    assert told == {(one["task"], one["metric"], one["filter"]): one["value"] for one in run.status["scores"]}
    items = scraped.prometheus.query(f"{operator.RUN_ITEMS.name}{{{which}}}")
    assert {one.labels["status"]: one.value for one in items} == {
        "ok": ITEMS,
        "failed": 0,
        "quarantined": 0,
        "skipped": 0,
    }


def test_prometheus_saw_the_run_and_its_losses(scraped: Watched, survivor: Run) -> None:
    of_run = f'{{run="{SURVIVOR}"}}'
    assert scraped.ever("max", driver.ITEMS_PLANNED.name + of_run) == ITEMS
    causes = {
        one.labels["cause"]
        for one in scraped.prometheus.query(f"last_over_time({driver.DEPARTURES.name}{of_run}[{scraped.seconds}s]) > 0")
    }
    assert causes & {"crashed", "lost"}
    assert scraped.ever("max", operator.RUN_ATTEMPT.name + of_run) == 2


def test_every_rule_of_the_chart_is_evaluated_without_an_error(scraped: Watched, survivor: Run) -> None:
    found = scraped.prometheus.rules()
    assert found
    assert {(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"} == set()
