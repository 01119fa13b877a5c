"""scripts/wheels.sh: the version is the packages' own, and a tag must agree with it. A script plays uv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("crds", "monitoring", "operator", "runner")
UV = """\
#!/usr/bin/env bash
mkdir -p "${@: -1}" && echo "$*" >"${@: -1}/played.whl"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of the same shape with one commit, its packages of version 1.2.3."""
    root = tmp_path / "project"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "wheels.sh", root / "scripts")
    for package in PACKAGES:
        (root / package).mkdir()
        (root / package / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(UV)
    program.chmod(0o755)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "all")
    return root


def git(root: Path, *words: str) -> None:
    somebody = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *somebody, *words], cwd=root, check=True, capture_output=True)


def wheels(root: Path) -> subprocess.CompletedProcess[str]:
    path = f"{root.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [root / "scripts" / "wheels.sh", root / "dist"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_commit_without_a_tag_gives_wheels_of_its_own_version(project: Path) -> None:
    done = wheels(project)
    assert done.returncode == 0, done.stderr
    assert "no tag; building version 1.2.3" in done.stderr
    assert done.stdout.split() == [str(project / "dist" / "played.whl")]


def test_a_tag_of_that_version_is_built_without_a_word(project: Path) -> None:
    git(project, "tag", "v1.2.3")
    done = wheels(project)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_tag_that_disagrees_with_a_package_is_refused(project: Path) -> None:
    git(project, "tag", "v1.3.0")
    done = wheels(project)
    assert done.returncode == 1
    assert "the tag is v1.3.0 and crds/pyproject.toml says version 1.2.3" in done.stderr
    assert "hint: set the version in all of crds monitoring operator runner" in done.stderr
    assert not (project / "dist").exists()
