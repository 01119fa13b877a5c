"""Which keys a store takes: the same in every store, so that what works in a directory works on S3 too."""

from __future__ import annotations

from evalrun_runner.errors import StoreDenied

TEMPORARY = ".tmp."
"""How the names of a directory store's half-written files start; no key may use it."""

_MAX_KEY_BYTES = 1024  # S3's limit
_MAX_NAME_BYTES = 255  # the limit of Linux file systems for one name


def check_key(key: str) -> None:
    """Refuse keys that would leave the store's root or that only some of the stores could hold.

    Raises ``StoreDenied``: a retry does not mend it.
    """
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
