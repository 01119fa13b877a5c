"""Directory as an object store, for local runs and for volumes that several machines mount.

Objects are files. A file is written under a temporary name in its final directory and gets its name in one step: by
``link`` if the key must be free (the file system lets exactly one of two creators win), by ``rename`` if it may be
replaced. Files and directories are synced, so that everything reported as committed survives a power failure. A writer
that was killed leaves at most a temporary file, which is never listed or read.
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
    """Convert an error of the operating system into the store's."""
    reason = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        return StoreFull(f"{reason}. Free space on that file system or raise the quota; the run goes on from there")
    if error.errno in _DENIED:
        return StoreDenied(f"{reason}: {_DENIED[error.errno]}")
    return StoreUnavailable(f"{reason}. Check the disk or the network mount")


class DirectoryStore:
    """Store whose keys are paths below a root directory, which the first write creates."""

    def __init__(self, root: Path) -> None:
        """Use ``root``, which may be relative to the current working directory."""
        self.root = Path(os.path.abspath(root))
        self._made: list[Path] = []
        """Directories that this store made, parents before children."""
        self.uri = self.root.as_uri() + "/"

    def create(self, key: str, data: bytes) -> bool:
        """See ``ObjectStore.create``."""
        path = self._path(key)
        with self._written(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                # On NFS, a link whose answer was lost is retried and may fail with "exists" although it succeeded.
                return path.read_bytes() == data
        return True

    def put(self, key: str, data: bytes) -> None:
        """See ``ObjectStore.put``."""
        path = self._path(key)
        with self._written(path, data) as temporary:
            temporary.replace(path)

    def get(self, key: str) -> bytes:
        """See ``ObjectStore.get``."""
        check_key(key)
        place = f"{self.root}/{key}"
        try:
            with open(place, "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectMissing(f"{place} is not there") from error
        except OSError as error:
            raise classify(error, Path(place)) from error

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
            return  # a part of the key is a file, or the key is a directory: there is no such object
        except OSError as error:
            raise classify(error, path) from error

    def move(self, key: str, to: str) -> None:
        """See ``ObjectStore.move``."""
        self.put(to, self.get(key))
        self.delete(key)

    def check(self) -> None:
        """Check without writing that the root is a directory, or can be made one, that this user may write to.

        Raises:
            StoreDenied: It cannot be used.
        """
        there = self.root
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise classify(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), there)
        if not os.access(there, os.W_OK | os.X_OK):
            raise classify(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), there)

    def discard(self) -> None:
        """Remove the directories that this store made, as far as they are empty."""
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                return

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key

    @contextmanager
    def _written(self, path: Path, data: bytes) -> Iterator[Path]:
        """Write a synced temporary file beside ``path``, and sync the directory after the body has renamed it."""
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(12)}")
        try:
            self._make_directory(path.parent)
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

    def _make_directory(self, path: Path) -> None:
        """Create the directory and its missing parents, each synced in its own parent."""
        if path.is_dir():
            return
        self._make_directory(path.parent)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            self._made.append(path)
        _sync(path.parent)

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(TEMPORARY)]
                names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in shown)
        except (FileNotFoundError, NotADirectoryError):
            return  # nothing was written in this folder yet
        except OSError as error:
            raise classify(error, self.root / folder) from error
        for name in names:
            key = folder + name
            if not name.endswith("/"):
                if key.startswith(prefix):
                    yield key
            elif key.startswith(prefix) or prefix.startswith(key):
                yield from self._walk(key, prefix)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
