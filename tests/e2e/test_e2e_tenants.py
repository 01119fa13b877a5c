"""Who may create EvalRuns gains no other right: no pod template, no other Secret, no access to the host or Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cluster.api import ApiError
from cluster.client import Client
from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, SYSTEM, Object, Platform, Run

pytestmark = pytest.mark.timeout(300)

TENANT = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "tenant", "namespace": NAMESPACE},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenant"},
    "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": NAMESPACE}],
}
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "tenant"},
    "rules": [{"apiGroups": ["evalrun.dev"], "resources": ["evalruns"], "verbs": ["*"]}],
}


@pytest.fixture(scope="module")
def tenant(platform: Platform) -> Iterator[Client]:
    """Provide a user who may do everything with EvalRuns and nothing else."""
    api = platform.cluster.api
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": NAMESPACE}})
    api.apply(ROLE)
    api.apply(TENANT)
    yield platform.cluster.as_service_account(NAMESPACE, "tenant")
    api.delete("clusterroles", "tenant")


def test_a_tenant_may_only_use_runs(tenant: Client) -> None:
    for kind in ("secrets", "pods", "configmaps", "jobs"):
        with pytest.raises(ApiError) as refused:
            tenant.api.list(kind, NAMESPACE)
        assert refused.value.status == 403
    with pytest.raises(ApiError) as refused:
        tenant.api.patch("evalruns", "x", {"status": {"phase": "Succeeded"}}, NAMESPACE, "status")
    assert refused.value.status in {403, 404}


@pytest.mark.parametrize(
    "field",
    [
        {"replicas": {"template": {"spec": {"hostNetwork": True}}}},
        {"replicas": {"hostPID": True}},
        {"replicas": {"volumes": [{"hostPath": {"path": "/"}}]}},
        {"replicas": {"image": "evil"}},
        {"replicas": {"serviceAccountName": "admin"}},
        {"replicas": {"env": [{"name": "LD_PRELOAD", "value": "x"}]}},
        {"driver": {"command": ["sh"]}},
    ],
)
def test_a_run_has_no_field_of_a_pod(tenant: Client, platform: Platform, field: dict[str, object]) -> None:
    body = run_body(platform, "hostile")
    body["spec"] |= field
    path = f"{tenant.api.resource('evalruns').path(NAMESPACE)}?fieldValidation=Strict"
    with pytest.raises(ApiError, match="unknown field"):
        tenant.api.request("POST", path, body)


def run_body(platform: Platform, name: str) -> Object:
    storage = {"endpointURL": platform.seaweed.endpoint, "credentialsSecretRef": {"name": "s3"}}
    return {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": "hf://test/mock"},
            "engine": {"mock": {}},
            "benchmarks": [{"task": "sums", "source": {"configMap": {"name": "sums"}}}],
            "output": {"uri": "s3://evals/", "storage": storage},
        },
    }


def test_the_pods_of_a_run_have_no_access_to_the_cluster(platform: Platform, undisturbed: Run) -> None:
    """The pods are read from the API server, in a namespace that enforces the restricted standard."""
    for component in Component:
        for pod in undisturbed.pods(component, over=True):
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert not any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC"))
            kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
            assert kinds <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}
            secrets = {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
            assert secrets <= {"s3"}
            for container in spec["containers"]:
                security = container["securityContext"]
                assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
                assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_operator_may_read_secrets_only_where_access_was_granted(platform: Platform) -> None:
    def may(verb: str, resource: str, namespace: str) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": f"system:serviceaccount:{SYSTEM}:evalrun-operator",
                "resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace},
            },
        }
        return bool(platform.cluster.api.create(review)["status"]["allowed"])

    assert may("get", "secrets", NAMESPACE)
    for namespace in ("default", "kube-system", SYSTEM):
        assert not may("get", "secrets", namespace), namespace
    for namespace in ("default", NAMESPACE):
        for verb in ("list", "watch", "patch", "update", "delete"):
            assert not may(verb, "secrets", namespace), (verb, namespace)
        assert not may("create", "pods", namespace)
        assert not may("create", "pods/exec", namespace)


def test_rays_ports_are_closed_to_other_pods(platform: Platform, undisturbed: Run) -> None:
    """Only the rendering is tested: this cluster's network plugin does not enforce NetworkPolicies."""
    assert not platform.cluster.enforces_network_policy
    policies = platform.cluster.api.list("networkpolicies", NAMESPACE, f"evalrun.dev/run={undisturbed.uid}")
    (policy,) = policies
    assert policy["spec"]["podSelector"] == {"matchLabels": {"evalrun.dev/run": undisturbed.uid}}
    assert "Ingress" in policy["spec"]["policyTypes"]
    own = {"podSelector": {"matchLabels": {"evalrun.dev/run": undisturbed.uid}}}
    for rule in policy["spec"]["ingress"]:
        ports = {port["port"] for port in rule.get("ports", [])}
        assert rule["from"] == [own] or ports == {8080}, json.dumps(rule)
