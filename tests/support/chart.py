"""The chart rendered by Helm, as objects."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cluster.binaries import HELM, built
from cluster.fixtures import prebuilt

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "evalrun"
GOLDEN = ROOT / "tests" / "unit" / "chart" / "golden"
NAMESPACE = "evalrun-system"
"""Namespace of the release, whose name is ``evalrun``."""
Objects = list[dict[str, Any]]
Values = Mapping[str, Any] | str
"""Values themselves, or the name of a golden case."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the test cluster's Helm where it is built, else the machine's own."""
    program = built(HELM) or shutil.which("helm") or prebuilt(HELM)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)


def template(values: Values, chart: Path = CHART, *more: str) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` with these values."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(_text(values))
        file.flush()
        return helm("template", "evalrun", str(chart), "-n", NAMESPACE, "-f", file.name, *more)


def render(values: Values, chart: Path = CHART) -> Objects:
    """Render the objects that these values give; each rendering is cached."""
    return _rendered(_text(values), chart)


def refused(values: Values, chart: Path = CHART) -> str:
    """Return Helm's error for values that it rejects."""
    done = template(values, chart)
    assert done.returncode != 0, "Helm takes them"
    return done.stderr


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """Return the objects of these kinds."""
    return [one for one in objects if one["kind"] in kinds]


def the(objects: Objects, kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    (one,) = of_kind(objects, kind)
    return one


def _text(values: Values) -> str:
    return (GOLDEN / f"{values}.values.yaml").read_text() if isinstance(values, str) else json.dumps(values)


@cache
def _rendered(text: str, chart: Path) -> Objects:
    done = template(yaml.safe_load(text), chart)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]
