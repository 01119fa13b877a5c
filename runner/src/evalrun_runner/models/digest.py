"""Digest of a model: one sha256 over the sorted lines ``<sha256>  <relative path>`` of its files.

With GNU tools, in a directory that contains nothing else: ``sha256sum * | LC_ALL=C sort | sha256sum``.
``files.PATTERNS`` defines which files count.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evalrun_runner.errors import InputError
from evalrun_runner.models.files import TEMPLATES, is_model_file

BLOCK = 1 << 20
THREADS = 4
_log = logging.getLogger(__name__)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parse_digest(text: str) -> str:
    """Return a digest in its canonical form, ``sha256:`` and 64 lower-case hexadecimal digits.

    Raises:
        InputError: The text is not a digest.
    """
    digest = text.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"model.digest: {text!r} is not a digest; expected sha256: and 64 hexadecimal digits.")
    return digest


def names_in(directory: Path) -> tuple[str, ...]:
    """Return the sorted relative names of the regular files in a model's directory and its folder of chat templates.

    Symbolic links are followed, because the hub's own cache consists of them.
    """
    inside = [entry.name for entry in os.scandir(directory) if entry.is_file()]
    if (directory / TEMPLATES).is_dir():
        inside += [TEMPLATES + entry.name for entry in os.scandir(directory / TEMPLATES) if entry.is_file()]
    return tuple(sorted(inside))


def combine(hashes: Mapping[str, str]) -> str:
    """Combine hashes of files into the model's digest.

    Args:
        hashes: Map from relative path to sha256 in hexadecimal digits.
    """
    lines = sorted(f"{sha256}  {name}\n".encode() for name, sha256 in hashes.items())
    return f"sha256:{hashlib.sha256(b''.join(lines)).hexdigest()}"


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file, read in blocks of 1 MiB, in hexadecimal digits."""
    state = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def model_digest(directory: Path, *, cache: Path | None = None) -> str:
    """Compute the digest of the model in a directory; ``cache`` as in ``file_hashes``."""
    return combine(file_hashes(directory, cache=cache))


def file_hashes(
    directory: Path,
    *,
    cache: Path | None = None,
    becomes: Path | None = None,
    hash_file: Callable[[Path], str] = file_sha256,
) -> dict[str, str]:
    """Compute the sha256 of each of a model's files.

    Hashing releases the interpreter's lock, so threads share the work.

    Args:
        directory: The model's directory.
        cache: Directory that stores the hashes by (path, size, mtime in ns), so that an unchanged file is not read
            again; None to store none.
        becomes: The path to store the hashes for, if the directory is about to be renamed.
        hash_file: Computes the sha256 of one file.

    Returns:
        Map from relative path to sha256 in hexadecimal digits.
    """
    names = [name for name in names_in(directory) if is_model_file(name)]
    sidecar = _Sidecar.of(becomes or directory, cache) if cache else None
    known = sidecar.read() if sidecar else {}
    stamps = {name: _stamp(directory / name) for name in names}
    stale = [name for name in names if known.get(name, {}).get("stamp") != stamps[name]]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="digest") as pool:
        fresh = dict(zip(stale, pool.map(hash_file, [directory / name for name in stale]), strict=True))
    hashes = {name: fresh.get(name) or str(known[name]["sha256"]) for name in names}
    if sidecar and (stale or set(known) != set(names)):
        sidecar.write({name: {"stamp": stamps[name], "sha256": hashes[name]} for name in names})
    return hashes


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


class _Sidecar:
    """Hashes of one directory's files, stored in a JSON file of the cache."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, directory: Path, cache: Path) -> _Sidecar:
        place = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:32]
        return cls(cache / "digests" / f"{place}.json")

    def read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):  # missing or damaged: the files are hashed again
            return {}
        entries = content if isinstance(content, dict) else {}
        return {name: entry for name, entry in entries.items() if isinstance(entry, dict) and "sha256" in entry}

    def write(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(entries, indent=1).encode())
        except OSError as error:  # a read-only cache: the next call hashes again, with the same result
            _log.debug("the hashes of %s are not kept: %s", self.path, error)


def write_atomically(path: Path, data: bytes) -> None:
    """Create or replace a file atomically, by renaming a temporary file in the same directory."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def verify_digest(actual: str, expected: str | None, where: str, files: Iterable[str]) -> None:
    """Compare a model's digest with the expected one; None accepts any.

    Raises:
        InputError: The digests differ.
    """
    if expected is None or actual == parse_digest(expected):
        return
    raise InputError(
        f"{where}: the model is not the one that model.digest names.\n"
        f"  expected {parse_digest(expected)}\n"
        f"  found    {actual} over {', '.join(sorted(files))}\n"
        "Correct model.digest, or name the place or the revision that holds the model you mean."
    )
