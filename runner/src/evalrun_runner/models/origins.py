"""Origins of models, by address."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from evalrun_runner.errors import InputError, RunFailed
from evalrun_runner.models.check import adapter_error, check_settings, check_weights
from evalrun_runner.models.digest import names_in
from evalrun_runner.models.files import ADAPTER_CONFIG, is_adapter, is_model_file, model_files
from evalrun_runner.models.hub import HubOrigin
from evalrun_runner.models.s3 import S3Origin
from evalrun_runner.models.types import Listing, ModelSource, Origin, RemoteFile, Transfer

PATIENCE_S = 120.0
"""Maximum time to wait between tries of one part of a download, in seconds."""
MAX_CONFIG_BYTES = 1 << 20
"""Maximum size of an adapter's configuration, which has a few kilobytes."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


OriginFactory = Callable[[ModelSource, float], Origin]
"""Makes an origin of a model and a patience in seconds, without contacting it."""


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of models that are downloaded, by the scheme of their addresses."""

    hub: OriginFactory = HubOrigin
    s3: OriginFactory = S3Origin


ORIGINS = Origins()


def find(source: ModelSource, patience_s: float, origins: Origins = ORIGINS) -> Path | Origin:
    """Return the directory of a ``file://`` model, otherwise its origin, which is not contacted yet.

    Raises:
        InputError: The address is not valid, or not accessible from this machine.
    """
    scheme, separator, _ = source.uri.partition("://")
    if scheme != "hf" and source.revision:
        raise InputError(f"model.revision: only hf:// models have revisions, {source.uri} has none. Leave it out.")
    match scheme if separator else "":
        case "file":
            return _directory(source.uri)
        case "s3":
            return origins.s3(source, patience_s)
        case "hf":
            return origins.hub(source, patience_s)
        case "pvc":
            raise InputError(
                f"model.uri: {source.uri} is a volume of a cluster, which this machine cannot mount. Run it in the "
                "cluster, or name the model's directory as file:///path."
            )
    raise InputError(
        f"model.uri: {source.uri!r} should begin with file:///, s3://, hf:// or, in a cluster, pvc://. "
        "A directory is written file:///path."
    )


def check_directory(path: Path) -> tuple[str, ...]:
    """Check that a directory contains a complete model, and return the model's files. Never writes to the directory.

    Raises:
        InputError: The directory is not a model's, or the model is incomplete or damaged.
    """
    _check_links(path)
    names = names_in(path)
    if is_adapter(names):
        raise adapter_error(str(path), (path / ADAPTER_CONFIG).read_bytes())
    folders = [f"{each.name}/" for each in path.iterdir() if each.is_dir()]
    chosen = model_files([*names, *folders], str(path))
    check_settings(path)
    check_weights(path, chosen, str(path))
    return chosen


def files_at(origin: Origin) -> tuple[RemoteFile, ...]:
    """Return the model's files among all files of the origin.

    Raises:
        InputError: The files do not make up a model.
    """
    listing: Listing = origin.list()
    if is_adapter(file.name for file in listing.files):
        raise adapter_error(origin.where, _adapter_config(origin, listing))
    names = frozenset(model_files([*(file.name for file in listing.files), *listing.folders], origin.where))
    return tuple(file for file in listing.files if file.name in names)


def _adapter_config(origin: Origin, listing: Listing) -> bytes | None:
    """Fetch the configuration of an adapter, which names its base; None where it is too large to be one."""
    wanted = [file for file in listing.files if file.name == ADAPTER_CONFIG and file.size <= MAX_CONFIG_BYTES]
    if not wanted:
        return None
    with tempfile.TemporaryDirectory(prefix="evalrun-") as folder:
        origin.download(wanted, Path(folder), Transfer(wanted[0].size, None))
        return Path(folder, ADAPTER_CONFIG).read_bytes()


def _check_links(path: Path) -> None:
    """Refuse links of a model's files whose targets are not there; files elsewhere in the directory do not matter."""
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_symlink() and is_model_file(entry.name) and not Path(entry).exists():
            raise InputError(
                f"{entry.path} is a link to {Path(entry).readlink()}, which is not there. Copy the model with the "
                "files that its links name (cp -rL), or download it again."
            )


def explained(error: OSError, uri: str, cache: Path) -> InputError | RunFailed:
    """Convert an error of the disk into one that says what the user can do."""
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


def _directory(uri: str) -> Path:
    path = Path(unquote(uri.removeprefix("file://").removeprefix("localhost")))
    if not path.is_absolute():
        raise InputError(f"model.uri: {uri!r} is no absolute path; expected file:///path, with three slashes.")
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        if path.is_symlink() and not path.exists():
            what = f"is a link to {path.readlink()}, which is not there"
        raise InputError(f"model.uri: {path} {what}; expected the directory of a model.")
    return path
