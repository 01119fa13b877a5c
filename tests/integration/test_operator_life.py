"""Lives of EvalRuns on a real API server with real controllers; nodes are played by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from evalrun_api import Counts, Failure, Phase, Reason, RunResult
from evalrun_api.wire.pods import Component, ExitCode
from support.kstatus import Health, kstatus
from support.operator_scene import RUNNING, SUCCEEDED, Scene, condition
from support.operators import OperatorProcess
from support.playing_kubelet import PlayingDriver


@pytest.fixture
def operator(scene: Scene) -> Iterator[OperatorProcess]:
    with scene.operator() as process:
        process.wait_ready()
        yield process


def test_a_run_from_apply_to_its_scores(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
    assert scene.jobs() == ["nightly-a1-driver"], "no GPU is asked for before preflight has passed"

    with PlayingDriver("127.0.11.1", RUNNING) as progress:
        scene.kubelet.runs(driver, ready=True, address=progress.address)
        for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
            scene.kubelet.runs(replica, ready=True)
        status = scene.wait_phase(Phase.RUNNING)
        assert status["progress"]["ok"] == 7 and status["display"]["progress"] == "7/20"
        assert status["replicas"] == {"desired": 2, "ready": 2}

    for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
        scene.kubelet.ends(replica, 0)
    scene.kubelet.driver_ends(SUCCEEDED)
    status = scene.wait_phase(Phase.SUCCEEDED)
    assert status["scores"] == SUCCEEDED.to_dict()["scores"]
    assert status["resultsUri"] == SUCCEEDED.results_uri
    assert condition(status, "Complete") == ("True", "Succeeded")
    assert status["attempt"] == 1
    assert {"AttemptStarted", "ReplicasReady"} & set(scene.events()), scene.events()
    scene.cluster.kubectl("wait", "--for=condition=Complete", "evr/nightly", "-n", scene.namespace, "--timeout=5s")


def test_kstatus_follows_a_run_from_its_creation_to_edits_after_its_end(scene: Scene) -> None:
    def health() -> Health:
        return kstatus(scene.cluster.api.get("evr", "nightly", scene.namespace))

    scene.apply()
    assert scene.status() == {"observedGeneration": -1}
    assert health() is Health.IN_PROGRESS, "nobody has seen it yet"
    with scene.operator() as operator:
        operator.wait_ready()
        scene.wait_phase(Phase.STARTING)
        assert health() is Health.IN_PROGRESS
        scene.edit(policy={"suspend": True})
        scene.wait_phase(Phase.SUSPENDED)
        assert health() is Health.IN_PROGRESS, "it has no results"
        scene.edit(policy={"suspend": False})
        (driver,) = scene.kubelet.wait_pods(Component.DRIVER, attempt=2)
        scene.kubelet.runs(driver, ready=True)
        scene.kubelet.driver_ends(SUCCEEDED, attempt=2)
        scene.wait_phase(Phase.SUCCEEDED)
        assert health() is Health.CURRENT
        scene.edit(policy={"ttlSecondsAfterFinished": 86400})
        scene.wait(lambda: health() is Health.CURRENT, "the edit to be seen")
        scale = ("scale", "evr/nightly", "--replicas=3", "-n", scene.namespace)
        scene.cluster.kubectl(*scale)
        assert scene.cluster.api.get("evr", "nightly", scene.namespace)["spec"]["replicas"]["count"] == 3
        scene.wait(lambda: health() is Health.CURRENT, "the edit to be seen")
        selected = scene.cluster.api.list("evr", scene.namespace, fields="status.phase=Succeeded")
        assert [one["metadata"]["name"] for one in selected] == ["nightly"]
        assert scene.cluster.api.list("evr", scene.namespace, fields="status.phase=Running") == []


def test_c03_a_definition_of_a_newer_version_changes_no_run(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
    scene.kubelet.runs(driver, ready=True)
    scene.kubelet.wait_pods(Component.REPLICA, 2)
    children = scene.children()
    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/urgency"
    value = '{"type": "integer", "default": 5}'
    patch = ("patch", "customresourcedefinitions", "evalruns.evalrun.dev", "--type=json", "-p")
    scene.cluster.kubectl(*patch, f'[{{"op": "add", "path": "{field}", "value": {value}}}]')
    try:
        scene.wait(lambda: condition(scene.status(), "Accepted") == ("Unknown", "AnotherVersion"), "a word about it")
        assert scene.status()["phase"] == "Starting" and scene.children() == children
        scene.edit(policy={"suspend": True})
        scene.wait_phase(Phase.SUSPENDED)
        scene.edit(policy={"suspend": False})
        scene.wait_phase(Phase.PENDING)
        assert not scene.jobs(), "another version has to make the next attempt"
    finally:
        scene.cluster.kubectl(*patch, f'[{{"op": "remove", "path": "{field}"}}]')
    scene.wait(lambda: condition(scene.status(), "Accepted") == ("True", "Accepted"), "a version that knows the spec")
    scene.wait(lambda: scene.jobs() == ["nightly-a2-driver"], "the next attempt")


def test_constantly_changing_progress_is_written_occasionally(scene: Scene) -> None:
    with scene.operator(progressSeconds=1.5) as operator, PlayingDriver("127.0.11.3", RUNNING) as moving:
        operator.wait_ready()
        moving.on_ask = lambda: RUNNING.model_copy(update={"counts": Counts(planned=10**6, ok=moving.asked)})
        scene.apply()
        (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
        scene.kubelet.runs(driver, ready=True, address=moving.address)
        scene.wait(lambda: scene.status().get("progress", {}).get("ok", 0) >= 3, "some progress")
        seen = scene.status()["progress"]["ok"]
        begun = time.monotonic()
        scene.wait(lambda: scene.status()["progress"]["ok"] >= seen + 3, "three more statuses")
        assert time.monotonic() - begun > 2 * 1.5


def test_suspending_removes_all_pods_and_resuming_continues_uncharged(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
    scene.kubelet.runs(driver, ready=True)
    scene.kubelet.wait_pods(Component.REPLICA, 2)
    scene.edit(policy={"suspend": True})
    scene.wait_phase(Phase.SUSPENDED)
    scene.wait(lambda: not scene.jobs(), "all Jobs to be gone")
    scene.kubelet.wait_gone(Component.DRIVER)
    scene.kubelet.wait_gone(Component.REPLICA)

    scene.edit(policy={"suspend": False})
    scene.wait(scene.jobs, "a driver")
    status = scene.wait_phase(Phase.STARTING)
    assert status["chargedAttempts"] == 0


def test_a_failed_driver_is_followed_by_the_next_attempt_until_the_limit(
    scene: Scene, operator: OperatorProcess
) -> None:
    failed = RunResult(phase=Phase.FAILED, failure=Failure(reason=Reason.REPLICAS_FAILED, message="they died"))
    scene.apply(policy={"maxAttempts": 2})
    for attempt in (1, 2):
        scene.kubelet.driver_ends(failed, ExitCode.FAILED, attempt)
    status = scene.wait_phase(Phase.FAILED)
    assert condition(status, "Failed") == ("True", "AttemptsExhausted")
    assert status["attempt"] == 2


def test_replicas_grow_and_shrink(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
    with PlayingDriver("127.0.11.2", RUNNING) as progress:
        scene.kubelet.runs(driver, ready=True, address=progress.address)
        scene.kubelet.wait_pods(Component.REPLICA, 2)
        scene.edit(replicas={"count": 3})
        scene.kubelet.wait_pods(Component.REPLICA, 3)
        scene.edit(replicas={"count": 1})
        scene.kubelet.wait_pods(Component.REPLICA, 1)


def test_deleting_a_run_deletes_everything_and_a_new_one_of_its_name_starts(
    scene: Scene, operator: OperatorProcess
) -> None:
    first = scene.apply()
    scene.kubelet.wait_pods(Component.DRIVER)
    before = scene.children()
    scene.cluster.api.delete("evr", "nightly", scene.namespace)
    second = scene.apply()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    scene.wait(lambda: not (before & scene.children()), "the first one's children to be collected")
    scene.wait_phase(Phase.STARTING)
    assert {name for _, name, _ in scene.children()} >= {"nightly-a1-driver"}


def test_a_run_deleted_while_the_operator_is_down_leaves_nothing(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    scene.kubelet.wait_pods(Component.DRIVER)
    assert operator.stop() == 0
    scene.cluster.api.delete("evr", "nightly", scene.namespace)
    scene.wait(lambda: not scene.children(), "garbage collection")


def test_changes_while_the_operator_was_down_are_found_on_its_return(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply()
    scene.kubelet.wait_pods(Component.DRIVER)
    scene.wait_phase(Phase.STARTING)
    operator.kill()
    scene.kubelet.driver_ends(SUCCEEDED)
    operator.start()
    assert scene.wait_phase(Phase.SUCCEEDED)["attempt"] == 1


def test_a_finished_run_is_deleted_after_its_ttl_and_not_before(scene: Scene, operator: OperatorProcess) -> None:
    scene.apply(policy={"ttlSecondsAfterFinished": 3})
    scene.kubelet.driver_ends(SUCCEEDED)
    scene.wait_phase(Phase.SUCCEEDED)
    scene.cluster.wait_gone("evr", "nightly", 20, scene.namespace)


def test_a_secret_is_not_used_until_its_owner_adds_the_label(scene: Scene, operator: OperatorProcess) -> None:
    scene.secret("keys", allowed=False)
    scene.apply(output={"uri": "s3://evals/", "storage": {"credentialsSecretRef": {"name": "keys"}}})
    status = scene.wait_phase(Phase.PENDING)
    assert condition(status, "Accepted") == ("False", "SecretNotAllowed")
    assert not scene.jobs()
    labels = {"metadata": {"labels": {"evalrun.dev/use": "storage"}}}
    scene.cluster.api.patch("secrets", "keys", labels, scene.namespace)
    scene.kubelet.wait_pods(Component.DRIVER)
    assert "do-not-tell" not in operator.said()


def test_a_missing_object_ends_the_run_after_the_grace_period(scene: Scene) -> None:
    with scene.operator(referenceGraceSeconds=1):
        scene.apply(benchmarks=[{"task": "mine", "source": {"configMap": {"name": "not-there"}}}])
        status = scene.wait_phase(Phase.INVALID)
    assert condition(status, "Accepted") == ("False", "NotFound")


def test_a_spec_that_breaks_a_rule_unknown_to_the_api_server_is_invalid(
    scene: Scene, operator: OperatorProcess
) -> None:
    scene.apply(benchmarks=[{"task": "gsm8k"}, {"task": "gsm8k"}])
    status = scene.wait_phase(Phase.INVALID)
    assert condition(status, "Accepted") == ("False", "InvalidSpec")
    assert not scene.jobs()


def test_a_quota_that_refuses_a_child_is_reported_and_waited_for(scene: Scene, operator: OperatorProcess) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    scene.cluster.api.create({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}}, scene.namespace)
    scene.wait(
        lambda: scene.cluster.api.get("resourcequotas", "none", scene.namespace).get("status", {}).get("hard"),
        "the quota to be known",
    )
    scene.apply()
    scene.wait(lambda: "ChildRefused" in scene.events(), "an event about the quota")
    assert "exceeded quota" in operator.said("ChildRefused|refused")
    scene.cluster.api.delete("resourcequotas", "none", scene.namespace)
    scene.wait_phase(Phase.STARTING)
