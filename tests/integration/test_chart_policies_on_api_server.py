"""The chart's admission policies on a real API server: with the operator's token, only what the operator does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.api import ApiError
from cluster.client import Client
from cluster.cluster import Cluster
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.objects import Create
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired, DesiredState
from support.chart import NAMESPACE, of_kind, render
from support.evalruns import make_run
from support.operator_scene import with_evalruns

Object = dict[str, Any]
TEAM = "team"
LIMITS = {"maxReplicas": 8, "tolerationKeys": ["nvidia.com/gpu"], "runtimeClasses": ["nvidia"], "modelCode": False}
VALUES = {"runner": {"limits": LIMITS}, "crds": {"install": False}}
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
FINALIZER = "batch.kubernetes.io/job-tracking"


@pytest.fixture(scope="module")
def server(control_plane: Cluster) -> Iterator[Cluster]:
    """Provide an API server with the chart's rights and policies."""
    cluster = with_evalruns(control_plane)
    for name in (NAMESPACE, TEAM):
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    made = of_kind(render(VALUES), "ServiceAccount", "ClusterRole", "ClusterRoleBinding", *POLICIES)
    for one in made:
        cluster.api.apply(one)

    def compiled() -> bool:
        policies = [cluster.api.get(POLICIES[0], one["metadata"]["name"]) for one in of_kind(made, POLICIES[0])]
        return all("typeChecking" in (one.get("status") or {}) for one in policies)

    cluster.wait_for(compiled, 60, "the policies to be compiled")
    # A policy acts some moments after it was written.
    cluster.wait_for(lambda: _refusal(cluster, replicas(count=9)) is not None, 60, "the policies to act")
    yield cluster
    for one in reversed(made):
        cluster.api.delete(one["kind"], one["metadata"]["name"], one["metadata"].get("namespace", "default"))


@pytest.fixture(scope="module")
def operator(server: Cluster) -> Client:
    """Provide what somebody can do who has the operator's token."""
    return server.as_service_account(NAMESPACE, "evalrun-operator")


@pytest.fixture(scope="module")
def children(server: Cluster) -> dict[str, Object]:
    """Return what the operator creates for a run that exists."""
    manifest = make_run("policed").manifest()
    manifest["metadata"] = {"name": "policed", "namespace": TEAM}
    made = server.api.create(manifest)
    builder = make_run("policed")
    builder.uid = made["metadata"]["uid"]
    desired = DesiredState(1, Desired.RUNNING, Desired.RUNNING, count=1)
    changes = JobsBackend(OperatorSettings()).changes(builder.build(), desired, Objects(), None)
    return {_name(change): dict(change.manifest) for change in changes if isinstance(change, Create)}


def _name(change: Create) -> str:
    return change.manifest["metadata"]["labels"].get("evalrun.dev/component", change.kind.kind)


def replicas(**fields: Any) -> Object:
    body = make_run("limited").with_replicas(fields.pop("count", 1), **fields).manifest()
    body["metadata"] = {"name": "limited", "namespace": TEAM}
    return body


def _refusal(cluster: Client, body: Object) -> str | None:
    """Return why an object is refused; None if it would be created."""
    path = f"{cluster.api.resource(body['kind']).path(body['metadata']['namespace'])}?dryRun=All"
    try:
        cluster.api.request("POST", path, body)
    except ApiError as error:
        return str(error)
    return None


def changed(body: Object, path: str, value: Any) -> Object:
    """Return a copy with another value at a path, such as ``spec.template.spec``."""
    body = copy.deepcopy(body)
    *folders, last = path.split(".")
    place = body
    for folder in folders:
        place = place[int(folder)] if isinstance(place, list) else place.setdefault(folder, {})
    place[last] = value
    return body


def test_policies_compile(server: Cluster) -> None:
    for one in of_kind(render(VALUES), POLICIES[0]):
        status = server.api.get(POLICIES[0], one["metadata"]["name"])["status"]
        assert status["typeChecking"].get("expressionWarnings", []) == [], one["metadata"]["name"]


def test_c19_the_operators_own_writes_are_allowed(operator: Client, children: dict[str, Object]) -> None:
    assert set(children) == {"Secret", "ConfigMap", "Service", "NetworkPolicy", "driver", "replica"}
    for kind, body in children.items():
        assert _refusal(operator, body) is None, kind


POD = "spec.template.spec"
HOSTILE = [
    *((kind, "metadata.ownerReferences", []) for kind in ("Secret", "ConfigMap", "Service", "NetworkPolicy", "driver")),
    ("driver", f"{POD}.automountServiceAccountToken", True),
    ("driver", f"{POD}.serviceAccountName", "admin"),
    ("driver", f"{POD}.hostNetwork", True),
    ("driver", f"{POD}.hostPID", True),
    ("driver", f"{POD}.nodeName", "control-plane"),
    ("driver", f"{POD}.volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
    ("driver", f"{POD}.initContainers", [{"name": "first", "image": "x"}]),
    ("driver", f"{POD}.containers.0.securityContext", {"privileged": True}),
    ("replica", f"{POD}.containers.0.securityContext", {}),
    ("replica", f"{POD}.securityContext", {"runAsUser": 0}),
    ("Secret", "type", "example.com/other"),
    ("Secret", "stringData", {"token": "x", "more": "y"}),
    ("Secret", "metadata.labels", {"evalrun.dev/use": "storage"}),
    ("Service", "spec", {"type": "LoadBalancer", "ports": [{"port": 80}]}),
    ("Service", "spec.selector", {"app": "other"}),
]


@pytest.mark.parametrize(("kind", "path", "value"), HOSTILE, ids=lambda part: str(part)[:40])
def test_c19_a_stolen_token_creates_nothing_else(
    operator: Client, server: Cluster, children: dict[str, Object], kind: str, path: str, value: Any
) -> None:
    body = changed(children[kind], path, value)
    if path.endswith("volumes"):
        body = changed(body, f"{POD}.containers.0.volumeMounts", [])
    refusal = _refusal(operator, body)
    assert refusal is not None
    assert "ValidatingAdmissionPolicy" in refusal
    # Others are not affected.
    other = _refusal(server, body)
    assert other is None or "ValidatingAdmissionPolicy" not in other


def pod(name: str, **metadata: Any) -> Object:
    """Build a pod of a run: as a Job would create it, unless its metadata is another one."""
    own: Object = {
        "labels": {"app.kubernetes.io/managed-by": "evalrun-operator", "evalrun.dev/run": "uid"},
        "finalizers": [FINALIZER, "example.com/other"],
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": TEAM, **own, **metadata},
        "spec": {"containers": [{"name": "driver", "image": "x"}], "automountServiceAccountToken": False},
    }


def test_c19_of_pods_only_the_jobs_finalizer_may_be_removed(operator: Client, server: Cluster) -> None:
    server.api.create(pod("mine"))
    server.api.create(pod("foreign", labels={"app": "other"}, finalizers=[], ownerReferences=[]))
    image = {"spec": {"containers": [{"name": "driver", "image": "evil"}]}}
    for change in (
        image,
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"finalizers": [FINALIZER]}},
        {"metadata": {"finalizers": [FINALIZER, "example.com/other", "example.com/more"]}},
    ):
        with pytest.raises(ApiError, match="finalizers"):
            operator.api.patch("pods", "mine", change, TEAM)
    operator.api.patch("pods", "mine", {"metadata": {"finalizers": ["example.com/other"]}}, TEAM)
    with pytest.raises(ApiError, match="only pods of runs"):
        operator.api.delete("pods", "foreign", TEAM)
    with pytest.raises(ApiError, match="only pods of runs"):
        operator.api.patch("pods", "foreign", {"metadata": {"finalizers": None}}, TEAM)
    operator.api.delete("pods", "mine", TEAM)


def test_c19_of_jobs_only_the_size_may_change(operator: Client, server: Cluster, children: dict[str, Object]) -> None:
    job = operator.api.create(children["replica"])
    name = job["metadata"]["name"]
    operator.api.patch("jobs", name, {"spec": {"parallelism": 3, "completions": 3}}, TEAM)
    with pytest.raises(ApiError, match="only what an EvalRun owns"):
        operator.api.patch("jobs", name, {"metadata": {"ownerReferences": None}}, TEAM)
    foreign = changed(changed(children["replica"], "metadata.name", "foreign"), "metadata.ownerReferences", [])
    server.api.create(foreign)
    with pytest.raises(ApiError, match="only what an EvalRun owns"):
        operator.api.delete("jobs", "foreign", TEAM)
    operator.api.delete("jobs", name, TEAM)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"count": 9}, "spec.replicas.count: 9 is above 8"),
        ({"priorityClassName": "system-node-critical"}, "spec.replicas.priorityClassName"),
        ({"tolerations": [{"operator": "Exists"}]}, "a run may tolerate nvidia.com/gpu here"),
        ({"tolerations": [{"key": "other", "operator": "Exists"}]}, "spec.replicas.tolerations"),
        ({"runtimeClassName": "kata"}, "a run may use nvidia here"),
    ],
)
def test_c15_limits_are_told_when_a_run_is_written(server: Cluster, fields: Object, said: str) -> None:
    refusal = _refusal(server, replicas(**fields))
    assert refusal is not None
    assert said in refusal
    assert "hint: " in refusal


def test_code_of_models_is_refused_when_a_run_is_written(server: Cluster) -> None:
    asking = {"spec": {**replicas()["spec"], "benchmarks": [{"task": "gsm8k"}, {"task": "mbpp", "allowCode": True}]}}
    refusal = _refusal(server, {**replicas(), **asking})
    assert refusal is not None
    assert "runner.limits.modelCode" in refusal


def test_c15_replicas_are_not_raised_above_the_limit_later(server: Cluster) -> None:
    allowed = replicas(
        count=8,
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
        runtimeClassName="nvidia",
        priorityClassName="evals",
    )
    server.api.create(allowed)
    with pytest.raises(ApiError, match="12 is above 8"):
        server.api.patch("evalruns", "limited", {"spec": {"replicas": {"count": 12}}}, TEAM)
    server.api.patch("evalruns", "limited", {"spec": {"policy": {"suspend": True}}}, TEAM)
    server.api.delete("evalruns", "limited", TEAM)
