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
INDEX = "model.safetensors.index.json"


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
        ({SHARD_2: None, INDEX: None}, f"by the numbers in their names there are also {SHARD_2}, which is not there"),
        (
            {
                SHARD_2: None,
                INDEX: None,
                "model-00001-of-00002.safetensors": None,
                "model-00003-of-00004.safetensors": b"x",
            },
            r"also model-00001-of-00004.safetensors, .*00002-of-.*, model-00004-of-00004.safetensors, which are not",
        ),
        ({SHARD_2: None, "model-00001-of-00002.safetensors": None}, "but none of the files with weights that it names"),
        (
            {"config.json": b'{"architectures": ["BertForMaskedLM"]}'},
            "architecture is BertForMaskedLM, which writes no",
        ),
        ({"modules.json": b"[]"}, "model of sentence-transformers"),
        ({"config.json": None, "model_index.json": b"{}"}, "pipeline of diffusers"),
        ({"model.safetensors.index.json": b"{"}, "model.safetensors.index.json is damaged"),
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


ADAPTER = {
    "adapter_config.json": b'{"base_model_name_or_path": "org/base", "peft_type": "LORA"}',
    "tokenizer.json": b"{}",
}


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("config", [{}, {"config.json": b'{"model_type": "llama"}'}], ids=["bare", "with config.json"])
@pytest.mark.parametrize("uri", ["hf://org/model", "s3://bucket/m", "file"])
def test_an_adapter_is_named_as_such_with_its_base(
    tmp_path: Path, uri: str, config: dict[str, bytes], weights: str
) -> None:
    origin = FolderOrigin({**ADAPTER, **config, weights: b"x", "README.md": b""})
    source = ModelSource(uri if uri != "file" else write_files(tmp_path / "model", origin.content).as_uri())
    for look in (inspect_model, fetch_model):
        with pytest.raises(
            InputError, match=r"this is a LoRA adapter \(base: org/base\), .*merge_and_unload.*merged folder"
        ):
            look(source, tmp_path / "cache", origins=origin.everywhere)
    assert weights not in origin.brought


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            b'{"peft_type": "PREFIX_TUNING", "base_model_name_or_path": "b"}',
            r"an adapter of the kind PREFIX_TUNING .*base: b",
        ),
        (b"{", r"a LoRA adapter \(base: not named in it\)"),
        (b"[]", r"a LoRA adapter \(base: not named in it\)"),
        (b'{"base_model_name_or_path": null}', r"a LoRA adapter \(base: not named in it\)"),
    ],
)
def test_an_adapter_with_another_configuration_is_still_one(tmp_path: Path, config: bytes, named: str) -> None:
    content = {"adapter_config.json": config, "adapter_model.safetensors": b"x", "config.json": b"{}"}
    with pytest.raises(InputError, match=named):
        inspect_model(ModelSource(write_files(tmp_path / "model", content).as_uri()), tmp_path)


def test_shards_that_are_all_there_need_no_index(origin: FolderOrigin, tmp_path: Path) -> None:
    del origin.content[INDEX]
    assert inspect_model(SOURCE, tmp_path, origins=origin.everywhere).files == tuple(sorted(origin.content))


def test_a_link_to_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    model = write_files(tmp_path / "model", model_content())
    (model / "notes.txt").symlink_to("nowhere")
    assert inspect_model(ModelSource(model.as_uri()), tmp_path)
    (model / SHARD_2).rename(tmp_path / "blob")
    (model / SHARD_2).symlink_to("../blob")
    assert inspect_model(ModelSource(model.as_uri()), tmp_path)
    (tmp_path / "blob").unlink()
    with pytest.raises(
        InputError, match=rf"{SHARD_2} is a link to \.\./blob, which is not there\. Copy the model with"
    ):
        inspect_model(ModelSource(model.as_uri()), tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"gone is a link to .*nowhere, which is not there"):
        inspect_model(ModelSource((tmp_path / "gone").as_uri()), tmp_path)
