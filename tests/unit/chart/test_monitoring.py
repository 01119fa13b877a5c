"""The chart's objects for Prometheus and Grafana: scrape annotations, rules, dashboards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api.wire.pods import HTTP_PORT
from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.job_manifests import driver_job, replicas_job
from evalrun_operator.settings import OperatorSettings
from support.chart import CHART, NAMESPACE, ROOT, Objects, helm, of_kind, refused, render, the
from support.evalruns import make_run

MONITORS: dict[str, Any] = {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}
RULES = r"""
groups:
  - name: recorded
    interval: 30s
    rules:
      - record: run:items:rate5m
        expr: sum by (run_namespace, run) (rate(evalrun_items_committed_total[5m]))
  - name: runs
    rules:
      - alert: Slow
        expr: |
          run:items:rate5m < 1
            and on (run) evalrun_items{status="waiting"} > 0
        for: 15m
        labels: {severity: warning, team: "{{ $labels.run_namespace }}"}
        annotations:
          summary: '{{ $labels.run }} does {{ $value | humanize }} items/s'
          description: "{{ with query \"evalrun_eta_seconds\" }}{{ . | first | value }}{{ end }}\t<&>"
      - {alert: Gone, expr: absent(evalrun_operator_info)}
  - name: alone
    rules: [{alert: Alone, expr: vector(1)}]
"""
SLOW, GONE, ALONE = "Slow", "Gone", "Alone"


SCRAPED = ("prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the chart with rules and dashboards of this test's own."""
    folder = tmp_path_factory.mktemp("charts") / "evalrun"
    shutil.copytree(CHART, folder)
    (folder / "files" / "rules.yaml").write_text(RULES)
    dashboards = folder / "files" / "dashboards"
    shutil.rmtree(dashboards, ignore_errors=True)
    dashboards.mkdir()
    for name in ("evalrun-fleet", "evalrun-run"):
        (dashboards / f"{name}.json").write_text(
            json.dumps({"uid": name, "title": "{{run}} “a”\n<b>"}, indent=2) + "\n"
        )
    return folder


def metrics(**values: Any) -> dict[str, Any]:
    return {"metrics": values}


def pods(values: dict[str, Any]) -> dict[str, Any]:
    """Return the templates of the operator's pod and, from its settings, of a run's."""
    objects = render(values)
    settings = yaml.safe_load(the(objects, "ConfigMap")["data"]["settings.yaml"])
    run = make_run("nightly").build()
    arguments = run, Identity.of(run, 1), OperatorSettings.model_validate(settings, by_alias=True, by_name=False)
    return {
        "operator": the(objects, "Deployment")["spec"]["template"],
        "driver": driver_job(*arguments, None)["spec"]["template"],
        "replica": replicas_job(*arguments, 1)["spec"]["template"],
    }


def scraped(values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what the annotations of annotated pods say to a plain Prometheus."""
    every = {name: template["metadata"]["annotations"] for name, template in pods(values).items()}
    return {name: tuple(one[key] for key in SCRAPED) for name, one in every.items() if SCRAPED[0] in one}


def alerts(rule: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the alerts of a PrometheusRule by name."""
    return {one["alert"]: one for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one}


# Annotations ------------------------------------------------------------------------------------------------------


OPERATOR, DRIVER = ("true", "8080", "/metrics"), ("true", str(HTTP_PORT), "/metrics")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"operator": OPERATOR, "driver": DRIVER}),
        (metrics(annotations=False), {}),
        (metrics(podMonitor={"enabled": True}), {"operator": OPERATOR}),
        (metrics(serviceMonitor={"enabled": True}), {"driver": DRIVER}),
        (metrics(**MONITORS), {}),
        (metrics(**MONITORS, annotations=True), {"operator": OPERATOR, "driver": DRIVER}),
    ],
)
def test_pods_have_scrape_annotations_unless_a_monitor_exists(
    values: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    assert scraped(values) == expected


def test_custom_annotations_win() -> None:
    own = {"prometheus.io/path": "/federate"}
    values = {"operator": {"podAnnotations": own}, "runner": {"driver": {"annotations": own}}}
    assert scraped(values) == {"operator": (*OPERATOR[:2], "/federate"), "driver": (*DRIVER[:2], "/federate")}


def test_plain_prometheus_scrapes_by_the_charts_annotations() -> None:
    (job,) = yaml.safe_load((ROOT / "examples" / "monitoring" / "prometheus.yaml").read_text())["scrape_configs"]
    read = {label for rule in job["relabel_configs"] for label in (*rule["source_labels"], rule.get("target_label"))}
    for annotation in SCRAPED:
        assert f"__meta_kubernetes_pod_annotation_{annotation.translate(str.maketrans('./', '__'))}" in read
    # It keeps the port that the annotation names among those that the containers declare.
    for name, (_, port, _) in scraped({}).items():
        (container,) = pods({})[name]["spec"]["containers"]
        assert int(port) in [one["containerPort"] for one in container["ports"]]


# Monitors ---------------------------------------------------------------------------------------------------------


def test_prometheus_operator_objects_are_created_only_on_request() -> None:
    assert not of_kind(render({}), "PodMonitor", "ServiceMonitor", "PrometheusRule", "Service")


def test_pod_monitor_selects_drivers_and_their_port() -> None:
    monitor = the(render(metrics(**MONITORS)), "PodMonitor")
    assert monitor["metadata"]["namespace"] == NAMESPACE
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    made = pods({})
    assert selected <= made["driver"]["metadata"]["labels"].items()
    assert not selected <= made["replica"]["metadata"]["labels"].items()
    assert monitor["spec"]["jobLabel"] in made["driver"]["metadata"]["labels"]
    assert _port(made["driver"], "http") == HTTP_PORT


def test_pod_monitor_covers_the_watched_namespaces() -> None:
    monitor = the(render({"watch": {"namespaces": ["team-a", "team-b"]}, **metrics(**MONITORS)}), "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


def test_service_monitor_selects_the_operators_service() -> None:
    objects = render(metrics(serviceMonitor={"enabled": True, "namespace": "monitoring"}))
    monitor, service = the(objects, "ServiceMonitor"), the(objects, "Service")
    template = the(objects, "Deployment")["spec"]["template"]
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [service["metadata"]["namespace"]]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert _port(template, port["targetPort"]) == port["port"] == OperatorSettings().metrics_port
    # What is scraped while it is not ready is what tells why.
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_service_may_be_created_alone() -> None:
    objects = render(metrics(service={"enabled": True, "annotations": {"a": "b"}}))
    assert the(objects, "Service")["metadata"]["annotations"] == {"a": "b"}
    assert not of_kind(objects, "ServiceMonitor")


def _port(template: dict[str, Any], name: str) -> int:
    (container,) = template["spec"]["containers"]
    (port,) = [one["containerPort"] for one in container["ports"] if one["name"] == name]
    return int(port)


def test_notes_warn_that_policies_block_prometheus() -> None:
    def notes(*values: str) -> str:
        return helm("install", "evalrun", str(CHART), "--dry-run=client", *values).stdout.partition("NOTES:")[2]

    def monitored(*values: str) -> str:
        return notes("--set", "metrics.podMonitor.enabled=true", *values)

    assert "metricsFrom:" in notes()
    assert "targets that are down" not in notes()
    assert "targets that are down" in monitored()
    let_in = '[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]'
    for values in (("--set-json", f"networkPolicy.metricsFrom={let_in}"), ("--set", "networkPolicy.enabled=false")):
        assert "rollout status" in monitored(*values)
        assert "metricsFrom" not in monitored(*values)


# Rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["of this test", "of the chart"])
def test_rules_equal_the_file_and_link_runbooks(chart: Path, own: bool) -> None:
    chart = chart if own else CHART
    rule = the(render(metrics(rules={"enabled": True}), chart), "PrometheusRule")
    expected = yaml.safe_load((chart / "files" / "rules.yaml").read_text())["groups"]
    for alert in (one for group in expected for one in group["rules"] if "alert" in one):
        page = f"https://github.com/evalrun/evalrun/blob/main/docs/runbooks/{alert['alert']}.md"
        alert["annotations"] = {**alert.get("annotations", {}), "runbook_url": page}
    # Prometheus' own templates among it, word for word.
    assert rule["spec"]["groups"] == expected


def test_alert_may_be_disabled_and_empty_group_disappears(chart: Path) -> None:
    rule = the(render(metrics(rules={"enabled": True, "disabled": [GONE, ALONE]}), chart), "PrometheusRule")
    assert set(alerts(rule)) == {SLOW}
    assert [group["name"] for group in rule["spec"]["groups"]] == ["recorded", "runs"]
    assert rule["spec"]["groups"][0] == yaml.safe_load(RULES)["groups"][0]


def test_duration_and_severity_of_an_alert_may_be_overridden(chart: Path) -> None:
    before = alerts(the(render(metrics(rules={"enabled": True}), chart), "PrometheusRule"))
    overrides = {SLOW: {"severity": "critical"}, GONE: {"for": "1h30m", "severity": "info"}}
    after = alerts(the(render(metrics(rules={"enabled": True, "overrides": overrides}), chart), "PrometheusRule"))
    assert after == {
        SLOW: {**before[SLOW], "labels": {**before[SLOW]["labels"], "severity": "critical"}},
        GONE: {**before[GONE], "for": "1h30m", "labels": {"severity": "info"}},
        ALONE: before[ALONE],
    }


@pytest.mark.parametrize("values", [{"disabled": ["Slwo"]}, {"overrides": {"Slwo": {"for": "1h"}}}])
def test_unknown_alert_is_rejected_with_the_known_ones(chart: Path, values: dict[str, Any]) -> None:
    said = refused(metrics(rules={"enabled": True, **values}), chart)
    assert "metrics.rules: there is no alert Slwo; there are Alone, Gone, Slow" in said


def test_runbook_url_may_be_changed(chart: Path) -> None:
    values = {"enabled": True, "runbookURL": "https://wiki.example.com/runbooks"}
    rule = the(render(metrics(rules=values), chart), "PrometheusRule")
    assert alerts(rule)[GONE]["annotations"] == {"runbook_url": f"https://wiki.example.com/runbooks/{GONE}.md"}


# Dashboards -------------------------------------------------------------------------------------------------------


def dashboards(objects: Objects) -> dict[str, dict[str, Any]]:
    """Return the ConfigMaps of dashboards by file."""
    maps = [one for one in of_kind(objects, "ConfigMap") if "settings.yaml" not in one["data"]]
    return {file: one for one in maps for file in one["data"]}


def test_each_dashboard_is_a_labelled_config_map(chart: Path) -> None:
    made = dashboards(render(metrics(dashboards={"enabled": True}), chart))
    assert sorted(made) == ["evalrun-fleet.json", "evalrun-run.json"]
    assert {one["metadata"]["name"] for one in made.values()} == {"evalrun-dashboard-fleet", "evalrun-dashboard-run"}
    for file, one in made.items():
        assert json.loads(one["data"][file]) == json.loads((chart / "files" / "dashboards" / file).read_text())
        assert one["metadata"]["namespace"] == NAMESPACE
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "EvalRun"}
    assert not dashboards(render({}, chart))


def test_dashboards_are_rendered_unchanged() -> None:
    made = dashboards(render(metrics(dashboards={"enabled": True})))
    files = {file.name: json.loads(file.read_text()) for file in (CHART / "files" / "dashboards").iterdir()}
    assert files
    assert {file: json.loads(one["data"][file]) for file, one in made.items()} == files
    # kubectl apply and who else works like it keep an object in an annotation, of 256 KiB at most.
    assert all(len(json.dumps(one)) < 256 * 1024 for one in made.values())


def test_sidecar_label_and_namespace_may_be_changed(chart: Path) -> None:
    values = {
        **{"enabled": True, "namespace": "monitoring", "label": "example.com/dashboards", "labelValue": "yes"},
        **{"folder": "Models", "folderAnnotation": "k8s-sidecar-target-directory", "annotations": {"a": "b"}},
    }
    for one in dashboards(render(metrics(dashboards=values), chart)).values():
        assert one["metadata"]["namespace"] == "monitoring"
        assert one["metadata"]["labels"]["example.com/dashboards"] == "yes"
        assert "grafana_dashboard" not in one["metadata"]["labels"]
        assert one["metadata"]["annotations"] == {"k8s-sidecar-target-directory": "Models", "a": "b"}
    plain = dashboards(render(metrics(dashboards={"enabled": True, "folder": ""}), chart))
    assert all("annotations" not in one["metadata"] for one in plain.values())
