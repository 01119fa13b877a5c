"""Nodes that are cut off with what runs on them, and replicas that are preempted again and again."""

from __future__ import annotations

import time

import pytest

from cluster.node import Node
from evalrun_api.pods import Component
from support.e2e import NAMESPACE, Object, Platform, Run

pytestmark = pytest.mark.timeout(900)


def names(pods: list[Object]) -> set[str]:
    return {str(pod["metadata"]["uid"]) for pod in pods}


def test_a_node_is_cut_off_with_a_driver_and_another_runs_replica(platform: Platform, undisturbed: Run) -> None:
    """A split brain: what is on the node goes on and writes, while its replacements start elsewhere."""
    cut, *others = platform.cluster.nodes
    only(platform, cut)
    headless = platform.run("headless", seconds=150, count=1)
    headless.until(lambda: headless.pods(Component.DRIVER), "a driver")
    headless.until_items(1)
    only(platform, *others)
    # The second run's replicas may only go to one node each: the cut one takes one of them.
    halved = platform.run("halved", seconds=150, count=2)
    halved.until(lambda: halved.pods(Component.DRIVER), "a driver")
    only(platform, cut, *others)
    halved.until_items(20)
    stuck_driver = headless.pod(Component.DRIVER)
    assert stuck_driver["spec"]["nodeName"] == cut.name
    zombies = [pod for pod in halved.pods(Component.REPLICA) if pod["spec"]["nodeName"] == cut.name]
    cut.cut()
    started = time.monotonic()
    try:
        cut.wait_lost(90)
        # Grace, a minute, and then the operator gives them up: nobody else would.
        headless.until(lambda: new_driver(headless, stuck_driver), "another driver", 240)
        if zombies:
            halved.until(lambda: not names(zombies) & names(halved.pods(Component.REPLICA)), "another replica", 240)
        print(f"replaced {time.monotonic() - started:.0f} s after the cut")
        headless.ended_well()
        halved.ended_well()
    finally:
        cut.heal()
    cut.wait_ready(120)
    for run in (headless, halved):
        assert run.status["chargedAttempts"] == 0, "a node that is gone is nobody's fault"
        assert run.manifest_digest() == undisturbed.manifest_digest()
        assert run.results()["results"] == undisturbed.results()["results"]
    # Only the driver with the highest epoch completed the run; the other one's parts count as they are.
    record = headless.run_record()
    outcomes = [attempt.get("outcome") for attempt in record["attempts"]]
    assert outcomes.count("Succeeded") == 1 and outcomes[-1] == "Succeeded"


def new_driver(run: Run, old: Object) -> bool:
    return any(pod["metadata"]["uid"] != old["metadata"]["uid"] for pod in run.pods(Component.DRIVER))


def only(platform: Platform, *nodes: Node) -> None:
    """Let new pods go to these nodes only."""
    for node in platform.cluster.nodes:
        platform.cluster.kubectl("uncordon" if node in nodes else "cordon", node.name)


def test_ten_preemptions_in_a_row_delay_nothing_for_minutes(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("preempted", seconds=100, count=2)
    run.until_items(30)
    waits = []
    for _ in range(10):
        victim = run.pod(Component.REPLICA)
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
    assert not platform.cluster.api.list("pods", NAMESPACE, "job-name=nobody")
