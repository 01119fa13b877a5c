"""Keys stay inside the store's root, and are valid in every kind of store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.errors import StoreDenied
from evalrun_runner.store.keys import check_key

USUAL = "parts/task%2Fone-v1.2/00000012.parquet"


def test_usual_keys_are_taken() -> None:
    for key in (USUAL, "run.json", "parts/größe/x y"):
        check_key(key)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", ".tmp.x", "a/.tmp.x", "a\0", "a\nb"])
def test_what_leaves_the_root_or_cannot_be_a_name_is_refused(key: str) -> None:
    with pytest.raises(StoreDenied):
        check_key(key)


@pytest.mark.parametrize("key", ["a" * 256, "/".join(["a" * 200] * 6), f"{USUAL}\n"])
def test_what_is_too_long_or_ends_in_a_line_is_refused(key: str) -> None:
    with pytest.raises(StoreDenied):
        check_key(key)


@given(st.text(alphabet="ab./%~ \n", max_size=12))
def test_no_key_that_is_taken_leaves_the_root(key: str) -> None:
    try:
        check_key(key)
    except StoreDenied:
        return
    assert all(name not in ("", ".", "..") and not name.startswith(".tmp.") for name in key.split("/"))
