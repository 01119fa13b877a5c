"""Two operators on a real API server: one works; the other takes over when it is killed, stopped or cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from evalrun_api import Phase
from evalrun_api.wire.pods import Component
from support.operator_scene import Scene
from support.operators import OperatorProcess

LEASE = "evalrun-operator"


@pytest.fixture
def operators(scene: Scene) -> Iterator[list[OperatorProcess]]:
    with ExitStack() as stack:
        both = []
        for name in ("one", "two"):
            folder = scene.folder / name
            folder.mkdir()
            alone = Scene(scene.cluster, scene.namespace, folder)
            both.append(stack.enter_context(alone.operator(election={"namespace": scene.namespace, "name": LEASE})))
        for process in both:
            process.wait_ready()
        yield both


def leads(process: OperatorProcess) -> bool:
    return bool(process.said("leading as")) and process.process is not None and process.process.poll() is None


def leader_and_other(scene: Scene, both: list[OperatorProcess]) -> tuple[OperatorProcess, OperatorProcess]:
    scene.wait(lambda: any(map(leads, both)), "one to lead")
    one, two = both
    assert not (leads(one) and leads(two))
    return (one, two) if leads(one) else (two, one)


def test_a_killed_leader_is_replaced_within_seconds(scene: Scene, operators: list[OperatorProcess]) -> None:
    leader, other = leader_and_other(scene, operators)
    scene.apply()
    (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
    children = scene.children()
    leader.kill()
    killed = time.monotonic()
    scene.wait(lambda: leads(other), "the other to lead", 25)
    print(f"\nanother operator led {time.monotonic() - killed:.1f} s after the kill")
    scene.kubelet.runs(driver, ready=True)
    scene.kubelet.wait_pods(Component.REPLICA, 2)
    assert children <= scene.children(), "nothing is made twice"
    assert scene.status()["attempt"] == 1


def test_a_stopped_leader_hands_over_at_once(scene: Scene, operators: list[OperatorProcess]) -> None:
    leader, other = leader_and_other(scene, operators)
    assert leader.stop() == 0
    stopped = time.monotonic()
    scene.wait(lambda: leads(other), "the other to lead", 10)
    assert time.monotonic() - stopped < 6
    scene.apply(policy={"suspend": True})
    scene.wait_phase(Phase.SUSPENDED)


def test_the_one_that_stands_by_writes_nothing(scene: Scene, operators: list[OperatorProcess]) -> None:
    _, other = leader_and_other(scene, operators)
    scene.apply()
    scene.kubelet.wait_pods(Component.DRIVER)
    assert not other.said("reconciling|created")
    assert other.asks("/readyz") == 200, "it could take over"
    assert other.stop() == 0
