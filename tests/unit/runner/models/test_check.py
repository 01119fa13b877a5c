"""Damaged models are found before an engine loads them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.models.check import check_safetensors, check_settings, check_weights
from support.model_files import model_content, write_files

GOOD = model_content(shards=1)["model-00001-of-00001.safetensors"]


def header(content: object, data: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: int, end: int) -> dict[str, object]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "data", [GOOD, header({}), header({"__metadata__": {"format": "pt"}, "a": tensor(0, 2)}, b"xy")]
)
def test_a_whole_file_passes(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    check_safetensors(path)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes are too few"),
        (b"abc", "3 bytes are too few"),
        (GOOD[:20], "header is said to have"),
        (GOOD[:-1], "it has 400,079 bytes, its header says 400,080"),
        (GOOD + b"x", "its header says 400,080"),
        (b"\xff" * 100, "header is said to have"),
        (struct.pack("<Q", 4) + b"{no}", "header cannot be read"),
        (header([1]), "header cannot be read"),
        (header({"a": {}}), "header cannot be read"),
        (header({"a": {"data_offsets": [1]}}), "header cannot be read"),
        (header({"a": tensor(1, 2)}, b"xy"), "expected at 0"),
        (header({"a": tensor(0, 2), "b": tensor(1, 3)}, b"xyz"), "expected at 2"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path}.*{why}"):
        check_safetensors(path)


def test_every_truncation_of_a_file_is_found(tmp_path: Path) -> None:
    whole = header({"a": tensor(0, 5), "b": tensor(5, 9)}, b"123456789")
    path = tmp_path / "model.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged"):
            check_safetensors(path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    content = model_content(shards=3)
    present = [name for name in content if "00002" not in name]
    write_files(tmp_path, content)
    with pytest.raises(InputError, match=r"names model-00002-of-00003\.safetensors, which is not there"):
        check_weights(tmp_path, present, "here")


@pytest.mark.parametrize("index", [b"{", b"[]", b"{}"])
def test_a_damaged_index_is_named(tmp_path: Path, index: bytes) -> None:
    write_files(tmp_path, {"model.safetensors.index.json": index})
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        check_weights(tmp_path, [], "here")


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\xff\xfe" + data, lambda _: b"[]"])
def test_a_damaged_configuration_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    content = model_content()
    write_files(tmp_path, content | {"config.json": damage(content["config.json"])})
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        check_settings(tmp_path)
