"""Packages as users install them: wheels, plain pip, a fresh environment, without the repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.e2e import ROOT

pytestmark = pytest.mark.timeout(1200)

ITEMS = 200


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of the programs, with every wheel of this tree installed."""
    folder = tmp_path_factory.mktemp("wheels")
    run(ROOT / "scripts" / "wheels.sh", folder / "dist")
    run(sys.executable, "-m", "venv", folder / "venv")
    programs = folder / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", *sorted((folder / "dist").glob("*.whl")))
    run(programs / "pip", "check")
    return programs


def run(*words: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_wheels_installed_by_pip_run_the_suites_of_the_quickstart(installed: Path, tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    document["spec"]["engine"] = {"mock": {}}
    for benchmark in document["spec"]["benchmarks"]:
        benchmark["source"] = {"path": str(ROOT / "examples" / "suites" / "quickstart")}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    result = json.loads(run(installed / "evalrun", "run", file, "--json", folder=tmp_path))
    assert result["phase"] == "Succeeded"
    assert result["counts"] == {"planned": ITEMS, "ok": ITEMS, "failed": 0, "quarantined": 0, "skipped": 0}
    assert "everyday_choice" in run(installed / "evalrun", "results", tmp_path / "runs" / "quickstart")


def test_the_operator_and_the_dashboards_are_importable_from_their_wheels(installed: Path, tmp_path: Path) -> None:
    run(installed / "python", "-c", "import evalrun_operator.app", folder=tmp_path)
    run(installed / "python", "-m", "evalrun_monitoring", tmp_path / "dashboards", folder=tmp_path)
    assert list((tmp_path / "dashboards").glob("*.json"))
