"""From an EvalRun file to the RunConfig of a run on this machine: what the operator does in a cluster.

ConfigMaps and Secrets may be further documents of the file; what only a cluster can resolve is an ``InputError``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from evalrun_api import (
    Benchmark,
    ModelLocation,
    RunConfig,
    RunLocation,
    RunReference,
    Storage,
    StorageAccess,
    SuiteLocation,
)
from evalrun_api.reading.parse import EvalRunFile, FileObject
from evalrun_runner.errors import InputError
from evalrun_runner.machine import has_gpu
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import StoreSpec, open_store

RUN_MARK = "run.json"


@dataclass(frozen=True)
class Localizer:
    """Resolves references.

    ``base``: what relative source paths are relative to. ``scratch``: for files made of ConfigMaps and Secrets; only
    this user may read it.
    """

    file: EvalRunFile
    base: Path
    scratch: Path

    def config(self, output: str | None, *, fresh: bool, allow_code: bool) -> RunConfig:
        """The run's whole input. Raises ``InputError``."""
        spec, metadata = self.file.evalrun.spec, self.file.evalrun.metadata
        name = metadata.name or f"{metadata.generate_name}local"
        namespace = metadata.namespace or "default"
        if spec.model.uri.startswith("pvc://"):
            raise InputError(
                f"spec.model.uri: {spec.model.uri} is a volume of a cluster; here give a path: "
                "--set spec.model.uri=file:///path/of/the/model"
            )
        results = self._results(output, namespace, name, fresh=fresh)
        return RunConfig(
            name=name,
            namespace=namespace,
            uid=hashlib.sha256(results.uri.encode()).hexdigest()[:32],
            spec=spec,
            results=results,
            model=ModelLocation(
                name=spec.model.resolved_name,
                uri=spec.model.uri,
                revision=spec.model.revision,
                digest=spec.model.digest,
                storage=self._access(spec.model.storage, "spec.model.storage"),
            ),
            suites={
                benchmark.resolved_name: self._suite(benchmark, f"spec.benchmarks[{number}].source")
                for number, benchmark in enumerate(spec.benchmarks)
                if benchmark.source is not None
            },
            baselines=tuple(
                gate.baseline and self._run(gate.baseline, f"spec.gates[{number}].baseline")
                for number, gate in enumerate(spec.gates)
            ),
            resume_from=spec.resume_from and self._run(spec.resume_from, "spec.resumeFrom"),
            gpus_per_replica=spec.engine.vllm.tensor_parallel_size if spec.engine.vllm and has_gpu() else 0,
            allow_code=allow_code,
        )

    def _results(self, output: str | None, namespace: str, name: str, *, fresh: bool) -> RunLocation:
        spec = self.file.evalrun.spec.output
        uri = output or spec.uri
        storage = self._access(spec.storage, "spec.output.storage")
        if output is None and uri.startswith("s3://"):
            # As in a cluster, where a bucket is shared; the address stands for the uid, so that a rerun resumes.
            uri = uri.rstrip("/")
            unique = hashlib.sha256(f"{uri}/{namespace}/{name}".encode()).hexdigest()[:8]
            uri = f"{uri}/{namespace}/{name}-{unique}/"
        location = RunLocation(uri=absolute(uri), storage=storage)
        return _fresh(location) if fresh else location

    def _access(self, storage: Storage | None, field: str) -> StorageAccess:
        if storage is None:
            return StorageAccess()
        secret = ca = None
        if storage.credentials_secret_ref is not None:
            secret = self._written(self.file.secrets, "Secret", storage.credentials_secret_ref.name, field)
        if storage.ca_bundle_ref is not None:
            folder = self._written(self.file.config_maps, "ConfigMap", storage.ca_bundle_ref.name, field)
            ca = str(folder / storage.ca_bundle_ref.key)
        return StorageAccess(
            endpoint_url=storage.endpoint_url,
            region=storage.region,
            addressing_style=storage.addressing_style,
            checksums=storage.checksums,
            ca_bundle_file=ca,
            credentials_dir=str(secret) if secret else None,
        )

    def _suite(self, benchmark: Benchmark, field: str) -> SuiteLocation:
        source = benchmark.source
        assert source is not None
        if source.path is not None:
            return SuiteLocation(uri=(self.base / source.path).resolve().as_uri())
        if source.s3 is not None:
            return SuiteLocation(uri=source.s3.uri, storage=self._access(source.s3.storage, f"{field}.s3.storage"))
        if source.config_map is not None:
            folder = self._written(self.file.config_maps, "ConfigMap", source.config_map.name, f"{field}.configMap")
            return SuiteLocation(uri=folder.as_uri())
        raise InputError(f"{field}.pvc is a volume of a cluster; here give a folder: --set {field}={{path: FOLDER}}")

    def _run(self, reference: RunReference, field: str) -> RunLocation:
        if reference.uri is None:
            raise InputError(
                f"{field}.runName: only a cluster knows runs by name; here give the run's output: "
                f"--set {field}={{uri: FOLDER-OR-S3-URI}}"
            )
        storage = self._access(self.file.evalrun.spec.output.storage, "spec.output.storage")
        return RunLocation(uri=absolute(reference.uri), storage=storage)

    def _written(self, objects: Mapping[str, FileObject], kind: str, name: str, field: str) -> Path:
        """The folder with an object's values as files, as a mounted volume has them."""
        if name not in objects:
            raise InputError(
                f"{field}: the {kind} {name} is in a cluster, not here; add it to the file as a further document "
                "(---), or take the reference out with --set"
            )
        folder = self.scratch / kind / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, value in objects[name].data.items():
            file = folder / key
            if key in {"", ".", ".."} or file.name != key:
                raise InputError(f"{field}: the key {key!r} of the {kind} {name} is no file name")
            file.write_bytes(value)
            file.chmod(0o600)
        return folder


def absolute(uri: str) -> str:
    """A folder as a file:// URI; s3:// as it is. Raises ``InputError`` for what is neither."""
    normal = StoreSpec(uri).uri
    if normal.startswith("s3://"):
        return normal
    return Path(unquote(urlsplit(normal).path)).resolve().as_uri()


def _fresh(location: RunLocation) -> RunLocation:
    """The first sibling that holds no run."""
    number, candidate = 1, location
    while open_store(store_spec(candidate)).exists(RUN_MARK):
        number += 1
        candidate = location.model_copy(update={"uri": f"{location.uri.rstrip('/')}-{number}/"})
    return candidate
