"""Faults of real parts: each run ends with every item exactly once and with the scores of an undisturbed run."""

from __future__ import annotations

import time

import pytest

from cluster.controlplane import API_SERVER
from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, Platform, Run

pytestmark = pytest.mark.timeout(600)


def test_killing_a_replica_and_then_the_driver_changes_no_score(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("killed", seconds=40)
    run.until_items(60)
    run.kill(Component.REPLICA)
    run.until_items(200)
    before = run.committed()
    run.kill(Component.DRIVER)
    run.until(lambda: run.status.get("attempt") == 2, "a second attempt", 60)
    status = run.ended_well()
    assert status["chargedAttempts"] == 1
    after = run.committed()
    assert before.items() <= after.items(), "what is committed stays as it is"
    # I4: committed items are not asked again.
    kept = status["work"]["kept"]
    assert kept >= 200
    run.is_as(undisturbed)


def test_deleting_the_drivers_pod_changes_no_score(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("driver-deleted", seconds=30)
    run.until_items(100)
    replicas = {pod["metadata"]["uid"] for pod in run.pods(Component.REPLICA)}
    platform.cluster.kubectl("-n", NAMESPACE, "delete", "pod", run.pod(Component.DRIVER)["metadata"]["name"])
    status = run.ended_well()
    assert (status["attempt"], status["chargedAttempts"]) == (1, 0), "a disruption is not charged"
    left = {pod["metadata"]["uid"] for pod in run.pods(Component.REPLICA, over=True)}
    assert replicas == left, "replicas wait for the new driver in the same pods"
    run.is_as(undisturbed)


def test_draining_a_node_changes_no_score(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("drained", seconds=40, count=3)
    run.until_items(60)
    node = run.node_of(run.pod(Component.REPLICA))
    try:
        node.drain(f"--pod-selector=evalrun.dev/run={run.uid}")
    finally:
        node.uncordon()
    status = run.ended_well()
    assert status["chargedAttempts"] == 0
    run.is_as(undisturbed)


def test_losing_all_replicas_for_a_while_changes_no_score(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("starved", seconds=30)
    run.until_items(100)
    nodes = platform.cluster.nodes
    for node in nodes:
        platform.cluster.kubectl("cordon", node.name)
    try:
        for pod in run.pods(Component.REPLICA):
            platform.cluster.api.delete("pods", pod["metadata"]["name"], NAMESPACE)
        run.until(lambda: run.condition("ReplicasReady")[:2] == ("False", "WaitingForReplicas"), "no replicas", 90)
        run.until(lambda: "Unschedulable" in run.condition("ReplicasReady")[2], "the reason in the message", 60)
        assert run.status["phase"] not in {"Failed", "Succeeded"}
    finally:
        for node in nodes:
            node.uncordon()
    assert run.ended_well()["chargedAttempts"] == 0
    run.is_as(undisturbed)


def test_suspend_and_resume_redo_nothing(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("suspended", seconds=30)
    run.until_items(150)
    run.patch(policy={"suspend": True})
    run.until_phase("Suspended")
    run.until(lambda: not run.pods(Component.REPLICA) and not run.pods(Component.DRIVER), "no pods", 60)
    before = run.committed()
    assert before
    run.patch(policy={"suspend": False})
    status = run.ended_well()
    assert (status["attempt"], status["chargedAttempts"]) == (2, 0)
    assert before.items() <= run.committed().items()
    assert status["work"]["kept"] >= 150
    run.is_as(undisturbed)


def test_the_number_of_replicas_changes_during_a_run(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("elastic", seconds=60, count=1)
    run.until_items(40)
    first = run.pod(Component.REPLICA)["metadata"]["uid"]
    run.patch(replicas={"count": 3})
    run.until(lambda: (found := run.progress()) is not None and found.replicas_ready == 3, "three replicas", 90)
    run.patch(replicas={"count": 1})
    run.until(lambda: len(run.pods(Component.REPLICA)) == 1, "one replica", 90)
    assert run.pod(Component.REPLICA)["metadata"]["uid"] == first
    status = run.ended_well()
    assert (status["attempt"], status["chargedAttempts"]) == (1, 0)
    run.is_as(undisturbed)


def test_a_run_ends_while_the_operator_is_down(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("unattended", seconds=15)
    run.until_items(60)
    platform.stop_operator()
    try:
        # I3: GPUs become free without the operator.
        run.until(run.ledger.is_complete, "COMPLETE", 120)
        run.until_no_gpu_pods(120)
        assert run.status["phase"] != "Succeeded"
    finally:
        platform.start_operator()
    run.ended_well()
    run.is_as(undisturbed)


def test_an_upgrade_of_the_operator_does_not_disturb_a_run(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("upgraded", seconds=25)
    run.until_items(60)
    pods = {pod["metadata"]["uid"] for kind in Component for pod in run.pods(kind)}
    # As with a new version: another operator, and other pods for the runs that it starts.
    platform.upgrade(**{"operator.podAnnotations.version": "next", "runner.pods.labels.made-by": "next"})
    platform.operator_ready()
    run.ended_well()
    assert {pod["metadata"]["uid"] for kind in Component for pod in run.pods(kind, over=True)} == pods
    run.is_as(undisturbed)


def test_a_run_continues_while_the_api_server_is_down(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("no-api-server", seconds=75)
    run.until_items(60)
    ledger, server = run.ledger, platform.cluster.parts[API_SERVER]
    before = len(list(ledger.committed_parts()))
    server.kill()
    away = time.monotonic()
    try:
        # The run continues: none of its pods uses the API server.
        platform.cluster.wait_for(
            lambda: len(list(ledger.committed_parts())) > before + 5 and time.monotonic() - away > 60,
            120,
            "commits without an API server",
        )
    finally:
        server.start()
        platform.cluster.wait_api()
    shown = run.status["progress"]["ok"]
    run.until(lambda: run.status["progress"]["ok"] > shown, "status to catch up", 60)
    assert run.ended_well()["attempt"] == 1
    run.is_as(undisturbed)


def test_deleting_a_run_in_progress_frees_everything(platform: Platform) -> None:
    run = platform.run("deleted", seconds=60)
    run.until_items(60)
    uid, ledger = run.uid, run.ledger
    platform.stop_operator()
    try:
        platform.cluster.kubectl("-n", NAMESPACE, "delete", "evr", "deleted", "--wait=true")
        asked = time.monotonic()
        gone = f"evalrun.dev/run={uid}"
        platform.cluster.wait_for(
            lambda: not platform.cluster.api.list("pods", NAMESPACE, gone), 120, "its pods to be gone", NAMESPACE
        )
        print(f"the pods of a deleted run are gone after {time.monotonic() - asked:.0f} s")
        kinds = ("jobs", "configmaps", "services", "secrets", "networkpolicies")
        platform.cluster.wait_for(
            lambda: not any(platform.cluster.api.list(kind, NAMESPACE, gone) for kind in kinds),
            60,
            "all its children to be gone",
            NAMESPACE,
        )
    finally:
        platform.start_operator()
    assert len(list(ledger.committed_parts())) > 0, "results stay"
    assert not ledger.is_complete()


def test_a_lost_termination_message_is_written_again(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("unheard", seconds=10)
    run.until_items(30)
    platform.stop_operator()
    try:
        run.until(lambda: not run.pods(Component.DRIVER), "the driver's end", 120)
        for pod in run.pods(Component.DRIVER, over=True):
            platform.cluster.api.delete("pods", pod["metadata"]["name"], NAMESPACE, grace_s=0)
    finally:
        platform.start_operator()
    status = run.ended_well()
    assert (status["attempt"], status["chargedAttempts"]) == (2, 0)
    assert "unheard-a2-replicas" not in run.jobs(), "writing a result again takes no GPU"
    run.is_as(undisturbed)


def test_a_finished_run_is_never_started_again(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("finished")
    run.ended_well()
    for job in run.jobs():
        platform.cluster.kubectl("-n", NAMESPACE, "delete", "job", job)
    platform.stop_operator()
    platform.start_operator()
    generation = run.object()["metadata"]["generation"]
    run.patch(replicas={"count": 5}, policy={"suspend": True})
    run.until(lambda: run.object()["metadata"]["generation"] > generation, "the change")
    platform.cluster.kubectl("-n", NAMESPACE, "annotate", "evr", "finished", "touched=yes")
    platform.stop_operator()
    platform.start_operator()
    assert run.jobs() == set()
    assert run.status["phase"] == "Succeeded"
