"""Types that the modules of this package share."""

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
    """Location and identity of a model. Picklable; contains no secrets, only the paths of files with secrets."""

    uri: str
    """``file:///path``, ``s3://bucket/prefix/`` or ``hf://org/name``."""
    revision: str | None = None
    """hf only: a commit, branch or tag; None for ``main``. Branches and tags are resolved to a commit first."""
    digest: str | None = None
    """Expected digest, ``sha256:…`` as in ``digest``; None accepts any."""
    listing: str | None = None
    """s3 only: ``sha256:…`` of the listing (``cache.fingerprint``), the model's version if its digest is unknown."""
    storage: S3Settings | None = None
    """s3 only; None for boto3's own chain."""
    token_file: str | None = None
    """hf only: file with the token, read for every request; None for what huggingface_hub finds (HF_TOKEN)."""
    endpoint: str | None = None
    """hf only: address of the hub; None for HF_ENDPOINT or the public hub."""
    ca_bundle: str | None = None
    """hf only: PEM file of certificate authorities to trust besides the system's."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """Complete and verified model in a local directory."""

    path: Path
    digest: str
    revision: str | None
    """Commit for hf; otherwise None."""
    files: tuple[str, ...]
    """Relative names of the model's files, sorted."""


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """Model that was inspected without its weights."""

    source: ModelSource
    """Pinned source: a branch is resolved to a commit, and the digest or, if that is unknown, the listing is set."""
    path: Path
    """Local directory with its configuration and tokenizer; for ``file://``, the model's own directory."""
    files: tuple[str, ...]
    """Relative names of the model's files, sorted."""


class FetchStage(StrEnum):
    """FetchStage of a fetch."""

    WAITING = "waiting"
    """Waiting for another process that fetches the same model."""
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """Progress of a fetch in bytes; ``total`` is 0 if it is unknown."""

    stage: FetchStage
    done: int = 0
    total: int = 0


ProgressCallback = Callable[[FetchProgress], None]
"""Progress callback, called from several threads but never concurrently."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One version of a file at its origin."""

    name: str
    """Path relative to the model, '/'-separated."""
    size: int
    """Size in bytes."""
    version: str
    """ETag or blob id, which changes when the content does."""
    sha256: str | None = None
    """Hexadecimal digits; None if the origin does not know them."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Contents of an origin at one moment."""

    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...] = ()
    """Subfolders that were not listed, with a trailing slash."""


class Origin(Protocol):
    """Remote location of a model."""

    where: str
    """Description of the location for messages."""

    def pin(self) -> str | None:
        """Resolve the revision to an immutable one, if the origin has such; uses the network only if necessary."""

    def list(self) -> Listing:
        """List all files of the pinned revision."""

    def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
        """Download files into a directory that the caller owns, continuing from what an earlier call left there."""


class Transfer:
    """Byte count of one fetch over all of its threads, and the signal that tells them to stop."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        """Event that is set when the threads should stop."""

    def advance(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            Interrupted: The transfer was stopped.
        """
        if self.stopped.is_set():
            raise Interrupted("The download was stopped; what is there is kept, and the next one goes on from it.")
        with self._lock:
            # A file that starts again after an interruption counts twice, so limit the count to the total.
            self._done = min(self._done + size, self._total)
            if self._progress:
                self._progress(FetchProgress(FetchStage.DOWNLOADING, self._done, self._total))

    def stop(self) -> None:
        """Make every thread of the transfer stop at its next block."""
        self.stopped.set()
