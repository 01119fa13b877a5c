"""Cache of models, which several processes can share.

Contents of the cache's directory:

- ``models/<key>/``: a complete model; it appears by a rename
- ``settings/<key>/``: a model's configuration and tokenizer without its weights
- ``models/<key>/.evalrun.json``: the names and sizes of its files when it was completed, and its origin's listing
- ``models/.partial-<key>/``: a download in progress or interrupted; may be deleted when nothing runs
- ``models/.<key>.lock``: held by the process that downloads, and released when that process ends
- ``digests/``: hashes of files, by size and modification time
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from evalrun_runner.errors import InputError
from evalrun_runner.models.digest import names_in, write_atomically
from evalrun_runner.models.files import is_model_file
from evalrun_runner.models.types import RemoteFile

MODELS, SETTINGS = "models", "settings"
_RECORD = ".evalrun.json"
_MARGIN = 256 << 20
_MARGIN_SHARE = 20
_log = logging.getLogger(__name__)


def default_cache() -> Path:
    """Return the directory that holds models and suites between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun"


@dataclass(frozen=True, slots=True)
class Record:
    """Contents of an entry when it was completed."""

    files: tuple[str, ...]
    """Relative names of the entry's files."""
    listing: tuple[RemoteFile, ...]
    """Files of the model at its origin."""


class Entry:
    """Cache entry of one model, complete (``MODELS``) or without its weights (``SETTINGS``)."""

    def __init__(self, cache: Path, folder: str, uri: str, version: str) -> None:
        """Locate an entry.

        Args:
            cache: The cache's directory.
            folder: ``MODELS`` or ``SETTINGS``.
            uri: The model's address.
            version: Any text that changes when the model does.
        """
        name = re.sub(r"[^A-Za-z0-9.]+", "-", uri.rstrip("/").rsplit("/", 1)[-1]).strip("-.") or "model"
        key = f"{name[:40]}-{hashlib.sha256(os.fsencode(f'{uri} {version}')).hexdigest()[:16]}"
        self.path = cache / folder / key
        self.partial = cache / folder / f".partial-{key}"
        self._lock = cache / folder / f".{key}.lock"

    def record(self) -> Record | None:
        """Return what the entry contains if it is complete and every file still has its size, else None."""
        record = self.path / _RECORD
        if not record.exists():
            return None
        try:
            found = json.loads(record.read_bytes())
            sizes: dict[str, int] = found["files"]
            listing = tuple(RemoteFile(*file) for file in found["listing"])
        except (ValueError, TypeError, KeyError):
            _log.warning("%s is damaged; the model is brought again", record)
            return None
        for name, size in sizes.items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != size:
                _log.warning("%s was changed or deleted in the cache; the model is brought again", path)
                return None
        return Record(tuple(sizes), listing)

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the lock for changes to this entry, calling ``on_wait`` if another process holds it now."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def begin(self) -> Path:
        """Return the directory to download to, with what an earlier process left there. Requires the lock."""
        if self.path.exists():  # a damaged entry, otherwise no download would begin
            shutil.rmtree(self.path)
        self.partial.mkdir(exist_ok=True)
        return self.partial

    def complete(self, uri: str, revision: str | None, listing: Sequence[RemoteFile]) -> Record:
        """Turn the download into the complete model. Requires the lock."""
        sizes = {name: (self.partial / name).stat().st_size for name in names_in(self.partial) if is_model_file(name)}
        files = [astuple(file) for file in listing]
        record = {"uri": uri, "revision": revision, "files": sizes, "listing": files}
        write_atomically(self.partial / _RECORD, json.dumps(record, indent=1).encode())
        self.partial.rename(self.path)
        return Record(tuple(sizes), tuple(listing))

    def discard(self) -> None:
        """Delete a download that can never become a model. Requires the lock."""
        shutil.rmtree(self.partial)


def check_space(files: Mapping[str, int], partial: Path) -> None:
    """Check that a download fits on the disk, with a margin, before it begins.

    Args:
        files: Map from file name to size in bytes.
        partial: The directory to download to; the space that its files occupy is not needed again.

    Raises:
        InputError: The disk has too little free space.
    """
    present = sum(path.stat().st_blocks * 512 for path in partial.rglob("*") if path.is_file())
    missing = max(sum(files.values()) - present, 0)
    needed = missing + max(_MARGIN, missing // _MARGIN_SHARE) if missing else 0
    free = shutil.disk_usage(partial).free
    if free < needed:
        raise InputError(
            f"No space for the model: {_gb(needed)} needed (with a margin), {_gb(free)} free in {partial.parent}. "
            "Free space there, or put the model cache on a larger disk."
        )


def fingerprint(files: Sequence[RemoteFile]) -> str:
    """Return the ``sha256:…`` of names, sizes and versions, which changes when any of the files does."""
    lines = json.dumps(sorted((file.name, file.size, file.version) for file in files))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
