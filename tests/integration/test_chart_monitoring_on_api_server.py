"""What the chart makes for the Prometheus Operator, against that operator's own definitions on a real API server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.api import ApiError
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.fixtures import require
from support import prometheus_operator
from support.chart import CHART, of_kind, render, the

Object = dict[str, Any]
KINDS = ("PodMonitor", "ServiceMonitor", "PrometheusRule")
ENABLED = {"metrics": {name: {"enabled": True} for name in ("podMonitor", "serviceMonitor", "rules", "dashboards")}}


@pytest.fixture(scope="module")
def definitions() -> str:
    try:
        return prometheus_operator.definitions()
    except ClusterError as error:
        require(str(error))
        raise


@pytest.fixture
def served(control_plane: Cluster, definitions: str) -> Iterator[Cluster]:
    """An API server that knows the Prometheus Operator's kinds, for this test."""
    prometheus_operator.install(control_plane, definitions)
    yield control_plane
    control_plane.kubectl("delete", "--filename", "-", stdin=definitions)


def create(cluster: Cluster, body: Object) -> Object:
    """Try to create it, as kubectl does: a field that the definition does not know is an error."""
    plain = copy.deepcopy(body)
    del plain["metadata"]["namespace"]
    path = cluster.api.resource(body["kind"]).path("default")
    made: Object = cluster.api.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", plain)
    return made


@pytest.mark.parametrize("values", [ENABLED, "everything"], ids=["enabled", "everything"])
def test_all_generated_objects_are_accepted_unchanged(served: Cluster, values: Any) -> None:
    made = of_kind(render(values), *KINDS)
    assert {one["kind"] for one in made} == set(KINDS)
    for one in made:
        assert create(served, one)["spec"] == one["spec"]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("PodMonitor", {"scrapeInterval": "15s"}),
        ("ServiceMonitor", {"interval": "soon"}),
        ("PrometheusRule", {"for": "long"}),
    ],
)
def test_fields_unknown_to_the_definitions_are_refused(served: Cluster, kind: str, change: Object) -> None:
    body = copy.deepcopy(the(render(ENABLED), kind))
    spec = body["spec"]
    match kind:
        case "PodMonitor":
            spec["podMetricsEndpoints"][0] |= change
        case "ServiceMonitor":
            spec["endpoints"][0] |= change
        case _:
            spec["groups"][0]["rules"][0] |= change
    with pytest.raises(ApiError, match=next(iter(change))):
        create(served, body)


def test_helm_reports_what_is_missing_before_it_changes_anything(control_plane: Cluster, definitions: str) -> None:
    control_plane.create_namespace("monitored")
    install = ("upgrade", "--install", "evalrun", str(CHART), "--namespace", "monitored", "--set", "crds.install=false")
    enabled = [word for name in ENABLED["metrics"] for word in ("--set", f"metrics.{name}.enabled=true")]
    with pytest.raises(ClusterError, match=r"no matches for kind \"PodMonitor\" [^,]*ensure CRDs are installed first"):
        control_plane.helm(*install, *enabled)
    assert control_plane.api.list("deployments", "monitored") == []

    prometheus_operator.install(control_plane, definitions)
    try:
        control_plane.helm(*install, *enabled)
        assert [len(control_plane.api.list(kind, "monitored")) for kind in KINDS] == [1, 1, 1]
        control_plane.helm(*install)
        assert [len(control_plane.api.list(kind, "monitored")) for kind in KINDS] == [0, 0, 0]
        control_plane.helm("uninstall", "evalrun", "--namespace", "monitored")
    finally:
        control_plane.kubectl("delete", "--filename", "-", stdin=definitions)
