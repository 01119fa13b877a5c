"""The chart renders what its golden files say, from values that its schema knows.

``UPDATE_GOLDEN=1 pytest tests/unit/test_chart_rendering.py`` writes the files anew.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from cluster.binaries import HELM, binary
from cluster.errors import ClusterError
from evalrun_operator.lookups import SECRET_READER
from evalrun_operator.settings import NetworkPolicy, OperatorSettings, load_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "evalrun"
CRD = ROOT / "crds" / "evalrun.dev_evalruns.yaml"
GOLDEN = Path(__file__).parent / "golden" / "chart"
CASES = ("default", "namespaced", "everything")
Objects = list[dict[str, Any]]
Render = Callable[..., Objects]


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm, as the test cluster has it; where it cannot be built, the machine's own."""
    try:
        return str(binary(HELM))
    except ClusterError as error:
        if (found := shutil.which("helm")) is None:
            pytest.skip(f"no Helm: {error}")
        return found


def run(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def render(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """``render({...values})`` or ``render("case")`` gives the objects; each rendering is made once."""
    known: dict[str, Objects] = {}

    def render(values: Mapping[str, Any] | str) -> Objects:
        text = (GOLDEN / f"{values}.values.yaml").read_text() if isinstance(values, str) else json.dumps(values)
        if text not in known:
            file = tmp_path_factory.mktemp("values") / "values.yaml"
            file.write_text(text)
            done = run(helm, "template", "evalrun", str(CHART), "-n", "evalrun-system", "-f", str(file))
            assert done.returncode == 0, done.stderr
            known[text] = [one for one in yaml.safe_load_all(done.stdout) if one is not None]
        return known[text]

    return render


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [one for one in objects if one["kind"] in kinds]


def the(objects: Objects, kind: str) -> dict[str, Any]:
    (one,) = of_kind(objects, kind)
    return one


def settings_of(objects: Objects, folder: Path) -> OperatorSettings:
    file = folder / "settings.yaml"
    file.write_text(the(objects, "ConfigMap")["data"]["settings.yaml"])
    return load_settings(file)


# The whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_it_renders_what_the_golden_file_says(render: Render, case: str) -> None:
    shown = [one for one in render(case) if one["kind"] != "CustomResourceDefinition"]
    text = yaml.dump_all(shown, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "see the diff; if it is meant, run with UPDATE_GOLDEN=1"


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing(helm: str, case: str) -> None:
    done = run(helm, "lint", "--strict", str(CHART), "-f", str(GOLDEN / f"{case}.values.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("case", CASES)
def test_objects_are_named_once_and_have_a_place(render: Render, case: str) -> None:
    objects = render(case)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(set(names)) == len(names)
    of_the_cluster = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    for kind, namespace, name in names:
        assert (namespace is None) == (kind in of_the_cluster), (kind, name)
        assert len(name) <= 63


def test_the_notes_tell_of_secrets_that_the_operator_may_not_see(helm: str) -> None:
    arguments = ("install", "evalrun", str(CHART), "-n", "evalrun-system", "--dry-run=client")
    before = run(helm, *arguments).stdout.partition("NOTES:")[2]
    assert f"--clusterrole={SECRET_READER} --serviceaccount=evalrun-system:evalrun-operator" in before
    after = run(helm, *arguments, "--set", "secrets.namespaces={team-a}").stdout.partition("NOTES:")[2]
    assert "rollout status deployment/evalrun-operator" in after
    assert SECRET_READER not in after


# The CustomResourceDefinition -------------------------------------------------------------------------------------


def test_the_copy_of_the_crd_is_the_generated_one() -> None:
    copy = CHART / "files" / CRD.name
    assert copy.read_text() == CRD.read_text(), "run `make generate` and commit the result"


def test_the_crd_is_upgraded_with_the_release_and_stays_without_it(render: Render) -> None:
    rendered, generated = the(render("default"), "CustomResourceDefinition"), yaml.safe_load(CRD.read_text())
    assert rendered["spec"] == generated["spec"]
    assert rendered["metadata"]["name"] == generated["metadata"]["name"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not (CHART / "crds").exists(), "Helm never upgrades what is there"


def test_the_crd_may_be_somebody_elses(render: Render) -> None:
    assert of_kind(render({"crds": {"install": False}}), "CustomResourceDefinition") == []


# Values and settings ----------------------------------------------------------------------------------------------


def test_the_defaults_are_the_operators_own(render: Render, tmp_path: Path) -> None:
    settings = settings_of(render("default"), tmp_path)
    (operator,) = settings.network_policy.metrics_from
    template = the(render("default"), "Deployment")["spec"]["template"]
    assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "evalrun-system"}}
    assert operator["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert settings.model_copy(update={"network_policy": NetworkPolicy()}) == OperatorSettings()


def test_every_setting_of_the_operator_is_a_value(render: Render, tmp_path: Path) -> None:
    settings = settings_of(render("everything"), tmp_path)
    assert settings.model_fields_set == set(OperatorSettings.model_fields)
    for name in ("image", "driver", "pods", "network_policy"):
        part = getattr(settings, name)
        assert part.model_fields_set == set(type(part).model_fields), name
    assert settings.image.reference == "registry.example.com/evalrun/runner@sha256:" + "0123456789abcdef" * 4
    assert settings.reference_grace_seconds == 10.5
    assert len(settings.network_policy.metrics_from) == 2


def test_changed_settings_replace_the_operator(render: Render) -> None:
    def stamp(values: Mapping[str, Any]) -> str:
        template = the(render(values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["evalrun.dev/settings"])

    assert stamp({}) != stamp({"operator": {"workers": 17}})
    assert stamp({}) == stamp({"operator": {"podLabels": {"a": "b"}}})


def paths(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the values, but for those within what Kubernetes defines."""
    if isinstance(values, dict) and (not path or path[-1] not in ("resources",)):
        for key, value in values.items():
            yield (*path, key)
            yield from paths(value, (*path, key))


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    "path",
    [(), *(path for path in paths(VALUES) if len(path) == 1), ("runner", "image"), ("runner", "pods")],
    ids=lambda path: ".".join(path) or "top",
)
def test_a_value_that_nobody_knows_is_refused(helm: str, path: tuple[str, ...]) -> None:
    name = ".".join((*path, "typo"))
    done = run(helm, "template", "evalrun", str(CHART), "--set", f"{name}=1")
    assert done.returncode != 0
    assert "'typo' not allowed" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "watch.namespaces=team-a",
        "image.digest=0123",
        "runner.image.pullPolicy=Sometimes",
        "runner.pods.sharedMemory=2 GB",
        "operator.workers=0",
        "operator.logLevel=info",
        "networkPolicy.apiServerPorts={0}",
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(helm: str, value: str) -> None:
    done = run(helm, "template", "evalrun", str(CHART), "--set", value)
    assert done.returncode != 0
    assert value.split("=", maxsplit=1)[0].replace(".", "/") in done.stderr


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """scripts/chart_readme.py."""
    spec = importlib.util.spec_from_file_location("chart_readme", ROOT / "scripts" / "chart_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_value_says_what_it_is_for(page: ModuleType) -> None:
    described = {value.path for value in page.documented((CHART / "values.yaml").read_text())}
    assert described == set(paths(VALUES))


def test_the_readme_is_the_generated_one(page: ModuleType) -> None:
    assert (CHART / "README.md").read_text() == page.readme(), "run `make generate` and commit the result"
