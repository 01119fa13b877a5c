"""Inspection of a model without its weights: checks on its few small files, and its identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalrun_runner.errors import InputError
from evalrun_runner.models.cache import SETTINGS, Entry, check_space, fingerprint
from evalrun_runner.models.check import check_settings, check_shards
from evalrun_runner.models.digest import combine, file_hashes, file_sha256, parse_digest, verify_digest
from evalrun_runner.models.files import is_weights
from evalrun_runner.models.origins import ORIGINS, PATIENCE_S, Origins, check_directory, explained, files_at, find
from evalrun_runner.models.types import InspectedModel, ModelSource, Origin, RemoteFile, Transfer


def inspect_model(
    source: ModelSource, cache: Path, *, patience_s: float = PATIENCE_S, origins: Origins = ORIGINS
) -> InspectedModel:
    """Find a model, fetch its configuration and tokenizer to ``cache``, and pin its identity.

    The digest of its content is known if ``source`` gives it, on the hub (which knows the weights' hashes) and in local
    directories (whose files are hashed once, until they change). For a model in S3, only the listing is known:
    ``fetch_model`` then fetches files with exactly this listing or raises an error.

    Raises:
        InputError: The model is missing, unreadable, lacks configuration, tokenizer, safetensors or a shard, or is
            known to differ from ``source.digest``.
        StoreUnavailable: The network or the origin failed for longer than ``patience_s`` seconds.
    """
    expected = parse_digest(source.digest) if source.digest else None
    cache = cache.expanduser().absolute()
    origin = find(source, patience_s, origins)
    try:
        if isinstance(origin, Path):
            names = check_directory(origin)
            digest = expected or combine(file_hashes(origin, cache=cache))
            return InspectedModel(replace(source, digest=digest), origin, names)
        return _inspect(origin, replace(source, digest=expected), cache)
    except OSError as error:
        raise explained(error, source.uri, cache) from error


def _inspect(origin: Origin, source: ModelSource, cache: Path) -> InspectedModel:
    revision = origin.pin()
    files = () if revision else files_at(origin)
    entry = Entry(cache, SETTINGS, source.uri, revision or fingerprint(files))
    if (record := entry.record()) is None:
        with entry.locked(lambda: None):
            if (record := entry.record()) is None:
                files = files or files_at(origin)
                _download(origin, files, entry)
                record = entry.complete(source.uri, revision, files)
    names = tuple(sorted(file.name for file in record.listing))
    digest = _digest(record.listing, entry.path)
    if digest is not None:
        verify_digest(digest, source.digest, origin.where, names)
    digest = digest or source.digest
    listing = fingerprint(record.listing) if revision is None and digest is None else None
    return InspectedModel(replace(source, revision=revision, digest=digest, listing=listing), entry.path, names)


def _download(origin: Origin, files: Sequence[RemoteFile], entry: Entry) -> None:
    into = entry.begin()
    small = [file for file in files if not is_weights(file.name)]
    check_space({file.name: file.size for file in small}, into)
    origin.download(small, into, Transfer(sum(file.size for file in small), None))
    try:
        check_settings(into)
        check_shards(into, [file.name for file in files], origin.where)
    except InputError:
        entry.discard()
        raise


def _digest(listing: Sequence[RemoteFile], settings: Path) -> str | None:
    """Compute the digest of a model's content if its origin knows the hashes of all weights, else return None."""
    hashes = {file.name: file.sha256 for file in listing if is_weights(file.name)}
    if any(sha256 is None for sha256 in hashes.values()):
        return None
    known = {name: sha256 for name, sha256 in hashes.items() if sha256 is not None}
    return combine(known | {file.name: file_sha256(settings / file.name) for file in listing if file.name not in known})
