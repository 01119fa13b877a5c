"""A run ends the same way whatever started the command: uv in a project of the user's, a test, another program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.runs import END_SECONDS, EVALRUN, write_run, write_suite

Command = Sequence[str | Path]
QUESTIONS = [f"What is {n} + 1?" for n in range(16)]


def uv() -> str:
    """Find uv, which `make` puts on the PATH."""
    found = shutil.which("uv")
    if found is None:
        pytest.skip("there is no uv on the PATH; make integration brings one")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project of the user's that knows neither EvalRun nor anything that it needs."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n')
    return folder


def under_uv(command: Command) -> Command:
    return [uv(), "run", "--offline", "--python", sys.executable, *command]


def from_a_program(command: Command) -> Command:
    program = f"import subprocess, sys; sys.exit(subprocess.call({[str(word) for word in command]!r}))"
    return [sys.executable, "-c", program]


def a_test_under_uv(command: Command) -> Command:
    program = f"""
        import subprocess

        def test_run():
            assert subprocess.call({[str(word) for word in command]!r}) == 0
    """
    Path("test_mine.py").write_text(textwrap.dedent(program))
    return under_uv([sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_mine.py"])


@pytest.mark.parametrize("start", [under_uv, from_a_program, a_test_under_uv])
def test_a_run_has_its_own_environment_whatever_starts_it(
    start: Callable[[Command], Command], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    file = write_run(tmp_path / "run.yaml", write_suite(tmp_path / "suite", QUESTIONS))
    command = start([EVALRUN, "run", file, "--output", tmp_path / "output"])

    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert done.returncode == 0, done.stderr
    assert f"planned {len(QUESTIONS)} = {len(QUESTIONS)} ok" in done.stdout
    results = json.loads((tmp_path / "output" / "results.json").read_bytes())
    assert results["n-samples"]["sums"]["effective"] == len(QUESTIONS)
