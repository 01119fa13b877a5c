"""Fetching of a model to a local directory: find it, download what is missing, verify it."""

from __future__ import annotations

from pathlib import Path

from evalrun_runner.errors import InputError, StoreUnavailable
from evalrun_runner.models.cache import MODELS, Entry, check_space, fingerprint
from evalrun_runner.models.check import check_settings, check_weights
from evalrun_runner.models.digest import combine, file_hashes, names_in, parse_digest, verify_digest
from evalrun_runner.models.files import is_weights, model_files
from evalrun_runner.models.origins import ORIGINS, PATIENCE_S, Origins, check_directory, explained, files_at, find
from evalrun_runner.models.types import (
    FetchProgress,
    FetchStage,
    LocalModel,
    ModelSource,
    Origin,
    ProgressCallback,
    RemoteFile,
    Transfer,
)


def fetch_model(
    source: ModelSource,
    cache: Path,
    *,
    progress: ProgressCallback | None = None,
    patience_s: float = PATIENCE_S,
    origins: Origins = ORIGINS,
) -> LocalModel:
    """Fetch a model to this machine and verify it.

    Args:
        source: The model. ``file://`` is used in place, ``s3://`` and ``hf://`` are downloaded to ``cache``.
        cache: Directory that processes may share: one downloads, the others wait. Existing files are not downloaded
            again, and an interrupted download is continued.
        progress: Called with the progress, from several threads but never concurrently.
        patience_s: Maximum time to wait for the network or the origin, in seconds, for each part of a download.
        origins: The origins by scheme.

    Raises:
        InputError: The model is missing, unreadable, damaged, not in safetensors, needs remote code, differs from
            ``source.digest`` or ``source.listing``, or does not fit on the disk.
        StoreUnavailable: The network or the origin failed for longer than ``patience_s``.
    """
    expected = parse_digest(source.digest) if source.digest else None
    cache = cache.expanduser().absolute()
    try:
        path, revision = _bring(find(source, patience_s, origins), source, cache, progress)
        if progress:
            progress(FetchProgress(FetchStage.VERIFYING))
        names = model_files(names_in(path), str(path))
        digest = combine(file_hashes(path, cache=cache))
    except OSError as error:
        raise explained(error, source.uri, cache) from error
    verify_digest(digest, expected, f"{source.uri} in {path}", names)
    return LocalModel(path, digest, revision, names)


def _bring(
    origin: Path | Origin, source: ModelSource, cache: Path, progress: ProgressCallback | None
) -> tuple[Path, str | None]:
    """Fetch the model, and return its directory and revision."""
    if isinstance(origin, Path):
        check_directory(origin)
        return origin, None
    revision = origin.pin()
    files = None if revision else files_at(origin)
    if files is not None and source.listing not in {None, fingerprint(files)}:
        raise InputError(
            f"{origin.where}: the model was changed since this run looked at it first. Let a run's model be, and give "
            "another one a place of its own; model.digest accepts the same content written again."
        )
    entry = Entry(cache, MODELS, source.uri, revision or fingerprint(files or ()))
    if entry.record() is None:
        with entry.locked(lambda: progress(FetchProgress(FetchStage.WAITING)) if progress else None):
            if entry.record() is None:  # otherwise, the process that held the lock has fetched it
                files = files or files_at(origin)
                _download(origin, files, entry, cache, progress)
                entry.complete(source.uri, revision, files)
    return entry.path, revision


def _download(
    origin: Origin, files: tuple[RemoteFile, ...], entry: Entry, cache: Path, progress: ProgressCallback | None
) -> None:
    """Download a model into the entry's partial directory and check that it is complete."""
    into = entry.begin()
    check_space({file.name: file.size for file in files}, into)
    transfer = Transfer(sum(file.size for file in files), progress)
    # First download the few kilobytes that can show the model to be unusable, then the gigabytes.
    origin.download([file for file in files if not is_weights(file.name)], into, transfer)
    try:
        check_settings(into)
        origin.download([file for file in files if is_weights(file.name)], into, transfer)
        check_weights(into, [file.name for file in files], origin.where)
    except InputError:
        entry.discard()
        raise
    if progress:
        progress(FetchProgress(FetchStage.VERIFYING))
    hashes = file_hashes(into, cache=cache, becomes=entry.path)
    for file in files:
        if file.sha256 not in {None, hashes[file.name]}:
            (into / file.name).unlink()
            raise StoreUnavailable(f"{origin.where}: {file.name} was damaged on its way here. Try again.")
