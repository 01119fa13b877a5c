"""Bring a model to a local directory: find it, download what is missing, verify it."""

from __future__ import annotations

import errno
from pathlib import Path
from urllib.parse import unquote

from evalrun_runner.errors import InputError, RunFailed, StoreUnavailable
from evalrun_runner.models.cache import Entry, check_space, version_of
from evalrun_runner.models.check import check_settings, check_weights
from evalrun_runner.models.digest import combine, file_hashes, names_in, parse_digest, verify_digest
from evalrun_runner.models.files import is_weights, model_files
from evalrun_runner.models.hub import HubOrigin
from evalrun_runner.models.s3 import S3Origin
from evalrun_runner.models.types import (
    FetchProgress,
    Listing,
    LocalModel,
    ModelSource,
    Origin,
    ProgressCallback,
    RemoteFile,
    Stage,
    Transfer,
)

PATIENCE_S = 120.0
"""How long one piece of a download is tried again before the fetch gives up, in seconds."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


def fetch_model(
    source: ModelSource, cache: Path, *, progress: ProgressCallback | None = None, patience_s: float = PATIENCE_S
) -> LocalModel:
    """Bring a model to this machine and verify it.

    ``file://`` is used in place; ``s3://`` and ``hf://`` go to ``cache``, which processes may share: one downloads, the
    others wait. What is there already is not downloaded again; an interrupted download is continued.

    Raises:
        InputError: It is not there, not readable, damaged, not safetensors, needs remote code, is not the one that
            ``source.digest`` names, or does not fit on the disk.
        StoreUnavailable: The network or the other side was in trouble for longer than ``patience_s``.
    """
    expected = parse_digest(source.digest) if source.digest else None
    cache = cache.expanduser().absolute()
    try:
        path, revision = _bring(source, cache, progress, patience_s)
        if progress:
            progress(FetchProgress(Stage.VERIFYING))
        names = model_files(names_in(path), str(path))
        digest = combine(file_hashes(path, cache=cache))
    except OSError as error:
        raise _explained(error, source.uri, cache) from error
    verify_digest(digest, expected, f"{source.uri} in {path}", names)
    return LocalModel(path, digest, revision, names)


def _bring(
    source: ModelSource, cache: Path, progress: ProgressCallback | None, patience_s: float
) -> tuple[Path, str | None]:
    scheme, separator, _ = source.uri.partition("://")
    if scheme != "hf" and source.revision:
        raise InputError(f"model.revision: only hf:// models have revisions, {source.uri} has none. Leave it out.")
    match scheme if separator else "":
        case "file":
            return _in_place(source.uri), None
        case "s3":
            return _cached(S3Origin(source, patience_s), source.uri, cache, progress)
        case "hf":
            return _cached(HubOrigin(source, patience_s), source.uri, cache, progress)
        case "pvc":
            raise InputError(
                f"model.uri: {source.uri} is a volume of a cluster, which this machine cannot mount. Run it in the "
                "cluster, or name the model's directory as file:///path."
            )
    raise InputError(
        f"model.uri: {source.uri!r} should begin with file:///, s3://, hf:// or, in a cluster, pvc://. "
        "A directory is written file:///path."
    )


def _in_place(uri: str) -> Path:
    """The directory of a ``file://`` address, checked; it is never copied nor written to."""
    path = Path(unquote(uri.removeprefix("file://").removeprefix("localhost")))
    if not path.is_absolute():
        raise InputError(f"model.uri: {uri!r} is no absolute path; expected file:///path, with three slashes.")
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise InputError(f"model.uri: {path} {what}; expected the directory of a model.")
    names = names_in(path)
    folders = [f"{each.name}/" for each in path.iterdir() if each.is_dir()]
    chosen = model_files([*names, *folders], str(path))
    check_settings(path)
    check_weights(path, chosen, str(path))
    return path


def _cached(origin: Origin, uri: str, cache: Path, progress: ProgressCallback | None) -> tuple[Path, str | None]:
    """The model's directory in the cache, downloaded if need be, and the revision that it is."""
    revision = origin.pin()
    files = None if revision else _chosen(origin)
    entry = Entry(cache, uri, revision or version_of(files or ()))
    if entry.files() is None:
        with entry.locked(lambda: progress(FetchProgress(Stage.WAITING)) if progress else None):
            if entry.files() is None:  # else the process that we waited for has brought it
                _download(origin, files or _chosen(origin), entry, cache, progress)
                entry.complete(uri, revision)
    return entry.path, revision


def _chosen(origin: Origin) -> tuple[RemoteFile, ...]:
    """The model's files among all that the origin has. Raises InputError if they make no model."""
    listing: Listing = origin.list()
    names = frozenset(model_files([*(file.name for file in listing.files), *listing.folders], origin.where))
    return tuple(file for file in listing.files if file.name in names)


def _download(
    origin: Origin, files: tuple[RemoteFile, ...], entry: Entry, cache: Path, progress: ProgressCallback | None
) -> None:
    """Fill the entry's partial directory with a model that was found whole."""
    into = entry.begin()
    check_space({file.name: file.size for file in files}, into)
    transfer = Transfer(sum(file.size for file in files), progress)
    # The few kilobytes that can refuse a model come first, the gigabytes after them.
    origin.download([file for file in files if not is_weights(file.name)], into, transfer)
    try:
        check_settings(into)
        origin.download([file for file in files if is_weights(file.name)], into, transfer)
        check_weights(into, [file.name for file in files], origin.where)
    except InputError:
        entry.discard()
        raise
    if progress:
        progress(FetchProgress(Stage.VERIFYING))
    hashes = file_hashes(into, cache=cache, becomes=entry.path)
    for file in files:
        if file.sha256 not in {None, hashes[file.name]}:
            (into / file.name).unlink()
            raise StoreUnavailable(f"{origin.where}: {file.name} was damaged on its way here. Try again.")


def _explained(error: OSError, uri: str, cache: Path) -> InputError | RunFailed:
    place = error.filename or cache
    if error.errno in _NO_SPACE:
        return InputError(
            f"No space left in {cache} while {uri} was brought there. Free space, or put the model cache on a larger "
            "disk; what was downloaded is kept."
        )
    if error.errno in _FORBIDDEN:
        return InputError(
            f"{uri}: {place}: {error.strerror}. The model must be readable, and the model cache {cache} a directory "
            "that you may write."
        )
    return RunFailed(f"{uri}: {place}: {error.strerror or error}. Check the disk that holds {cache}.")
