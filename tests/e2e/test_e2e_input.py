"""Input errors that only a run can find end it with a reason, before any GPU is requested, and never in a loop."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.seaweed import LIMITED
from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, Object, Platform, Run

pytestmark = pytest.mark.timeout(600)

S3 = "http://s3.evalrun-s3.svc:8333"


def output(uri: str = "s3://evals/", secret: str | None = "s3") -> Object:
    storage: Object = {"endpointURL": S3, "addressingStyle": "path"}
    if secret is not None:
        storage["credentialsSecretRef"] = {"name": secret}
    return {"uri": uri, "storage": storage}


def vllm(uri: str) -> dict[str, Any]:
    return {
        "engine": {"vllm": {}},
        "model": {"uri": uri, "storage": output()["storage"]},
        "replicas": {"resources": {"limits": {"nvidia.com/gpu": 1}}},
    }


WRONG: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no-bucket": ({"output": output("s3://nowhere/", "limited")}, "Invalid", "StorageDenied", "nowhere"),
    "wrong-keys": ({"output": output(secret="wrong-keys")}, "Invalid", "StorageDenied", "s3://evals/"),
    "no-such-task": (
        {"benchmarks": [{"task": "nosuch", "source": {"configMap": {"name": "sums"}}}]},
        "Invalid",
        "TaskInvalid",
        "nosuch",
    ),
    "no-model": (vllm("s3://checkpoints/nothing/"), "Invalid", "ModelInvalid", "checkpoints/nothing"),
    "no-secret": ({"output": output(secret="nothere")}, "Invalid", "NotFound", "Secret nothere"),
    "forbidden-secret": ({"output": output(secret="private")}, "Invalid", "SecretNotAllowed", "evalrun.dev/use"),
    "no-baseline": (
        {"gates": [{"task": "sums", "metric": "exact_match", "baseline": {"runName": "never"}, "maxRegression": 0.1}]},
        "Invalid",
        "NotFound",
        "EvalRun never",
    ),
    "gpus-do-not-fit": (
        {"engine": {"vllm": {"tensorParallelSize": 2}}, "replicas": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "Invalid",
        "InvalidSpec",
        "tensorParallelSize",
    ),
}
"""Wrong inputs, with the expected phase and reason, and a word that the message must contain."""


@pytest.fixture(scope="module")
def wrong(platform: Platform) -> dict[str, Run]:
    """Create all of them at once: they do not affect each other."""
    platform.storage_secret("wrong-keys", "nobody", "nothing")
    platform.storage_secret("limited", *LIMITED)
    platform.storage_secret("private", "a", "b", labelled=False)
    return {name: platform.run(name, **spec) for name, (spec, *_) in WRONG.items()}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_ends_with_its_reason(wrong: dict[str, Run], name: str) -> None:
    run = wrong[name]
    _, phase, reason, word = WRONG[name]
    status = run.until_phase("Invalid", "Failed", "Succeeded", seconds=240)
    assert status["phase"] == phase
    happened, why, message = run.condition("Failed")
    assert (happened, why) == ("True", reason), message
    assert word in message
    assert run.condition("Accepted")[0] == "False"
    assert run.condition("Stalled")[0] == "True"
    assert not run.pods(Component.REPLICA, over=True), "no GPU was ever asked for"
    assert len(run.pods(Component.DRIVER, over=True)) <= 1, "it was tried once"
    assert not any(name in job and "-a2-" in job for job in run.jobs())


def test_the_reason_is_in_the_events_and_in_describe(wrong: dict[str, Run], platform: Platform) -> None:
    run = wrong["no-bucket"]
    run.until_phase("Invalid")
    told = platform.cluster.kubectl("-n", NAMESPACE, "describe", "evr", run.name)
    assert "StorageDenied" in told and "nowhere" in told


def test_objects_of_one_commit_may_come_in_any_order(platform: Platform) -> None:
    run = platform.run("early", output=output(secret="late"))
    run.until(lambda: run.condition("Accepted")[:2] == ("False", "NotFound"), "to wait for its Secret", 30)
    platform.storage_secret("late", platform.seaweed.key, platform.seaweed.secret)
    run.ended_well()
