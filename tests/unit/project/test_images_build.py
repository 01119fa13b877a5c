"""scripts/images.sh: its calls of Docker and buildah, here replaced by a script, and its use of their results."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILES = [ROOT / "Dockerfile.operator", ROOT / "Dockerfile.runner"]

# Writes down how it was called, and plays as much of a builder as the script asks for.
TOOL = """\
#!/usr/bin/env bash
set -euo pipefail
echo "$(basename "$0") $*" >>"$CALLS"
[[ $(basename "$0") == docker ]] || shift 4 # --root … --runroot …
case "$1" in
    info | inspect) exit 0 ;;
    bud | build)
        if [[ -n ${BUILD_FAILS:-} ]]; then echo "no such package: $BUILD_FAILS"; exit 1; fi
        for argument in "$@"; do
            [[ $argument != id=*,src=* ]] || cp "${argument#*src=}" "$SECRETS/"
        done
        echo "--> 0123456789a" ;;
    from) echo container ;;
    commit)
        layout=${@: -1}; layout=${layout#oci:}; layout=${layout%%:*}
        mkdir -p "$layout/blobs/sha256"
        config=$(printf 'c%.0s' {1..64}) layer=$(printf 'a%.0s' {1..64}) manifest=$(printf 'e%.0s' {1..64})
        [[ -e $layout/blobs/sha256/$layer ]] || echo layer >"$layout/blobs/sha256/$layer"
        echo '{"config":"sha256:'$config'","layers":["sha256:'$layer'"]}' >"$layout/blobs/sha256/$manifest"
        echo config >"$layout/blobs/sha256/$config"
        entry='{"digest":"sha256:'$manifest'","annotations":{"org.opencontainers.image.ref.name":"x"}}'
        echo '{"manifests":['$entry']}' >"$layout/index.json" ;;
esac
"""


@dataclass
class Project:
    """A small project of the same shape, with scripted builders."""

    root: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def images(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {"XDG_CACHE_HOME": self.folder / "cache", "HOME": self.folder, "XDG_RUNTIME_DIR": self.folder}
        played = {"CALLS": self.folder / "calls", "SECRETS": self.folder / "secrets"}
        path = f"{self.folder / 'bin'}:{os.defpath}"
        return subprocess.run(
            [self.root / "scripts" / "images.sh", *arguments],
            env={"PATH": path, **{name: str(value) for name, value in (places | played).items()}, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def layout(self, name: str = "operator", **environment: str) -> Path:
        done = self.images(name, IMAGES_TOOL="buildah", **environment)
        assert done.returncode == 0, done.stderr
        called, reference, directory = done.stdout.split()
        assert (called, reference) == (name, f"localhost/evalrun-{name}:dev")
        return Path(directory)

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def builds(self) -> list[str]:
        return [call for call in self.calls if " bud " in call or " build " in call]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    for name in ("Dockerfile.operator", "Dockerfile.runner", ".dockerignore", "scripts/images.sh", "scripts/images"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    for package in ("crds", "monitoring", "operator", "runner"):
        (root / package / "src").mkdir(parents=True)
        (root / package / "src" / "code.py").write_text("")
        (root / package / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    for name in ("pyproject.toml", "uv.lock"):
        (root / name).write_text("")
    for tool in ("docker", "buildah"):
        file = tmp_path / "bin" / tool
        file.parent.mkdir(exist_ok=True)
        file.write_text(TOOL)
        file.chmod(0o755)
    (tmp_path / "secrets").mkdir()
    return Project(root, tmp_path)


def test_image_becomes_a_layout_for_containerd(project: Project) -> None:
    layout = project.layout()
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/evalrun-operator:dev"
    assert len(list((layout / "blobs" / "sha256").iterdir())) == 3


def test_unchanged_inputs_build_nothing(project: Project) -> None:
    first = project.layout()
    called = project.calls
    assert project.layout() == first
    assert project.calls == called


def test_code_change_keeps_unchanged_blobs(project: Project) -> None:
    first = project.layout()
    (project.root / "operator" / "src" / "code.py").write_text("pass")
    second = project.layout()
    assert second != first
    layer = Path("blobs", "sha256", "a" * 64)
    assert (second / layer).samefile(first / layer)


@pytest.mark.parametrize("changed", ["crds/src/code.py", "uv.lock", "runner/pyproject.toml", "Dockerfile.operator"])
def test_inputs_are_in_the_key(project: Project, changed: str) -> None:
    first = project.layout()
    with (project.root / changed).open("a") as file:
        file.write("# changed\n")
    assert project.layout() != first


@pytest.mark.parametrize("changed", ["runner/src/code.py", "operator/src/__pycache__/code.pyc", "Dockerfile.runner"])
def test_unrelated_files_are_not_in_the_key(project: Project, changed: str) -> None:
    first = project.layout()
    (project.root / changed).parent.mkdir(exist_ok=True)
    with (project.root / changed).open("a") as file:
        file.write("# changed\n")
    assert project.layout() == first


def test_runner_key_contains_the_engine(project: Project) -> None:
    assert project.layout("runner") != project.layout("runner", IMAGES_EXTRA="cuda")
    assert "EXTRA=cpu" in project.builds()[0]
    assert "EXTRA=cuda" in project.builds()[1]


def test_only_the_two_newest_layouts_are_kept(project: Project) -> None:
    layouts = []
    for change in range(3):
        (project.root / "operator" / "src" / "code.py").write_text(f"# {change}")
        layouts.append(project.layout())
    assert [layout.exists() for layout in layouts] == [False, True, True]


def test_docker_images_have_no_layout(project: Project) -> None:
    done = project.images("operator")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["operator", "localhost/evalrun-operator:dev", "-"]
    (build,) = project.builds()
    assert build.startswith("docker build --file Dockerfile.operator --tag localhost/evalrun-operator:dev")
    assert "VERSION=1.2.3" in build


@pytest.mark.parametrize("tool", ["docker", "buildah"])
def test_index_and_certificates_are_mounted_and_never_arguments(project: Project, tool: str) -> None:
    certificates = project.folder / "own.crt"
    certificates.write_text("CERTIFICATE")
    done = project.images(
        "runner", IMAGES_TOOL=tool, PIP_INDEX_URL="https://me:secret@mirror/simple", SSL_CERT_FILE=str(certificates)
    )
    assert done.returncode == 0, done.stderr
    assert not [call for call in project.calls if "secret@mirror" in call]
    shell = (project.folder / "secrets" / "registry.sh").read_text()
    assert "UV_DEFAULT_INDEX='https://me:secret@mirror/simple'" in shell
    assert "SSL_CERT_FILE=/run/ca.crt" in shell
    assert (project.folder / "secrets" / "ca.crt").read_text() == "CERTIFICATE"


def test_public_index_needs_no_mounts(project: Project) -> None:
    project.layout()
    assert (project.folder / "secrets" / "registry.sh").read_text() == ""


def test_failed_build_is_explained_and_leaves_nothing(project: Project) -> None:
    done = project.images("operator", IMAGES_TOOL="buildah", BUILD_FAILS="left-pad")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no such package: left-pad" in done.stderr
    assert not list((project.folder / "cache" / "evalrun" / "images").glob("evalrun-operator-*"))


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("sidecar",), {}, "operator, runner or all; not sidecar"),
        (("all",), {"IMAGES_EXTRA": "rocm"}, "IMAGES_EXTRA is cpu or cuda, not rocm"),
        (("operator",), {"IMAGES_TOOL": "podman"}, "IMAGES_TOOL is docker or buildah, not podman"),
    ],
)
def test_wrong_input_is_reported(
    project: Project, arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    done = project.images(*arguments, **environment)
    assert done.returncode == 1
    assert said in done.stderr


# The Dockerfiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_images_run_as_an_unprivileged_user(file: Path) -> None:
    final = file.read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["1000:1000"]
    assert "HOME=/tmp/home" in final
    for label in ("title", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in final


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_installed_packages_are_locked(file: Path) -> None:
    text = file.read_text()
    assert "uv export --locked" in text
    assert "--require-hashes" in text
    (pinned,) = re.findall(r"^ARG UV_VERSION=(.*)$", text, re.MULTILINE)
    assert f"UV_VERSION := {pinned}\n" in (ROOT / "Makefile").read_text()


def test_operator_image_contains_nothing_of_the_runner() -> None:
    assert not re.search(r"^COPY runner runner|package evalrun-runner", DOCKERFILES[0].read_text(), re.MULTILINE)
