"""Bring a LoRA adapter to a folder, whole and verified: its two files, what they say, and whether they fit the base.

Adapters have megabytes, not gigabytes. So a driver brings them whole, and everything that their files can show to be
wrong is found before a replica is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalrun_runner.errors import InputError
from evalrun_runner.models.adapter_check import AdapterShape, check_adapter
from evalrun_runner.models.cache import MODELS, Entry, check_space, fingerprint
from evalrun_runner.models.digest import combine, file_sha256, parse_digest
from evalrun_runner.models.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from evalrun_runner.models.origins import ORIGINS, PATIENCE_S, Origins, explained, find
from evalrun_runner.models.types import ModelSource, Origin, RemoteFile, Transfer

FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
"""Files of an adapter; others beside them (a copied tokenizer, a model card) do not count and are not fetched."""


@dataclass(frozen=True, slots=True)
class LocalAdapter:
    """Complete and verified adapter in a local directory."""

    name: str
    source: ModelSource
    """Pinned source: with the commit, and the digest of what was found."""
    path: Path
    shape: AdapterShape

    @property
    def digest(self) -> str:
        """Digest of its two files, in the form of a model's."""
        assert self.source.digest is not None, "bring_adapter pins it"
        return self.source.digest


def bring_adapter(
    name: str, source: ModelSource, cache: Path, *, patience_s: float = PATIENCE_S, origins: Origins = ORIGINS
) -> LocalAdapter:
    """Fetch an adapter to this machine and check its files.

    Args:
        name: Name in the run, for messages.
        source: The adapter. ``file://`` is used in place, ``s3://`` and ``hf://`` are downloaded to ``cache``.
        cache: Directory that processes may share.
        patience_s: Maximum time to wait for the network or the origin, in seconds.
        origins: The origins by scheme.

    Raises:
        InputError: It is missing, damaged, no LoRA adapter in safetensors, of a kind that vLLM does not run, has no
            effect, or differs from ``source.digest``.
        StoreUnavailable: The network or the origin failed for longer than ``patience_s``.
    """
    expected = parse_digest(source.digest) if source.digest else None
    cache = cache.expanduser().absolute()
    where = f"spec.model.adapters: {name}: {source.uri}"
    try:
        origin = find(source, patience_s, origins)
    except InputError as error:
        raise InputError(f"spec.model.adapters: {name}: {error}") from error
    try:
        path, revision = _bring(origin, source, cache, where)
        digest = combine({file: file_sha256(path / file) for file in FILES})
        if expected not in {None, digest}:
            raise InputError(
                f"{where}: it is not the adapter that digest names\n  expected {expected}\n  found    {digest}"
            )
        shape = check_adapter(path, where)
    except OSError as error:
        raise explained(error, source.uri, cache) from error
    pinned = ModelSource(
        source.uri, revision, digest, None, source.storage, source.token_file, source.endpoint, source.ca_bundle
    )
    return LocalAdapter(name, pinned, path, shape)


def _bring(origin: Path | Origin, source: ModelSource, cache: Path, where: str) -> tuple[Path, str | None]:
    if isinstance(origin, Path):
        _check_names({file for file in FILES if (origin / file).is_file()}, where)
        return origin, None
    revision = origin.pin()
    files = () if revision else _files(origin, where)
    entry = Entry(cache, MODELS, source.uri, revision or fingerprint(files))
    if entry.record() is None:
        with entry.locked(lambda: None):
            if entry.record() is None:
                files = files or _files(origin, where)
                into = entry.begin()
                check_space({file.name: file.size for file in files}, into)
                origin.download(files, into, Transfer(sum(file.size for file in files), None))
                entry.complete(source.uri, revision, files)
    return entry.path, revision


def _files(origin: Origin, where: str) -> tuple[RemoteFile, ...]:
    files = tuple(file for file in origin.list().files if file.name in FILES)
    _check_names({file.name for file in files}, where)
    return files


def _check_names(present: set[str], where: str) -> None:
    missing = [file for file in FILES if file not in present]
    if missing:
        raise InputError(
            f"{where}: {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not there; expected a LoRA "
            f"adapter of PEFT with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}\n"
            "hint: model.save_pretrained(folder, safe_serialization=True) writes both"
        )
