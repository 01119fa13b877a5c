"""What an EvalRun file brings along, as the runner expects it: folders with a file per key.

ConfigMaps are written to a temporary folder. Secrets are kept in memory: their files are links to anonymous files of
this process (``memfd``), which its replicas may open as long as it lives, and which are gone with it however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_PREFIX = "evalrun-file-"
_LOCK = "lock"


class Scratch:
    """A run's temporary folder, made when something is put into it. Only this user may read it."""

    def __init__(self, parent: Path | None = None) -> None:
        """Use ``parent``, by default the folder for temporary files."""
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._folder: Path | None = None
        self._open: list[int] = []
        """The lock, and the anonymous files of secrets: they live as long as they are open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        for file in self._open:
            os.close(file)

    def files(self, kind: str, name: str, data: Mapping[str, bytes]) -> Path:
        """Write values as the files of a folder, as a mounted volume has them."""
        folder = self._new(kind, name)
        for key, value in data.items():
            file = folder / key
            file.touch(mode=0o600)
            file.write_bytes(value)
        return folder

    def secrets(self, kind: str, name: str, data: Mapping[str, bytes]) -> Path:
        """Put values into memory, and return a folder whose entries lead there."""
        folder = self._new(kind, name)
        for key, value in data.items():
            file = os.memfd_create(f"evalrun-{key}")
            self._open.append(file)
            os.fchmod(file, 0o400)
            with os.fdopen(os.dup(file), "wb") as writing:
                writing.write(value)
            link = folder / key
            link.unlink(missing_ok=True)
            # Of this process's entry in /proc, not "self": the replicas are other processes.
            link.symlink_to(f"/proc/{os.getpid()}/fd/{file}")
        return folder

    def _new(self, kind: str, name: str) -> Path:
        if self._folder is None:
            sweep(self._parent)
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
            self._open.append(_locked(self._folder))
        folder = self._folder / kind / name
        folder.parent.mkdir(exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder


def sweep(parent: Path) -> None:
    """Remove the folders of runs that were killed. They hold no secret, but nobody else removes them."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # Another user's, or removed by another run meanwhile; or its run lives, and holds the lock.
        with suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(folder: Path) -> int:
    """Make the folder's lock, which is held before it has its name: nobody finds it free while its owner lives."""
    unnamed = folder / f"{_LOCK}.new"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / _LOCK)
    return lock
