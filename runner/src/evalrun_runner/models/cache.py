"""The cache of models that several processes share.

Below the cache's directory:

- ``models/<key>/``: a whole model; it appears by a rename
- ``settings/<key>/``: a model's configuration and tokenizer without its weights
- ``models/<key>/.evalrun.json``: the names and sizes that it was completed with, and the listing of its origin
- ``models/.partial-<key>/``: a download under way or interrupted; may be deleted when nothing runs
- ``models/.<key>.lock``: held by the process that downloads; its death gives it free
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
    """Where models and suites are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun"


@dataclass(frozen=True, slots=True)
class Record:
    """What an entry was completed with."""

    files: tuple[str, ...]
    """Relative names of the files that are here."""
    listing: tuple[RemoteFile, ...]
    """The model's files at its origin."""


class Entry:
    """One model's place in the cache, whole (``MODELS``) or without its weights (``SETTINGS``)."""

    def __init__(self, cache: Path, folder: str, uri: str, version: str) -> None:
        """``version`` is whatever changes when the model does."""
        name = re.sub(r"[^A-Za-z0-9.]+", "-", uri.rstrip("/").rsplit("/", 1)[-1]).strip("-.") or "model"
        key = f"{name[:40]}-{hashlib.sha256(os.fsencode(f'{uri} {version}')).hexdigest()[:16]}"
        self.path = cache / folder / key
        self.partial = cache / folder / f".partial-{key}"
        self._lock = cache / folder / f".{key}.lock"

    def record(self) -> Record | None:
        """What is here, if it is and every file still has its size, else None."""
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
        """Be the only process that changes this entry; ``on_wait`` is called if that takes waiting."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def begin(self) -> Path:
        """The directory to download to, with what an earlier process left there. Only while locked."""
        if self.path.exists():  # damaged, else nobody would begin
            shutil.rmtree(self.path)
        self.partial.mkdir(exist_ok=True)
        return self.partial

    def complete(self, uri: str, revision: str | None, listing: Sequence[RemoteFile]) -> Record:
        """Turn the download into the model. Only while locked."""
        sizes = {name: (self.partial / name).stat().st_size for name in names_in(self.partial) if is_model_file(name)}
        files = [astuple(file) for file in listing]
        record = {"uri": uri, "revision": revision, "files": sizes, "listing": files}
        write_atomically(self.partial / _RECORD, json.dumps(record, indent=1).encode())
        self.partial.rename(self.path)
        return Record(tuple(sizes), tuple(listing))

    def discard(self) -> None:
        """Delete a download that can never become a model. Only while locked."""
        shutil.rmtree(self.partial)


def check_space(files: Mapping[str, int], partial: Path) -> None:
    """Check that a download fits on the disk, with a margin, before it begins.

    ``files`` maps names to sizes in bytes; what is in ``partial`` already is not needed again. Raises InputError.
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
    """``sha256:…`` of names, sizes and versions: changes when any of the files does."""
    lines = json.dumps(sorted((file.name, file.size, file.version) for file in files))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
