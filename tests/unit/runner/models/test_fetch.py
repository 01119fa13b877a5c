"""Fetching a model, as far as it needs no network, and the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.models import FetchProgress, FetchStage, ModelSource, fetch_model, model_digest
from evalrun_runner.models.cache import MODELS, Entry, check_space
from evalrun_runner.models.types import RemoteFile, Transfer
from support.model_files import FolderOrigin, model_content, write_files


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def origin() -> FolderOrigin:
    return FolderOrigin(model_content())


SOURCE = ModelSource("hf://org/model")


def test_a_directory_is_used_in_place_and_not_written_to(tmp_path: Path) -> None:
    directory = write_files(tmp_path / "my model", model_content())
    before = sorted(directory.iterdir())
    digest = model_digest(directory)
    uri = f"file://{tmp_path}/my%20model"
    model = fetch_model(ModelSource(uri, digest=digest), tmp_path / "cache")
    assert model.path == directory
    assert model.digest == digest
    assert model.revision is None
    assert model.files == tuple(sorted(model_content()))
    assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ModelSource("pvc://claim/path"), "a volume of a cluster"),
        (ModelSource("gs://bucket/x"), "should begin with file:///, s3://, hf://"),
        (ModelSource("/models/llama"), "A directory is written file:///path"),
        (ModelSource("file://models/llama"), "with three slashes"),
        (ModelSource("file:///no/such/directory"), "/no/such/directory is not there"),
        (ModelSource("file:///etc/passwd"), "/etc/passwd is a file"),
        (ModelSource("file:///tmp", revision="main"), "only hf:// models have revisions"),
        (ModelSource("file:///tmp", digest="md5:1"), "64 hexadecimal digits"),
    ],
)
def test_a_bad_source_is_refused(tmp_path: Path, source: ModelSource, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch_model(source, tmp_path)


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    content = model_content(shards=1)
    name = "model-00001-of-00001.safetensors"
    directory = write_files(tmp_path / "model", content | {name: content[name][:-1]})
    with pytest.raises(InputError, match=f"{name} is damaged"):
        fetch_model(ModelSource(directory.as_uri()), tmp_path / "cache")


def test_a_folder_of_checkpoints_names_them(tmp_path: Path) -> None:
    write_files(tmp_path / "step-1", model_content())
    with pytest.raises(InputError, match="holds the model, name that: step-1"):
        fetch_model(ModelSource(tmp_path.as_uri()), tmp_path / "cache")


def test_small_files_come_before_weights_and_a_second_fetch_downloads_nothing(
    origin: FolderOrigin, tmp_path: Path
) -> None:
    seen: list[FetchProgress] = []
    first = fetch_model(SOURCE, tmp_path, progress=seen.append, origins=origin.everywhere)
    weights = [name.endswith(".safetensors") for name in origin.brought]
    assert weights == sorted(weights)
    assert [each.stage for each in seen][-1] is FetchStage.VERIFYING
    origin.brought.clear()
    assert fetch_model(SOURCE, tmp_path, origins=origin.everywhere) == first
    assert not origin.brought


@pytest.mark.parametrize("damage", ["truncated", "deleted", "record"])
def test_a_model_that_was_damaged_in_the_cache_is_fetched_again(
    origin: FolderOrigin, tmp_path: Path, damage: str
) -> None:
    first = fetch_model(SOURCE, tmp_path, origins=origin.everywhere)
    match damage:
        case "truncated":
            (first.path / "tokenizer.json").write_bytes(b"")
        case "deleted":
            (first.path / "config.json").unlink()
        case "record":
            (first.path / ".evalrun.json").write_bytes(b"{")
    origin.brought.clear()
    assert fetch_model(SOURCE, tmp_path, origins=origin.everywhere) == first
    assert set(origin.brought) == set(origin.content)


def test_lack_of_space_is_reported_before_anything_is_fetched(
    origin: FolderOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(InputError, match=rf"0\.27 GB needed .*, 0\.00 GB free in {tmp_path}/models"):
        fetch_model(SOURCE, tmp_path, origins=origin.everywhere)
    assert not origin.brought


def test_existing_files_need_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 0))
    write_files(tmp_path, {"a": b"x" * 8192})
    check_space({"a": 8192}, tmp_path)
    with pytest.raises(InputError, match="No space"):
        check_space({"a": 8192 * 2}, tmp_path)


def test_a_full_disk_in_mid_download_is_an_input_error(tmp_path: Path) -> None:
    class Full(FolderOrigin):
        def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
            raise OSError(28, "No space left on device")

    origin = Full(model_content())
    with pytest.raises(InputError, match=f"No space left in {tmp_path} while hf://org/model"):
        fetch_model(SOURCE, tmp_path, origins=origin.everywhere)


def test_a_cache_that_is_not_a_directory_is_reported(origin: FolderOrigin, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(InputError, match=r"cache.*a directory that you may write"):
        fetch_model(SOURCE, tmp_path / "cache", origins=origin.everywhere)


def test_the_cache_records_where_the_model_is_from(origin: FolderOrigin, tmp_path: Path) -> None:
    model = fetch_model(SOURCE, tmp_path, origins=origin.everywhere)
    record = json.loads((model.path / ".evalrun.json").read_bytes())
    assert record["uri"] == "hf://org/model"
    assert record["revision"] == "1"
    assert set(record["files"]) == set(origin.content)


def test_different_models_have_different_entries(tmp_path: Path) -> None:
    places = {
        Entry(tmp_path, MODELS, uri, version).path.name
        for uri in ("hf://a/model", "hf://b/model", "s3://bucket/..", "s3://b/ä ö/")
        for version in ("1", "2")
    }
    assert len(places) == 8
    assert all(name.isascii() and not name.startswith(".") for name in places)
