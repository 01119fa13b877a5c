"""A directory as an object store: local runs, and volumes that several machines mount.

Objects are files. A file is written under a temporary name beside its final one and gets that name in one step:
by ``link`` where the key must be free (the file system lets exactly one of two creators win), by ``rename`` where it
may be replaced. Both files and directories are synced, so that what was reported committed survives a power cut.
A writer that was killed leaves a temporary file at most: it is never listed and never read.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable
from evalrun_runner.store.keys import TEMPORARY, check_key

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = {
    errno.EACCES: "this user may not write or read there; change the owner or the mode, or choose another output",
    errno.EPERM: "the file system refuses it; choose an output on a file system that has hard links",
    errno.EROFS: "the file system is mounted read-only; choose another output",
    errno.ENOTDIR: "a part of the path is a file where a directory is needed; choose another output",
    errno.EISDIR: "a directory is where a file is needed; choose an empty output",
    errno.EEXIST: "a file is where a directory is needed; choose another output",
    errno.ENAMETOOLONG: "the path is too long for the file system; choose a shorter output or task name",
    errno.ELOOP: "the path runs through a loop of symbolic links",
    errno.EOPNOTSUPP: "the file system has no hard links; choose an output on one that has",
    errno.ENOSYS: "the file system has no hard links; choose an output on one that has",
}


def classify(error: OSError, path: Path) -> StoreError:
    """The store's word for what the operating system said."""
    reason = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{reason}. Free space on that file system or raise the quota; the run goes on from there")
    if error.errno in _DENIED:
        return StoreDenied(f"{reason}: {_DENIED[error.errno]}")
    return StoreUnavailable(f"{reason}. Check the disk or the network mount")


class DirectoryStore:
    """The keys are paths below ``root``, which is made at the first write."""

    def __init__(self, root: Path) -> None:
        """``root`` may be relative to the working directory of now."""
        self.root = Path(os.path.abspath(root))
        self.uri = self.root.as_uri() + "/"

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore.create``."""
        path = self._path(key)
        with self._written(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                # Over NFS a link that succeeded may be answered with "exists" when the answer was lost: our own bytes.
                return path.read_bytes() == data
        return True

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore.put``."""
        path = self._path(key)
        with self._written(path, data) as temporary:
            temporary.replace(path)

    def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectMissing(f"{path} is not there") from error
        except OSError as error:
            raise classify(error, path) from error

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        path = self._path(key)
        try:
            return path.is_file()
        except OSError as error:
            raise classify(error, path) from error

    def list(self, prefix: str) -> Iterator[str]:
        """See ``ObjectStore.list``; streamed directory by directory."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        return self._walk(folder + "/" if folder else "", prefix)

    def delete(self, key: str) -> None:
        """See ``ObjectStore.delete``."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync(path.parent)
        except (NotADirectoryError, IsADirectoryError):
            return  # a part of the key is a file, or the key is a directory: no object is there
        except OSError as error:
            raise classify(error, path) from error

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore.move``."""
        self.put(to, self.get(key))
        self.delete(key)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    @contextmanager
    def _written(self, path: Path, data: bytes) -> Iterator[Path]:
        """A synced temporary file beside ``path``; after the body has named it, the directory is synced too."""
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(12)}")
        try:
            _make_directory(path.parent)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            _sync(path.parent)
        except OSError as error:
            raise classify(error, path) from error

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(TEMPORARY)]
                names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in shown)
        except (FileNotFoundError, NotADirectoryError):
            return  # nothing was written there yet
        except OSError as error:
            raise classify(error, self.root / folder) from error
        for name in names:
            key = folder + name
            if not name.endswith("/"):
                if key.startswith(prefix):
                    yield key
            elif key.startswith(prefix) or prefix.startswith(key):
                yield from self._walk(key, prefix)


def _make_directory(path: Path) -> None:
    """Make the directory and its missing parents, each durable in its own parent."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
