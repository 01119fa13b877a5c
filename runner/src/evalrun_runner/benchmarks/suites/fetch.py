"""Fetching of users' suites to local folders."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from evalrun_api import Reason, SuiteLocation
from evalrun_runner.errors import InputError, default_reason
from evalrun_runner.store.access import s3_settings
from evalrun_runner.store.open import StoreSpec, open_store

MAX_SUITE_BYTES = 2 << 30
"""Maximum size of a suite. A suite is YAML and data; anything larger is a mistaken prefix."""
MOUNTED = "..data"
"""The kubelet's name for the folder with the real content of a mounted ConfigMap."""


@default_reason(Reason.TASK_INVALID)
def fetch_suites(suites: Mapping[str, SuiteLocation], cache: Path) -> dict[str, Path]:
    """Fetch each suite and return its folder, by benchmark name.

    Raises:
        InputError: A suite is missing, empty or too large, or the cache cannot be created.
        StoreError: The suite's store refused or could not be reached.
    """
    return {name: _fetch(name, suite, cache) for name, suite in suites.items()}


def _fetch(name: str, suite: SuiteLocation, cache: Path) -> Path:
    if suite.uri.startswith("s3://"):
        return _download(name, suite, cache)
    folder = Path(unquote(urlsplit(suite.uri).path))
    if not folder.is_dir():
        raise InputError(
            f"benchmark {name}: the suite's folder {folder} is not there; expected a folder of lm-eval YAML and data "
            "(source.path is relative to the EvalRun's file)"
        )
    mounted = folder / MOUNTED
    if mounted.is_dir():
        # A mounted ConfigMap contains each file twice, once as a link, and changes when the ConfigMap does.
        files = sorted(file for file in mounted.resolve().rglob("*") if file.is_file())
        return _keep(
            name, suite, ((str(file.relative_to(mounted.resolve())), file.read_bytes) for file in files), cache
        )
    return folder


def _download(name: str, suite: SuiteLocation, cache: Path) -> Path:
    store = open_store(StoreSpec(suite.uri, s3_settings(suite.storage)))
    # Skip the objects that storage consoles create to represent folders.
    keys = sorted(key for key in store.list("") if key and not key.endswith("/"))
    if not keys:
        raise InputError(f"benchmark {name}: no files under {suite.uri}; expected lm-eval YAML and data")
    return _keep(name, suite, ((key, partial(store.get, key)) for key in keys), cache)


def _keep(name: str, suite: SuiteLocation, files: Iterable[tuple[str, Callable[[], bytes]]], cache: Path) -> Path:
    """Copy the files to a cache folder named by their content, and return it.

    A run thus never sees a later change, and an unchanged suite reuses its folder.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{cache} cannot be made for suites: {error.strerror}; set XDG_CACHE_HOME") from error
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        digest, total = hashlib.sha256(), 0
        for key, read in files:
            if ".." in PurePosixPath(key).parts:
                raise InputError(f"benchmark {name}: the key {key!r} under {suite.uri} leaves the suite's folder")
            data = read()
            total += len(data)
            if total > MAX_SUITE_BYTES:
                raise InputError(f"benchmark {name}: more than {MAX_SUITE_BYTES >> 30} GiB under {suite.uri}")
            digest.update(f"{key}\0{len(data)}\0".encode() + data)
            file = Path(temporary, "suite", key)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        target = cache / digest.hexdigest()[:32]
        try:
            Path(temporary, "suite").rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return target
