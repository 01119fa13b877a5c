"""A namespace refuses a run's pods: the run says so, in the API server's words, and goes on when it is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api.wire.pods import LABEL_USE, USE_STORAGE, Component
from support.e2e import NAMESPACE, SYSTEM, Object, Platform, Run
from support.refusing_webhook import refusing_pods

pytestmark = pytest.mark.timeout(600)

SOON = 60.0
"""Seconds within which a run says why its pods do not start: the operator asks after 5 s, and each half minute."""


def speaks(run: Run, kind: str, reason: str, *words: str) -> None:
    """Check that a run names the reason, with these words, everywhere that people look."""

    def said() -> bool:
        _, why, message = run.condition(kind)
        return why == reason and all(word in message for word in words)

    run.until(said, f"{kind} to be {reason} with {words}; it is {run.condition(kind)}", SOON)
    assert run.condition("Complete")[:2] == ("False", reason)
    row = run.cluster.kubectl("-n", NAMESPACE, "get", "evr", run.name)
    assert f"{reason}: " in row and words[0] in row, row
    events = run.cluster.api.list("events", NAMESPACE, fields=f"involvedObject.uid={run.uid},reason={reason}")
    assert events and events[0]["type"] == "Warning"
    assert any(words[0] in event["message"] for event in events)


def delete(run: Run) -> None:
    run.cluster.kubectl("-n", NAMESPACE, "delete", "evr", run.name, "--wait=false")


@contextmanager
def there(platform: Platform, body: Object) -> Iterator[None]:
    """Let an object of the namespace exist inside the block."""
    body = {**body, "metadata": {"name": body["kind"].lower(), "namespace": NAMESPACE, **body.get("metadata", {})}}
    platform.cluster.api.apply(body)
    try:
        yield
    finally:
        plural = {"ResourceQuota": "resourcequotas", "LimitRange": "limitranges"}[body["kind"]]
        platform.cluster.api.delete(plural, body["metadata"]["name"], NAMESPACE)


def quota(**hard: str) -> Object:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": hard}}


def test_a_quota_of_gpus_refuses_replicas_until_it_is_raised(platform: Platform) -> None:
    with there(platform, quota(**{"requests.nvidia.com/gpu": "0"})):
        run = platform.run("over-quota")
        speaks(run, "ReplicasReady", "PodsRefused", "exceeded quota: team", "requests.nvidia.com/gpu=1")
        assert not run.pods(Component.REPLICA, over=True)
    run.ended_well()


def test_a_quota_of_cpu_and_memory_admits_replicas_by_default(platform: Platform) -> None:
    with there(platform, quota(**{"requests.cpu": "20", "requests.memory": "40Gi"})):
        run = platform.run("default-requests", replicas={"count": 2})
        run.ended_well()


def test_a_limit_range_refuses_the_driver(platform: Platform) -> None:
    limits = [{"type": "Container", "max": {"memory": "64Mi"}}]
    with there(platform, {"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": limits}}):
        run = platform.run("over-range")
        speaks(run, "Complete", "PodsRefused", "maximum memory usage per Container is 64Mi")
        delete(run)


def test_a_policy_refuses_the_driver(platform: Platform) -> None:
    api = platform.cluster.api
    group = "admissionregistration.k8s.io/v1"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {
            "resourceRules": [pods],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        },
        "validations": [{"expression": "false", "message": "pods need the label cost-centre"}],
    }
    binding = {"policyName": "cost-centre", "validationActions": ["Deny"]}
    for kind, content in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
        api.apply({"apiVersion": group, "kind": kind, "metadata": {"name": "cost-centre"}, "spec": content})
    try:
        run = platform.run("against-policy")
        # The API server enforces a new policy after some seconds, so the first pod may have been created.
        speaks_of_a_pod_that_is_replaced(run, "cost-centre", "pods need the label cost-centre")
    finally:
        api.delete("validatingadmissionpolicybindings", "cost-centre")
        api.delete("validatingadmissionpolicies", "cost-centre")
    delete(run)


def speaks_of_a_pod_that_is_replaced(run: Run, *words: str) -> None:
    """Check the words about the driver's pod, or about the one that would replace it."""
    run.until(run.jobs, "its driver's Job", SOON)
    for pod in run.pods(Component.DRIVER):
        run.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod["metadata"]["name"], "--wait=false")
    speaks(run, "Complete", "PodsRefused", *words)


def test_a_webhook_refuses_the_driver_in_the_words_of_openshifts_scc(platform: Platform, tmp_path: Path) -> None:
    address = platform.cluster.state.addresses.machine
    with refusing_pods(platform.cluster.api, NAMESPACE, address, tmp_path):
        run = platform.run("against-scc")
        words = ("unable to validate against any security context", "restricted-v2")
        speaks_of_a_pod_that_is_replaced(run, *words)
        delete(run)


def test_a_missing_service_account_refuses_the_driver(platform: Platform) -> None:
    with chart(platform, "runner.pods.serviceAccountName", "nobody"):
        run = platform.run("no-account")
        speaks(run, "Complete", "PodsRefused", "error looking up service account", 'serviceaccount "nobody" not found')
        delete(run)


@contextmanager
def chart(platform: Platform, value: str, word: str) -> Iterator[None]:
    """Set a value of the chart inside the block."""
    before = platform.values.get(value, "")
    platform.upgrade(**{value: word})
    platform.operator_ready()
    try:
        yield
    finally:
        platform.upgrade(**{value: before})
        platform.operator_ready()


RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"nvidia.com/gpu": 1, "memory": "2Gi"}}
MISSPELT: dict[str, tuple[str, dict[str, str], str]] = {
    "priority": ("Complete", {"priorityClassName": "hihg"}, "no PriorityClass with name hihg was found"),
    "runtime": ("ReplicasReady", {"runtimeClassName": "nvdia"}, 'RuntimeClass "nvdia" not found'),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_class_refuses_pods(platform: Platform, name: str) -> None:
    kind, placement, words = MISSPELT[name]
    run = platform.run(f"misspelt-{name}", replicas={"count": 1, "resources": RESOURCES, **placement})
    speaks(run, kind, "PodsRefused", words)
    delete(run)


def test_a_volume_that_cannot_be_mounted_speaks(platform: Platform) -> None:
    platform.cluster.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "nothing"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "",
                "hostPath": {"path": "/does/not/exist", "type": "Directory"},
            },
        }
    )
    claim: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": "nothing"}
    platform.cluster.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "nothing", "namespace": NAMESPACE, "labels": {LABEL_USE: USE_STORAGE}},
            "spec": {**claim, "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    try:
        cache = {"persistentVolumeClaim": {"claimName": "nothing"}}
        run = platform.run("no-volume", model={"name": "mock", "uri": "hf://test/mock", "cache": cache})
        speaks(run, "Complete", "VolumeNotMounted", "FailedMount", "hostPath type check failed")
    finally:
        delete(run)
        platform.cluster.api.delete("persistentvolumeclaims", "nothing", NAMESPACE)
        platform.cluster.api.delete("persistentvolumes", "nothing")


def test_an_image_that_cannot_be_pulled_speaks(platform: Platform) -> None:
    values = yaml.safe_load(platform.cluster.helm("get", "values", "evalrun", "--namespace", SYSTEM, "--all"))
    platform.values.setdefault("runner.image.tag", values["runner"]["image"]["tag"])
    with chart(platform, "runner.image.tag", "never-built"):
        run = platform.run("no-image")
        speaks(run, "Complete", "ImageNotPulled", "never-built")
        delete(run)
