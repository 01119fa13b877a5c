"""What passes between the parts of this room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from evalrun_runner.errors import Interrupted
from evalrun_runner.store.s3 import S3Settings


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model is, and which one is meant. Holds no secrets, only where they lie; can be pickled."""

    uri: str
    """``file:///path``, ``s3://bucket/prefix/`` or ``hf://org/name``."""
    revision: str | None = None
    """hf only: a commit, a branch or a tag; None is ``main``. What is not a commit is resolved to one first."""
    digest: str | None = None
    """``sha256:…`` as in ``digest``; None accepts what is there."""
    listing: str | None = None
    """s3 only: ``sha256:…`` of the listing (``cache.fingerprint``), the model's version where its digest is unknown."""
    storage: S3Settings | None = None
    """s3 only; None takes boto3's own chain."""
    token_file: str | None = None
    """hf only: file with the token, read for every request; None takes what huggingface_hub finds (HF_TOKEN)."""
    endpoint: str | None = None
    """hf only: the hub's address; None takes HF_ENDPOINT, or the public hub."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model in a local directory, whole and verified."""

    path: Path
    digest: str
    revision: str | None
    """hf: the commit; otherwise None."""
    files: tuple[str, ...]
    """Relative names of the model's files, sorted."""


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """A model that was looked at without its weights."""

    source: ModelSource
    """The same model and no other: a branch is a commit now, and the digest or, where unknown, the listing is set."""
    path: Path
    """Local directory with its configuration and tokenizer; for ``file://`` the model itself."""
    files: tuple[str, ...]
    """Relative names of the model's files, sorted."""


class Stage(StrEnum):
    """What a fetch is doing."""

    WAITING = "waiting"
    """Another process brings the same model; this one waits and then uses it."""
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is, in bytes; ``total`` is 0 where it is not known."""

    stage: Stage
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[FetchProgress], None]
"""Called from several threads, but never by two at once."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at its origin, in one version."""

    name: str
    """Relative to the model, '/'-separated."""
    size: int
    """Bytes."""
    version: str
    """What changes when the content does: an ETag, or a blob's id."""
    sha256: str | None = None
    """Hexadecimal digits, where the origin knows them."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything at an origin at one moment."""

    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...] = ()
    """Folders below that were not listed, with a trailing slash."""


class Origin(Protocol):
    """Where a model comes from, when it is not on this machine."""

    where: str
    """For people."""

    def pin(self) -> str | None:
        """Resolve the revision to one that never moves, if the origin has such; asks the network only if it must."""

    def list(self) -> Listing:
        """All files of the pinned revision."""

    def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
        """Bring files into a directory of the caller's own, going on from what an earlier call left there."""


class Transfer:
    """Counts the bytes of one fetch over all its threads, and is how they learn that they should stop."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        """Set once the threads should leave."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes. Raises Interrupted in the threads of a transfer that has been stopped."""
        if self.stopped.is_set():
            raise Interrupted("The download was stopped; what is there is kept, and the next one goes on from it.")
        with self._lock:
            # A file that is begun again after an interruption counts twice; more than all is never shown.
            self._done = min(self._done + size, self._total)
            if self._progress:
                self._progress(FetchProgress(Stage.DOWNLOADING, self._done, self._total))

    def stop(self) -> None:
        """Make every thread of the transfer leave at its next block."""
        self.stopped.set()
