"""Nodes that lose their network while pods run on them, and replicas that are preempted repeatedly."""

from __future__ import annotations

import time

import pytest

from cluster.node import Node
from evalrun_api.wire.pods import Component
from support.e2e import Object, Platform, Run

pytestmark = pytest.mark.timeout(900)


def uids(pods: list[Object]) -> set[str]:
    return {str(pod["metadata"]["uid"]) for pod in pods}


def ran_or_run(run: Run, component: Component) -> list[Object]:
    """Return the pods that run, and those that ran to their end."""
    return [pod for pod in run.pods(component, over=True) if pod["status"].get("phase") in {"Running", "Succeeded"}]


def test_disconnecting_a_node_with_a_driver_and_replicas_changes_no_result(
    platform: Platform, undisturbed: Run
) -> None:
    """This is a split brain: pods on the node continue to write, while their replacements start elsewhere."""
    *others, cut = platform.cluster.nodes  # this machine reaches the store through the first node
    only(platform, cut)
    headless = platform.run("headless", seconds=90, count=1)
    headless.until(lambda: headless.running(Component.DRIVER), "a driver on the node to be cut off")
    only(platform, *others)
    headless.until(lambda: headless.running(Component.REPLICA), "a replica on another node")
    mark(platform, cut)
    limbless = platform.run("limbless", seconds=60, count=2, node_selector={MARK: "yes"})
    limbless.until(lambda: limbless.running(Component.DRIVER), "a driver on another node")
    only(platform, cut, *others)
    limbless.until(lambda: len(limbless.running(Component.REPLICA)) == 2, "replicas on the node to be cut off")
    mark(platform, *others)
    for run in (headless, limbless):
        run.until_items(1)
    (driver,), replicas = headless.running(Component.DRIVER), limbless.running(Component.REPLICA)
    assert {pod["spec"]["nodeName"] for pod in (driver, *replicas)} == {cut.name}
    cut.cut()
    started = time.monotonic()
    try:
        cut.wait_lost(90)
        # After their grace period of a minute the operator deletes them by force; nothing else would.
        # One of them may well be over while the other is waited for.
        headless.until(lambda: uids(ran_or_run(headless, Component.DRIVER)) - uids([driver]), "a driver", 300)
        limbless.until(lambda: uids(ran_or_run(limbless, Component.REPLICA)) - uids(replicas), "replicas", 300)
        print(f"\na node was cut off: what ran on it was replaced after {time.monotonic() - started:.0f} s")
        headless.ended_well()
        limbless.ended_well()
    finally:
        cut.heal()
    cut.wait_ready(120)
    for run in (headless, limbless):
        assert run.status["chargedAttempts"] == 0, "a node that is gone is nobody's fault"
        assert run.manifest_digest() == undisturbed.manifest_digest()
        assert run.results()["results"] == undisturbed.results()["results"]
    # The disconnected driver had claimed an epoch; only the next one completed the run.
    attempts = headless.run_record()["attempts"]
    assert [attempt.get("outcome") for attempt in attempts][-1] == "Succeeded"
    assert attempts[-1]["epoch"] == max(attempt["epoch"] for attempt in attempts) > 1


MARK = "tests/replicas"
"""Label of the nodes on which replicas of one run may be placed."""


def mark(platform: Platform, *nodes: Node) -> None:
    for node in nodes:
        platform.cluster.kubectl("label", "node", node.name, f"{MARK}=yes", "--overwrite")


def only(platform: Platform, *nodes: Node) -> None:
    """Restrict new pods to these nodes."""
    for node in platform.cluster.nodes:
        platform.cluster.kubectl("uncordon" if node in nodes else "cordon", node.name)


def test_ten_preemptions_in_a_row_do_not_delay_the_run_by_minutes(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("preempted", seconds=100, count=2)
    run.until_items(30)
    waits = []
    for _ in range(10):
        victim = run.until(lambda: run.running(Component.REPLICA), "a replica that runs", 60)[-1]
        index = victim["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        platform.cluster.evict(victim)
        started = time.monotonic()

        def replaced(index: str = index, victim: Object = victim) -> bool:
            return any(
                pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == index
                and pod["metadata"]["uid"] != victim["metadata"]["uid"]
                for pod in run.pods(Component.REPLICA)
            )

        run.until(replaced, "a replacement", 60)
        waits.append(time.monotonic() - started)
        run.until(lambda: len(run.pods(Component.REPLICA)) == 2, "two replicas again", 60)
    print(f"ten evictions in a row, replaced after {', '.join(f'{wait:.0f}' for wait in waits)} s")
    assert max(waits) < 45
    status = run.ended_well()
    assert status["chargedAttempts"] == 0
    assert run.results()["results"] == undisturbed.results()["results"]
