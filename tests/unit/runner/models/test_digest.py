"""The digest of a model."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.errors import InputError
from evalrun_runner.models import digest as digests
from evalrun_runner.models.digest import combine, file_hashes, model_digest, parse_digest, verify_digest
from support.model_files import model_content, write_files


def test_the_digest_is_what_the_documented_command_prints(tmp_path: Path) -> None:
    write_files(tmp_path, model_content())
    command = "sha256sum * | LC_ALL=C sort | sha256sum"
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert model_digest(tmp_path) == f"sha256:{printed.split()[0]}"


def test_the_digest_covers_names_and_contents_of_the_model_only(tmp_path: Path) -> None:
    before = model_digest(write_files(tmp_path, model_content()))
    write_files(tmp_path, {"README.md": b"#", "code.py": b"", ".hidden.json": b"", "logs/run.json": b""})
    assert model_digest(tmp_path) == before
    (tmp_path / "chat_template.jinja").rename(tmp_path / "other.jinja")
    assert model_digest(tmp_path) != before


@given(st.dictionaries(st.text(min_size=1), st.binary(), max_size=5))
def test_the_order_of_files_does_not_matter(files: dict[str, bytes]) -> None:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert combine(hashes) == combine(dict(reversed(hashes.items())))


def test_a_file_larger_than_a_block_is_hashed_whole(tmp_path: Path) -> None:
    data = os.urandom(2 * digests.BLOCK + 1)
    (tmp_path / "x").write_bytes(data)
    assert digests.file_sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    model, cache = write_files(tmp_path / "model", model_content()), tmp_path / "cache"
    read: list[str] = []

    def recorded(path: Path) -> str:
        read.append(path.name)
        return digests.file_sha256(path)

    def digest() -> str:
        return digests.combine(file_hashes(model, cache=cache, hash_file=recorded))

    first = digest()
    assert len(read) == len(model_content())
    read.clear()
    assert digest() == first
    assert not read
    (model / "config.json").write_bytes(b"{ }")
    (model / "vocab.txt").write_bytes(b"")
    (model / "chat_template.jinja").unlink()
    assert digest() == model_digest(model) != first
    assert set(read) == {"config.json", "vocab.txt"}


def test_hashes_are_stored_for_a_directorys_final_name(tmp_path: Path) -> None:
    partial, cache = write_files(tmp_path / "partial", model_content()), tmp_path / "cache"
    hashes = file_hashes(partial, cache=cache, becomes=tmp_path / "model")
    partial.rename(tmp_path / "model")

    def unread(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    assert file_hashes(tmp_path / "model", cache=cache, hash_file=unread) == hashes


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"config.json": 1}', b'{"config.json": {"stamp": 1}}'])
def test_damaged_hashes_are_computed_again(tmp_path: Path, damage: bytes) -> None:
    model, cache = write_files(tmp_path / "model", model_content()), tmp_path / "cache"
    first = model_digest(model, cache=cache)
    (sidecar,) = (cache / "digests").iterdir()
    sidecar.write_bytes(damage)
    assert model_digest(model, cache=cache) == first


def test_a_cache_that_is_not_writable_is_no_obstacle(tmp_path: Path) -> None:
    model = write_files(tmp_path / "model", model_content())
    (tmp_path / "cache").write_bytes(b"a file where the directory should be")
    assert model_digest(model, cache=tmp_path / "cache") == model_digest(model)


def test_links_are_followed(tmp_path: Path) -> None:
    model = write_files(tmp_path / "model", model_content())
    before = model_digest(model)
    shutil.move(model / "config.json", tmp_path / "blob")
    (model / "config.json").symlink_to(tmp_path / "blob")
    assert model_digest(model) == before


def test_a_mismatch_shows_both() -> None:
    expected, found = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    verify_digest(found, None, "here", ["x"])
    verify_digest(found, found.upper(), "here", ["x"])
    with pytest.raises(InputError, match=f"expected {expected}\n  found    {found} over x, y"):
        verify_digest(found, expected, "here", ["y", "x"])


@pytest.mark.parametrize("text", ["", "sha256:", "a" * 64, f"md5:{'a' * 64}", f"sha256:{'g' * 64}"])
def test_a_text_that_is_not_a_digest_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        parse_digest(text)
