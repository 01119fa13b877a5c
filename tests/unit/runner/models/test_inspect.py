"""Looking at a model without its weights."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.models import ModelSource, fetch_model, inspect_model, model_digest
from support.model_files import FolderOrigin, model_content, write_files

SOURCE = ModelSource("hf://org/model")
SHARD_2 = "model-00002-of-00002.safetensors"


@pytest.fixture
def origin() -> FolderOrigin:
    return FolderOrigin(model_content())


def digest_of(content: dict[str, bytes], folder: Path) -> str:
    return model_digest(write_files(folder, content))


def test_only_files_without_weights_are_fetched_and_only_once(origin: FolderOrigin, tmp_path: Path) -> None:
    model = inspect_model(SOURCE, tmp_path, origins=origin.everywhere)
    assert model.files == tuple(sorted(origin.content))
    brought = {name for name in origin.content if not name.endswith(".safetensors")}
    assert set(origin.brought) == brought
    assert {path.name for path in model.path.iterdir()} == brought | {".evalrun.json"}
    origin.brought.clear()
    assert inspect_model(SOURCE, tmp_path, origins=origin.everywhere) == model
    assert not origin.brought
    assert not fetch_model(model.source, tmp_path, origins=origin.everywhere).path.is_relative_to(model.path)


def test_a_branch_is_pinned_to_its_commit(origin: FolderOrigin, tmp_path: Path) -> None:
    origin.revision = "c0ffee"
    source = inspect_model(SOURCE, tmp_path, origins=origin.everywhere).source
    assert (source.revision, source.digest, source.listing) == ("c0ffee", None, None)


def test_the_digest_is_known_if_the_origin_knows_the_hashes_of_the_weights(
    origin: FolderOrigin, tmp_path: Path
) -> None:
    origin.sha256 = True
    model = inspect_model(SOURCE, tmp_path / "cache", origins=origin.everywhere)
    assert model.source.digest == digest_of(origin.content, tmp_path / "copy")
    wrong = f"sha256:{sha256(b'other').hexdigest()}"
    with pytest.raises(InputError, match=f"expected {wrong}\n  found    {model.source.digest}"):
        inspect_model(replace(SOURCE, digest=wrong), tmp_path / "cache", origins=origin.everywhere)


def test_without_hashes_of_the_weights_the_listing_pins_the_model(origin: FolderOrigin, tmp_path: Path) -> None:
    origin.revision = None
    source = inspect_model(replace(SOURCE, uri="s3://bucket/m"), tmp_path, origins=origin.everywhere).source
    assert source.digest is None
    assert source.listing is not None
    assert fetch_model(source, tmp_path, origins=origin.everywhere).digest
    origin.content = model_content(seed=1)
    origin.version = "v2"
    with pytest.raises(InputError, match="was changed since this run looked at it first"):
        fetch_model(source, tmp_path, origins=origin.everywhere)
    assert (
        inspect_model(replace(SOURCE, uri="s3://bucket/m"), tmp_path, origins=origin.everywhere).source.listing
        != source.listing
    )


def test_a_given_digest_is_trusted_until_the_weights_are_fetched(origin: FolderOrigin, tmp_path: Path) -> None:
    origin.revision = None
    given = replace(SOURCE, uri="s3://bucket/m", digest=f"SHA256:{'a' * 64}")
    source = inspect_model(given, tmp_path, origins=origin.everywhere).source
    assert (source.digest, source.listing) == (f"sha256:{'a' * 64}", None)
    with pytest.raises(InputError, match=f"expected sha256:{'a' * 64}"):
        fetch_model(source, tmp_path, origins=origin.everywhere)


def test_a_directory_is_hashed_unless_its_digest_was_given(tmp_path: Path) -> None:
    directory = write_files(tmp_path / "model", model_content())
    source = ModelSource(directory.as_uri())
    model = inspect_model(source, tmp_path / "cache")
    assert (model.path, model.source.digest) == (directory, model_digest(directory))

    given = replace(source, digest=f"sha256:{'b' * 64}")
    assert inspect_model(given, tmp_path / "other cache").source == given
    assert not (tmp_path / "other cache").exists(), "the weights were not read: no hash of them is stored"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({SHARD_2: None}, f"model.safetensors.index.json names {SHARD_2}, which is not there"),
        ({"config.json": b"{"}, "config.json is damaged: it is not JSON"),
        ({"config.json": None}, "has no config.json"),
        ({"tokenizer.json": None}, "has no tokenizer"),
        (
            {SHARD_2: None, "model-00001-of-00002.safetensors": None, "pytorch_model.bin": b"x"},
            "weights only as pytorch_model.bin",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("uri", ["hf://org/model", "s3://bucket/m", "file"])
def test_an_incomplete_model_is_refused_before_its_weights_are_fetched(
    origin: FolderOrigin, tmp_path: Path, uri: str, change: dict[str, bytes | None], message: str
) -> None:
    origin.content = {name: data for name, data in (origin.content | change).items() if data is not None}
    source = ModelSource(uri if uri != "file" else write_files(tmp_path / "model", origin.content).as_uri())
    with pytest.raises(InputError, match=message):
        inspect_model(source, tmp_path / "cache", origins=origin.everywhere)
    assert not [name for name in origin.brought if name.endswith(".safetensors")]
    assert not list((tmp_path / "cache").glob("settings/.partial-*"))
