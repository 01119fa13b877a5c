"""Wheels as users install them, without the repository: by pip, uvx and pipx, from a shell and a notebook."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from support.e2e import ROOT

pytestmark = pytest.mark.timeout(1200)

ITEMS = 200
PIPX = "pipx==1.8.0"
NOTEBOOK = ("nbclient==0.10.2", "ipykernel==6.30.1")
"""What runs a notebook's cells in a kernel of their own."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of every wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    run(ROOT / "scripts" / "wheels.sh", folder)
    return folder


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of the programs, with every wheel of this tree installed."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", folder / "venv")
    programs = folder / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", *sorted(wheels.glob("*.whl")))
    run(programs / "pip", "check")
    return programs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Provide the quickstart's file, with its suites but without a real engine."""
    document = yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    document["spec"]["engine"] = {"mock": {}}
    for benchmark in document["spec"]["benchmarks"]:
        benchmark["source"] = {"path": str(ROOT / "examples" / "suites" / "quickstart")}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def under_uvx(wheels: Path) -> Sequence[str | Path]:
    (runner,) = wheels.glob("evalrun_runner-*.whl")
    return ["uv", "tool", "run", "--from", f"evalrun-runner @ {runner.as_uri()}", "--find-links", wheels]


def under_pipx(wheels: Path) -> Sequence[str | Path]:
    (runner,) = wheels.glob("evalrun_runner-*.whl")
    return ["uv", "tool", "run", PIPX, "run", "--spec", runner, "--pip-args", f"--find-links {wheels}"]


def run(*words: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_wheels_installed_by_pip_run_the_suites_of_the_quickstart(installed: Path, file: Path, tmp_path: Path) -> None:
    result = json.loads(run(installed / "evalrun", "run", file, "--json", folder=tmp_path))
    assert result["phase"] == "Succeeded"
    assert (result["counts"]["planned"], result["counts"]["ok"]) == (ITEMS, ITEMS)
    assert "everyday_choice" in run(installed / "evalrun", "results", tmp_path / "runs" / "quickstart")


@pytest.mark.parametrize("start", [under_uvx, under_pipx])
def test_a_run_has_its_own_environment_under_every_starter(
    start: Callable[[Path], Sequence[str | Path]], wheels: Path, file: Path, tmp_path: Path
) -> None:
    if shutil.which("uv") is None:
        pytest.skip("there is no uv on the PATH; make brings one")
    result = json.loads(run(*start(wheels), "evalrun", "run", file, "--json", folder=tmp_path))
    assert result["counts"]["ok"] == ITEMS


def test_a_run_is_started_from_a_notebook(installed: Path, file: Path, tmp_path: Path) -> None:
    run(installed / "pip", "install", "--quiet", *NOTEBOOK)
    cell = f"!{installed / 'evalrun'} run {file} --json > result.json"
    program = f"""
import nbformat, nbclient
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell({cell!r})])
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=600).execute()
"""
    run(installed / "python", "-c", program, folder=tmp_path)
    assert json.loads((tmp_path / "result.json").read_text())["counts"]["ok"] == ITEMS


def test_the_operator_and_the_dashboards_are_importable_from_their_wheels(installed: Path, tmp_path: Path) -> None:
    run(installed / "python", "-c", "import evalrun_operator.app", folder=tmp_path)
    run(installed / "python", "-m", "evalrun_monitoring", tmp_path / "dashboards", folder=tmp_path)
    assert list((tmp_path / "dashboards").glob("*.json"))
