"""Permissions of the operator and restrictions of its pod: least privilege, asserted on what Helm renders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api.wire.pods import HTTP_PORT, Component
from evalrun_operator.names import attempt_labels
from evalrun_operator.observe.lookups import SECRET_READER
from evalrun_operator.settings import OperatorSettings
from support.chart import render

GOLDEN = Path(__file__).parent / "golden"
CASES = ("default", "namespaced", "everything")
Objects = list[dict[str, Any]]
Right = tuple[str, str, str]
"""API group, resource, verb."""

OPERATOR: set[Right] = {
    (group, resource, verb)
    for group, resources, verbs in (
        ("evalrun.dev", "evalruns", "get list watch delete"),
        ("evalrun.dev", "evalruns/status", "get patch"),
        ("batch", "jobs", "get list watch create patch delete"),
        ("", "pods", "get list watch patch delete"),
        ("", "configmaps services", "get create delete"),
        ("networking.k8s.io", "networkpolicies", "get create delete"),
        ("", "secrets", "create delete"),
        ("", "persistentvolumeclaims", "get"),
        ("", "events", "list create"),
        ("kueue.x-k8s.io", "workloads", "list"),
    )
    for resource in resources.split()
    for verb in verbs.split()
}
READ_SECRETS: Right = ("", "secrets", "get")
READ_NODES: Right = ("", "nodes", "get")
ELECT: set[Right] = {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "patch")}
"""In the release's own namespace."""


@pytest.fixture(params=CASES)
def objects(request: pytest.FixtureRequest) -> Objects:
    """Return the content of the golden files, which test_rendering.py compares with what Helm renders."""
    return load(request.param)


def load(case: str) -> Objects:
    return list(yaml.safe_load_all((GOLDEN / f"{case}.yaml").read_text()))


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [one for one in objects if one["kind"] in kinds]


def rights(role: Mapping[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def bound(objects: Objects) -> Iterator[tuple[str | None, set[Right]]]:
    """Return where (None: everywhere) the operator's account gets which permissions."""
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in objects}
    (account,) = of_kind(objects, "ServiceAccount")
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        namespace, ref = binding["metadata"].get("namespace"), binding["roleRef"]
        place = namespace if ref["kind"] == "Role" else None
        (subject,) = binding["subjects"]
        assert (subject["kind"], subject["name"]) == ("ServiceAccount", account["metadata"]["name"])
        assert subject["namespace"] == account["metadata"]["namespace"] == "evalrun-system"
        yield namespace, rights(roles[ref["kind"], place, ref["name"]])


# Rights -----------------------------------------------------------------------------------------------------------


def test_no_rule_has_a_wildcard(objects: Objects) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert set(rule) - {"resourceNames"} == {"apiGroups", "resources", "verbs"}
            assert not any("*" in value for key in rule for value in rule[key])


def test_no_rule_escalates_privileges_or_creates_pods(objects: Objects) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        for _, resource, verb in rights(role):
            assert verb not in {"bind", "escalate", "impersonate", "approve", "sign"}
            assert resource not in {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"}
            assert (resource, verb) != ("pods", "create"), "only Jobs make pods"


def test_secrets_are_never_readable_cluster_wide(objects: Objects) -> None:
    for namespace, what in bound(objects):
        verbs = {verb for _, resource, verb in what if resource == "secrets"}
        if namespace is None:
            assert verbs <= {"create", "delete"}
        assert not verbs & {"list", "watch", "update", "patch"}


def test_cluster_role_has_exactly_these_permissions() -> None:
    everywhere = [what for namespace, what in bound(load("default")) if namespace is None]
    assert everywhere == [OPERATOR | {READ_NODES}]
    assert {namespace: what for namespace, what in bound(load("default")) if namespace} == {"evalrun-system": ELECT}


def test_secrets_are_readable_only_in_listed_namespaces() -> None:
    objects = load("everything")
    (reader,) = [one for one in of_kind(objects, "ClusterRole") if one["metadata"]["name"] == SECRET_READER]
    assert rights(reader) == {READ_SECRETS}
    within = {namespace: what for namespace, what in bound(objects) if namespace}
    assert within == {"evalrun-system": ELECT, "team-a": {READ_SECRETS}, "team-b": {READ_SECRETS}}


def test_namespaced_installation_has_no_cluster_permissions() -> None:
    objects = load("namespaced")
    assert of_kind(objects, "ClusterRole", "ClusterRoleBinding") == []
    assert dict(bound(objects)) == {
        "evalrun-system": ELECT,
        "team-a": OPERATOR | {READ_SECRETS},
        "team-b": OPERATOR | {READ_SECRETS},
    }


def test_user_roles_are_aggregated_into_kubernetes_roles() -> None:
    given: dict[str, set[Right]] = {"view": set(), "edit": set(), "admin": set()}
    for role in of_kind(load("default"), "ClusterRole"):
        for name in given:
            if role["metadata"]["labels"].get(f"rbac.authorization.k8s.io/aggregate-to-{name}") == "true":
                given[name] |= rights(role)
    reading = {("evalrun.dev", "evalruns", verb) for verb in ("get", "list", "watch")}
    assert given["view"] == reading | {("evalrun.dev", f"evalruns/{part}", "get") for part in ("status", "scale")}
    writing = {
        ("evalrun.dev", "evalruns", verb) for verb in ("create", "update", "patch", "delete", "deletecollection")
    }
    scaling = {("evalrun.dev", "evalruns/scale", verb) for verb in ("update", "patch")}
    assert given["edit"] == given["admin"] == given["view"] | writing | scaling


# The pod ----------------------------------------------------------------------------------------------------------


def test_operator_pod_is_restricted(objects: Objects) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {"configMap", "emptyDir"}
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]


def test_a_lease_elects_one_of_two_operators(objects: Objects, tmp_path: Path) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (text,) = [one["data"]["settings.yaml"] for one in of_kind(objects, "ConfigMap") if "settings.yaml" in one["data"]]
    election = OperatorSettings.model_validate(yaml.safe_load(text), by_alias=True, by_name=False).election
    assert election is not None
    assert (election.namespace, election.name) == (namespace, name)
    (role,) = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == f"{name}-election"]
    assert role["metadata"]["namespace"] == namespace
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [name],
            "verbs": ["get", "patch"],
        },
    ]


def test_operators_are_spread_and_drained_one_at_a_time(objects: Objects) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    (budget,) = of_kind(objects, "PodDisruptionBudget")
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["selector"]) == (1, {"matchLabels": selector})
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread, "by default over nodes and zones, or as the values say"
    if spread[0]["topologyKey"] == "kubernetes.io/hostname":
        assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        assert all(one["labelSelector"] == {"matchLabels": selector} for one in spread)


def test_a_single_operator_blocks_no_drain() -> None:
    assert not of_kind(render({"operator": {"replicas": 1}}), "PodDisruptionBudget")


def test_probes_use_health_endpoints(objects: Objects) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["containerPort"]: port["name"] for port in container["ports"]}
    assert ports.keys() == {OperatorSettings().health_port, OperatorSettings().metrics_port}
    health = ports[OperatorSettings().health_port]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": health}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": health}


def test_operator_reaches_drivers_and_exposes_only_health(objects: Objects) -> None:
    (policy,) = of_kind(objects, "NetworkPolicy")
    (deployment,) = of_kind(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    health, *metrics = policy["spec"]["ingress"]
    assert health == {"ports": [{"port": OperatorSettings().health_port, "protocol": "TCP"}]}
    # What it tells of everybody's runs, it tells those who were named, as drivers do.
    (settings,) = [one for one in of_kind(objects, "ConfigMap") if "settings.yaml" in one["data"]]
    named = yaml.safe_load(settings["data"]["settings.yaml"])["networkPolicy"]["metricsFrom"][1:]
    ports = [{"port": OperatorSettings().metrics_port, "protocol": "TCP"}]
    assert metrics == ([{"ports": ports, "from": named}] if named else [])
    (to_drivers,) = [rule for rule in policy["spec"]["egress"] if "to" in rule]
    (peer,) = to_drivers["to"]
    drivers = attempt_labels("uid", 1, Component.DRIVER)
    assert peer["podSelector"]["matchLabels"].items() <= drivers.items()
    assert to_drivers["ports"] == [{"port": HTTP_PORT, "protocol": "TCP"}]


def test_selector_never_changes(objects: Objects) -> None:
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "evalrun-operator",
        "app.kubernetes.io/instance": "evalrun",
    }
