"""The chart renders its golden files, from values that its schema knows.

``UPDATE_GOLDEN=1 pytest tests/unit/chart/test_rendering.py`` rewrites the files.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from evalrun_operator.observe.lookups import SECRET_READER
from evalrun_operator.settings import ElectionSettings, NetworkPolicySettings, OperatorSettings, load_settings
from support.chart import CHART, GOLDEN, ROOT, Objects, helm, of_kind, render, the

CRD = ROOT / "crds" / "evalrun.dev_evalruns.yaml"
CASES = ("default", "namespaced", "everything")
ELSEWHERE = "test_chart_monitoring.py compares it with files/rules.yaml"


class _Plain(yaml.SafeDumper):
    """A dumper without aliases, with literal blocks for text of several lines."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Plain.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def settings_of(objects: Objects, folder: Path) -> OperatorSettings:
    (text,) = [one["data"]["settings.yaml"] for one in of_kind(objects, "ConfigMap") if "settings.yaml" in one["data"]]
    file = folder / "settings.yaml"
    file.write_text(text)
    return load_settings(file)


# The whole --------------------------------------------------------------------------------------------------------


def golden(objects: Objects) -> Iterator[dict[str, Any]]:
    """Return everything except what comes from files/, which has its own tests."""
    for one in objects:
        match one:
            case {"kind": "CustomResourceDefinition"}:
                continue
            case {"kind": "ConfigMap", "data": data} if "settings.yaml" not in data:
                continue
            case {"kind": "PrometheusRule"}:
                yield {**one, "spec": ELSEWHERE}
            case _:
                yield one


@pytest.mark.parametrize("case", CASES)
def test_rendering_equals_golden_file(case: str) -> None:
    shown = list(golden(render(case)))
    text = yaml.dump_all(shown, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "see the diff; if it is meant, run with UPDATE_GOLDEN=1"


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing(case: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(GOLDEN / f"{case}.values.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("case", CASES)
def test_objects_have_unique_names_and_namespaces(case: str) -> None:
    objects = render(case)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    of_the_cluster = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    of_the_cluster |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for kind, namespace, name in names:
        assert (namespace is None) == (kind in of_the_cluster), (kind, name)
        assert len(name) <= 63


def test_notes_mention_unreadable_secrets() -> None:
    arguments = ("install", "evalrun", str(CHART), "-n", "evalrun-system", "--dry-run=client")
    before = helm(*arguments).stdout.partition("NOTES:")[2]
    assert f"--clusterrole={SECRET_READER} --serviceaccount=evalrun-system:evalrun-operator" in before
    after = helm(*arguments, "--set", "secrets.namespaces={team-a}").stdout.partition("NOTES:")[2]
    assert "rollout status deployment/evalrun-operator" in after
    assert SECRET_READER not in after


# The CustomResourceDefinition -------------------------------------------------------------------------------------


def test_crd_copy_equals_generated_crd() -> None:
    copy = CHART / "files" / CRD.name
    assert copy.read_text() == CRD.read_text(), "run `make generate` and commit the result"


def test_crd_is_upgraded_with_the_release_and_survives_it() -> None:
    rendered, generated = the(render("default"), "CustomResourceDefinition"), yaml.safe_load(CRD.read_text())
    assert rendered["spec"] == generated["spec"]
    assert rendered["metadata"]["name"] == generated["metadata"]["name"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not (CHART / "crds").exists(), "Helm never upgrades what is there"


def test_example_of_a_shared_cluster_is_valid(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "examples" / "kubernetes" / "shared-cluster-values.yaml").read_text())
    settings = settings_of(render(values), tmp_path)
    assert settings.limits.max_gpus == 64
    assert settings.image.reference.startswith("registry.example.com/")


def test_crd_installation_may_be_disabled() -> None:
    assert of_kind(render({"crds": {"install": False}}), "CustomResourceDefinition") == []


# Values and settings ----------------------------------------------------------------------------------------------


def test_chart_defaults_equal_operator_defaults(tmp_path: Path) -> None:
    settings = settings_of(render("default"), tmp_path)
    (operator,) = settings.network_policy.metrics_from
    template = the(render("default"), "Deployment")["spec"]["template"]
    assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "evalrun-system"}}
    assert operator["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert set(settings.driver.annotations) == {f"prometheus.io/{name}" for name in ("scrape", "port", "path")}
    assert settings.election == ElectionSettings(namespace="evalrun-system", name="evalrun-operator")
    same = {
        "election": None,
        "network_policy": NetworkPolicySettings(),
        "driver": settings.driver.model_copy(update={"annotations": {}}),
    }
    assert settings.model_copy(update=same) == OperatorSettings()


def test_every_operator_setting_is_a_value(tmp_path: Path) -> None:
    settings = settings_of(render("everything"), tmp_path)
    assert settings.model_fields_set == set(OperatorSettings.model_fields)
    for name in ("image", "driver", "pods", "network_policy", "metrics", "limits", "accelerators"):
        part = getattr(settings, name)
        assert part.model_fields_set == set(type(part).model_fields), name
    assert settings.image.reference == "mirror.example.com/evalrun/runner@sha256:" + "0123456789abcdef" * 4
    assert settings.reference_grace_seconds == 10.5
    assert len(settings.network_policy.metrics_from) == 2


def test_changed_settings_restart_the_operator() -> None:
    def stamp(values: Mapping[str, Any]) -> str:
        template = the(render(values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["evalrun.dev/settings"])

    assert stamp({}) != stamp({"operator": {"workers": 17}})
    assert stamp({}) == stamp({"operator": {"podLabels": {"a": "b"}}})


def paths(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every key of the values, except within what Kubernetes defines."""
    if isinstance(values, dict) and (not path or path[-1] not in ("resources",)):
        for key, value in values.items():
            yield (*path, key)
            yield from paths(value, (*path, key))


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    "path",
    [
        (),
        # Charts of an umbrella share the values of `global`.
        *((name,) for name, value in VALUES.items() if isinstance(value, dict) and name != "global"),
        *(("runner", name) for name in ("image", "driver", "pods", "proxy", "caBundle", "limits", "accelerators")),
        *(("metrics", name) for name in ("podMonitor", "serviceMonitor", "service", "rules", "dashboards")),
        ("metrics", "rules", "overrides", "SomeAlert"),
    ],
    ids=lambda path: ".".join(path) or "top",
)
def test_unknown_value_is_rejected(path: tuple[str, ...]) -> None:
    name = ".".join((*path, "typo"))
    done = helm("template", "evalrun", str(CHART), "--set", f"{name}=1")
    assert done.returncode != 0
    assert "'typo' not allowed" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "watch.namespaces=team-a",
        "image.digest=0123",
        "runner.image.pullPolicy=Sometimes",
        "runner.pods.sharedMemory=2 GB",
        "runner.limits.maxReplicas=0",
        "networkPolicy.blocked={169.254.0.0}",
        "admissionPolicies.enabled=some",
        "operator.workers=0",
        "operator.logLevel=info",
        "networkPolicy.apiServerPorts={0}",
        "metrics.annotations=some",
        "metrics.finishedRuns=-1",
        "metrics.finishedDays=0",
        "metrics.podMonitor.interval=15",
        "metrics.serviceMonitor.scrapeTimeout=10 s",
        "metrics.podMonitor.relabelings={drop}",
        "metrics.rules.disabled=SomeAlert",
        "metrics.rules.disabled={some alert}",
        "metrics.rules.overrides.SomeAlert.for=long",
        "metrics.rules.runbookURL=https://wiki.example.com/runbooks/",
        "metrics.dashboards.label=a b",
        "metrics.dashboards.labelValue=-",
    ],
)
def test_value_of_wrong_type_is_rejected_by_name(value: str) -> None:
    done = helm("template", "evalrun", str(CHART), "--set", value)
    assert done.returncode != 0
    assert value.split("=", maxsplit=1)[0].replace(".", "/") in done.stderr


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """Run scripts/chart_readme.py."""
    spec = importlib.util.spec_from_file_location("chart_readme", ROOT / "scripts" / "chart_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_value_is_documented(page: ModuleType) -> None:
    described = {value.path for value in page.documented((CHART / "values.yaml").read_text())}
    assert described == set(paths(VALUES))


def test_readme_equals_generated_readme(page: ModuleType) -> None:
    assert (CHART / "README.md").read_text() == page.readme(), "run `make generate` and commit the result"
