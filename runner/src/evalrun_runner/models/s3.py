"""Models in S3 or any compatible store: parallel ranged reads of one pinned version."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from evalrun_runner.errors import EvalRunError, InputError, ObjectMissing, StoreDenied, StoreUnavailable
from evalrun_runner.models.digest import BLOCK
from evalrun_runner.models.files import TEMPLATES
from evalrun_runner.models.parallel import patiently, run_all
from evalrun_runner.models.types import Listing, ModelSource, RemoteFile, Transfer
from evalrun_runner.store.s3 import S3Settings, make_client
from evalrun_runner.store.s3_errors import classify, is_conflict

RANGE = 16 << 20
"""Size of one read in bytes: small enough that a failed read costs little, large enough to hide latency."""
THREADS = 8


class _DeniedMeanwhile(StoreUnavailable):
    """Denial of access that was granted before: keys are being renewed, and their files may follow later."""


class S3Origin:
    """Objects below a prefix."""

    def __init__(
        self, source: ModelSource, patience_s: float, *, range_bytes: int = RANGE, threads: int = THREADS
    ) -> None:
        """Parse the address and make a client without contacting the store.

        Args:
            source: The model; ``s3://bucket/prefix/``.
            patience_s: Maximum time to wait for the store, in seconds, for each part of a download.
            range_bytes: Size of one read.
            threads: Number of reads at once.

        Raises:
            InputError: The address is not valid.
        """
        self._bucket, _, prefix = source.uri.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise InputError(f"model.uri: {source.uri!r} names no bucket; expected s3://bucket/prefix/.")
        prefix = prefix.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience_s = patience_s
        self._range_bytes = range_bytes
        self._threads = threads
        self._was_allowed = False
        settings = source.storage or S3Settings()
        self._client = make_client(settings)
        self.where = f"s3://{self._bucket}/{self._prefix} (endpoint {self._client.meta.endpoint_url})"

    def pin(self) -> str | None:
        """Return None: S3 has no revisions, and the ETags in the listing serve as the version."""
        return None

    def list(self) -> Listing:
        """List the objects directly below the prefix, and the chat templates.

        Raises:
            InputError: The store denies access, or the bucket does not exist.
            StoreUnavailable: The store could not be reached for longer than the patience.
        """
        top = patiently(lambda: self._list(""), self._patience_s)
        if TEMPLATES not in top.folders:
            return top
        templates = patiently(lambda: self._list(TEMPLATES), self._patience_s)
        return Listing(top.files + templates.files, top.folders)

    def _list(self, folder: str) -> Listing:
        files: list[RemoteFile] = []
        folders: list[str] = []
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + folder, Delimiter="/"):
                for entry in page.get("Contents", ()):
                    name = entry["Key"].removeprefix(self._prefix)
                    if name != folder:  # some tools create an empty object for the folder itself
                        files.append(RemoteFile(name, entry["Size"], entry["ETag"]))
                folders += [each["Prefix"].removeprefix(self._prefix) for each in page.get("CommonPrefixes", ())]
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error, folder) from error
        return Listing(tuple(files), tuple(folders))

    def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
        """Download all files in parallel, in ranges, as ``Origin.download``."""
        downloads = [Download(file, into, self._range_bytes) for file in files if not (into / file.name).exists()]
        try:
            reads = [
                partial(self._read, download, start, min(start + self._range_bytes, download.file.size), transfer)
                for download in downloads
                for start in download.missing()
            ]
            transfer.advance(sum(file.size for file in files) - sum(read.args[2] - read.args[1] for read in reads))
            run_all(reads, self._threads, transfer)
            for download in downloads:
                download.finish()
        finally:
            for download in downloads:
                download.close()

    def _read(self, download: Download, start: int, stop: int, transfer: Transfer) -> None:
        file = download.file
        position = start

        def read_on() -> None:
            nonlocal position
            for block in self._stream(file, position, stop):
                download.write(block, position)
                position += len(block)
                transfer.advance(len(block))
            if position != stop:
                raise StoreUnavailable(f"{self.where}: {file.name}: {stop - position} bytes did not arrive")

        try:
            patiently(read_on, self._patience_s, transfer.stopped)
        except _DeniedMeanwhile as error:
            raise InputError(f"model.uri: {error}") from error
        download.mark(start)

    def _stream(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        try:
            answer = self._client.get_object(
                Bucket=self._bucket,
                Key=self._prefix + file.name,
                Range=f"bytes={start}-{stop - 1}",
                IfMatch=file.version,
            )
            if answer["ContentLength"] != stop - start:
                raise StoreUnavailable(f"{self.where}: {file.name}: the store did not send the range asked for")
            self._was_allowed = True
            yield from iter(partial(answer["Body"].read, BLOCK), b"")
        except (ClientError, BotoCoreError) as error:
            raise self._explained(error, file.name, reading=True) from error

    def _explained(self, error: ClientError | BotoCoreError, name: str, *, reading: bool = False) -> EvalRunError:
        """Convert the store's error into one that says what to do when reading a model."""
        meant = classify(error, where=f"s3://{self._bucket}/{self._prefix}{name}", bucket=self._bucket)
        if reading and (is_conflict(error) or isinstance(meant, ObjectMissing)):
            return InputError(
                f"{self.where}: {name} was changed or deleted while the model was downloaded. "
                "Wait until whoever writes this model has finished, then try again."
            )
        if reading and self._was_allowed and isinstance(meant, StoreDenied):
            return _DeniedMeanwhile(str(meant))
        if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "AccessDenied":
            return InputError(
                f"{self.where}: access denied. The credentials need to list this prefix and to get its objects "
                "(s3:ListBucket, s3:GetObject)."
            )
        return InputError(f"model.uri: {meant}") if isinstance(meant, StoreDenied | ObjectMissing) else meant


class Download:
    """Download of one file to ``<name>.part``, with a journal of the ranges that are stored durably."""

    def __init__(self, file: RemoteFile, into: Path, range_bytes: int) -> None:
        self.file = file
        self._range_bytes = range_bytes
        self._path = into / file.name
        self._part = into / f"{file.name}.part"
        self._journal = into / f"{file.name}.ranges"
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644)

    def missing(self) -> list[int]:
        """Return the first byte positions of the ranges that are not read yet."""
        # A crash may have truncated the journal's last line, so an unfinished line does not count.
        lines = self._journal.read_text().split("\n")[:-1] if self._journal.exists() else []
        return [start for start in range(0, self.file.size, self._range_bytes) if self._mark(start) not in lines]

    def write(self, block: bytes, position: int) -> None:
        """Write a block at a byte position; short writes are continued."""
        view = memoryview(block)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            view, position = view[written:], position + written

    def mark(self, start: int) -> None:
        """Record a range in the journal after making it durable against a power failure."""
        os.fdatasync(self._descriptor)
        with self._journal.open("a") as journal:
            journal.write(f"{self._mark(start)}\n")

    def finish(self) -> None:
        """Turn the part into the complete file, after all of its ranges were written."""
        os.fsync(self._descriptor)
        self._part.rename(self._path)
        self._journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._descriptor)

    def _mark(self, start: int) -> str:
        return f"{start}+{self._range_bytes}"  # includes the size, in case a later version reads in other ranges
