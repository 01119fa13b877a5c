"""Rules for keys, which are equal in every store, so that keys that work in a directory also work on S3."""

from __future__ import annotations

import re

from evalrun_runner.errors import StoreDenied

TEMPORARY = ".tmp."
"""Prefix of the names of unfinished files in a directory store; no key may use it."""

_MAX_KEY_BYTES = 1024  # S3's limit
_MAX_NAME_BYTES = 255  # the limit of Linux file systems for one name
_USUAL = re.compile(r"[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,127}(?:/[A-Za-z0-9_%-][A-Za-z0-9_.%-]{0,127}){0,6}")
"""Keys that keep to the rules for sure: a pass over a large run checks tens of thousands of them."""


def check_key(key: str) -> None:
    """Check that a key stays inside the store's root and is valid in every kind of store.

    Raises:
        StoreDenied: The key is not valid.
    """
    if _USUAL.fullmatch(key):
        return
    names = key.split("/")
    if any(name in ("", ".", "..") for name in names):
        raise StoreDenied(f"{key!r} is no key of a store: it may have no empty, '.' or '..' part")
    if any(name.startswith(TEMPORARY) for name in names):
        raise StoreDenied(f"{key!r} is no key of a store: {TEMPORARY!r} starts the names of half-written files")
    if "\0" in key or not key.isprintable():
        raise StoreDenied(f"{key!r} is no key of a store: it holds characters that cannot be printed")
    if len(key.encode()) > _MAX_KEY_BYTES or any(len(name.encode()) > _MAX_NAME_BYTES for name in names):
        raise StoreDenied(
            f"the key {key!r} is too long: at most {_MAX_KEY_BYTES} bytes, and {_MAX_NAME_BYTES} in each part. "
            "Give the task a shorter name"
        )
