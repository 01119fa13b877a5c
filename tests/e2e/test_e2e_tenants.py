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


@pytest.mark.parametrize(
    "url",
    [
        *("http://169.254.169.254/latest/meta-data", "http://2852039166", "http://[::ffff:a9fe:a9fe]"),
        *("http://127.0.0.1:8080", "http://localhost:8080", "http://169-254-169-254.nip.io"),
    ],
)
def test_c16_a_run_names_no_address_within_its_pods_or_nodes(tenant: Client, platform: Platform, url: str) -> None:
    body = run_body(platform, "inside")
    body["spec"]["output"]["storage"]["endpointURL"] = url
    tenant.api.create(body)
    run = Run(platform, "inside")
    run.until_phase("Invalid", seconds=30)
    status, reason, message = run.condition("Accepted")
    assert (status, reason) == ("False", "InvalidSpec")
    assert "spec.output.storage.endpointURL" in message
    assert platform.cluster.api.list("jobs", NAMESPACE, f"evalrun.dev/run={run.uid}") == []
    tenant.api.delete("evalruns", "inside", NAMESPACE)
    platform.cluster.wait_for(
        lambda: platform.cluster.api.find("evalruns", "inside", NAMESPACE) is None, 30, "the run to be deleted"
    )


def test_c15_a_password_in_an_address_is_refused_when_it_is_written(tenant: Client, platform: Platform) -> None:
    body = run_body(platform, "password")
    body["spec"]["output"]["storage"]["endpointURL"] = "https://a:topsecret@s3.example.com"
    with pytest.raises(ApiError, match="has a user or a password in it") as refused:
        tenant.api.create(body)
    assert "topsecret" not in str(refused.value)


def test_c15_kubernetes_own_priorities_are_refused_when_a_run_is_written(tenant: Client, platform: Platform) -> None:
    body = run_body(platform, "important")
    body["spec"]["replicas"] = {"priorityClassName": "system-node-critical"}
    with pytest.raises(ApiError, match=r"spec\.replicas\.priorityClassName"):
        tenant.api.create(body)


@pytest.mark.parametrize("kind", ["ConfigMap", "PersistentVolumeClaim"])
def test_c15_what_its_owner_has_not_labelled_is_not_mounted(tenant: Client, platform: Platform, kind: str) -> None:
    name, api = f"private-{kind.lower()}", platform.cluster.api
    body = run_body(platform, name)
    if kind == "ConfigMap":
        api.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"a": "b"}}, NAMESPACE)
        body["spec"]["benchmarks"][0]["source"] = {"configMap": {"name": name}}
    else:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        api.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": claim}, NAMESPACE)
        body["spec"]["model"]["cache"] = {"persistentVolumeClaim": {"claimName": name}}
    tenant.api.create(body)
    run = Run(platform, name)
    run.until_phase("Invalid", seconds=60)
    _, reason, message = run.condition("Accepted")
    assert reason == "NotAllowed"
    assert f"{kind} {name} lacks the label evalrun.dev/use: storage" in message
    assert api.list("jobs", NAMESPACE, f"evalrun.dev/run={run.uid}") == []


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
        # It deletes those of finished runs; a policy bounds which (c19).
        for verb in ("list", "watch", "patch", "update"):
            assert not may(verb, "secrets", namespace), (verb, namespace)
        assert not may("create", "pods", namespace)
        assert not may("create", "pods/exec", namespace)


def test_c19_with_the_operators_token_nobody_makes_a_pod_of_his_own(platform: Platform) -> None:
    """Its rights are used as a thief would: a Job of another account, and another image for a pod of somebody else."""
    stolen = platform.cluster.as_service_account(SYSTEM, "evalrun-operator")
    pod = {"containers": [{"name": "x", "image": "x"}], "restartPolicy": "Never", "serviceAccountName": "default"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "thief"}, "spec": {"template": {"spec": pod}}}
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "thief", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    for body in (job, token):
        with pytest.raises(ApiError, match=r"ValidatingAdmissionPolicy .evalrun-operator-"):
            stolen.api.create(body, "default")
    of_others = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "of-others"}}
    platform.cluster.api.create(of_others, "default")
    with pytest.raises(ApiError, match=r"ValidatingAdmissionPolicy .evalrun-operator-"):
        stolen.api.delete("secrets", "of-others", "default")
    (other, *_) = platform.cluster.api.list("pods", SYSTEM)
    with pytest.raises(ApiError, match=r"ValidatingAdmissionPolicy .evalrun-operator-"):
        stolen.api.patch("pods", other["metadata"]["name"], {"metadata": {"labels": {"a": "b"}}}, SYSTEM)


def test_rays_ports_are_closed_to_other_pods(platform: Platform) -> None:
    """Only the rendering is tested: this cluster's network plugin does not enforce NetworkPolicies."""
    assert not platform.cluster.enforces_network_policy
    run = platform.run("closed-ports", seconds=20)
    selector = f"evalrun.dev/run={run.uid}"
    platform.cluster.wait_for(lambda: platform.cluster.api.list("jobs", NAMESPACE, selector), 60, "its Jobs", NAMESPACE)
    (policy,) = platform.cluster.api.list("networkpolicies", NAMESPACE, selector)
    run.ended_well()
    platform.cluster.wait_for(
        lambda: not platform.cluster.api.list("networkpolicies", NAMESPACE, selector), 30, "its policy to go", NAMESPACE
    )
    assert policy["spec"]["podSelector"] == {"matchLabels": {"evalrun.dev/run": run.uid}}
    assert "Ingress" in policy["spec"]["policyTypes"]
    own = {"podSelector": {"matchLabels": {"evalrun.dev/run": run.uid}}}
    (everything,) = [rule for rule in policy["spec"]["egress"] if any("ipBlock" in peer for peer in rule.get("to", ()))]
    blocked = {network for peer in everything["to"] for network in peer.get("ipBlock", {}).get("except", ())}
    assert {"169.254.0.0/16", "fe80::/10"} <= blocked
    for rule in policy["spec"]["ingress"]:
        ports = {port["port"] for port in rule.get("ports", [])}
        assert rule["from"] == [own] or ports == {8080}, json.dumps(rule)
