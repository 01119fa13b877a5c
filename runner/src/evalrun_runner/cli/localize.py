"""Resolve an EvalRun file on this machine: what the operator resolves in a cluster.

ConfigMaps and Secrets may be further documents of the file; what only a cluster can resolve is an ``InputError``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from evalrun_api import (
    ConfigMapKeyRef,
    ModelScheme,
    ModelSpec,
    RunConfig,
    RunLocation,
    RunReference,
    SecretRef,
    SuiteSource,
)
from evalrun_api.reading.parse import EvalRunFile, FileObject
from evalrun_api.wire.resolve import Placement, resolve, resolve_storage
from evalrun_runner.cli.files import meant_model
from evalrun_runner.cli.scratch import Scratch
from evalrun_runner.engine.settings import gpus_per_replica
from evalrun_runner.errors import InputError
from evalrun_runner.ledger import layout
from evalrun_runner.machine import has_gpu
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import StoreSpec, open_store


@dataclass(frozen=True)
class LocalResolver:
    """Where things lie on this machine; see ``evalrun_api.wire.resolve``. Its methods raise ``InputError``."""

    file: EvalRunFile
    base: Path
    """Folder of the file, which the paths in it are relative to."""
    scratch: Scratch
    """Takes the ConfigMaps and Secrets of the file."""
    output: str | None = None
    """Write exactly here; None: where the file says."""
    fresh: bool = False
    """Write beside what is there."""
    allow_code: bool = False
    """Whether suites of the user's own may hold code."""
    has_gpu: Callable[[], bool] = has_gpu
    """Whether this machine has a GPU."""

    def config(self) -> RunConfig:
        """Build the run's whole input."""
        return resolve(self.file.evalrun, self)

    def placement(self) -> Placement:
        """Take identity and output from the file, the rest from this machine."""
        spec, metadata = self.file.evalrun.spec, self.file.evalrun.metadata
        name = metadata.name or f"{metadata.generate_name}local"
        namespace = metadata.namespace or "default"
        uri = self._results_uri(namespace, name)
        return Placement(
            name=name,
            namespace=namespace,
            uid=hashlib.sha256(uri.encode()).hexdigest()[:32],
            results_uri=uri,
            attempt=1,
            cache_dir=None,
            gpus_per_replica=gpus_per_replica(spec) if self.has_gpu() else 0,
            allow_code=self.allow_code,
        )

    def credentials_dir(self, secret: SecretRef, field: str) -> str:
        """Give a Secret of the file as files that are in memory."""
        found = self._found(self.file.secrets, "Secret", secret.name, field)
        return str(self.scratch.secrets("Secret", secret.name, found))

    def ca_bundle_file(self, bundle: ConfigMapKeyRef, field: str) -> str:
        """Write a ConfigMap of the file as files."""
        return str(self._config_map(bundle.name, field) / bundle.key)

    def model_uri(self, model: ModelSpec, field: str) -> str:
        """Return the address of the model; a volume is a cluster's."""
        if model.scheme is ModelScheme.PVC:
            raise InputError(
                f"{field}: {model.uri} is a volume of a cluster; here give a path: --set {field}=file:///path/of/the/model"
            )
        if model.uri.startswith("file:///~"):
            raise InputError(f"{field}: {model.uri} is no absolute path; hint: {meant_model(model.uri, self.base)}")
        return model.uri

    def chat_template(self, model: ModelSpec, field: str) -> str | None:
        """Return the name of one of the model's templates, or a file of this machine as file://."""
        given = model.chat_template
        if given is None or not model.has_template_file:
            return given
        given = unquote(given.removeprefix("file://")) if given.startswith("file://") else given
        path = (self.base / Path(given).expanduser()).resolve()
        if not path.is_file():
            raise InputError(
                f"{field}: there is no file {path}; expected the name of one of the model's chat templates, or a Jinja "
                "file, relative to the EvalRun's file"
            )
        return path.as_uri()

    def suite_uri(self, source: SuiteSource, number: int, field: str) -> str:
        """Return the folder of a suite: one of this machine, or a ConfigMap of the file written as files."""
        if source.path is not None:
            return (self.base / source.path).resolve().as_uri()
        if source.config_map is not None:
            return self._config_map(source.config_map.name, f"{field}.configMap").as_uri()
        raise InputError(f"{field}.pvc is a volume of a cluster; here give a folder: --set {field}={{path: FOLDER}}")

    def run_uri(self, run: RunReference, field: str) -> str:
        """Return the output of another run; only a cluster knows runs by name."""
        if run.uri is None:
            raise InputError(
                f"{field}.runName: only a cluster knows runs by name; here give the run's output: "
                f"--set {field}={{uri: FOLDER-OR-S3-URI}}"
            )
        return absolute(run.uri, self.base)

    def _results_uri(self, namespace: str, name: str) -> str:
        spec = self.file.evalrun.spec.output
        uri = absolute(self.output) if self.output else absolute(spec.uri, self.base)
        if self.output is None and uri.startswith("s3://"):
            # As in a cluster, where a bucket is shared; the address stands for the uid, so that a rerun resumes.
            uri = uri.rstrip("/")
            unique = hashlib.sha256(f"{uri}/{namespace}/{name}".encode()).hexdigest()[:8]
            uri = f"{uri}/{namespace}/{name}-{unique}/"
        location = RunLocation(uri=uri, storage=resolve_storage(spec.storage, self, "spec.output.storage"))
        return _unused(location).uri if self.fresh else location.uri

    def _config_map(self, name: str, field: str) -> Path:
        """Write a ConfigMap of the file as files of a folder, as a mounted volume has them."""
        return self.scratch.files("ConfigMap", name, self._found(self.file.config_maps, "ConfigMap", name, field))

    @staticmethod
    def _found(objects: Mapping[str, FileObject], kind: str, name: str, field: str) -> Mapping[str, bytes]:
        if name not in objects:
            raise InputError(
                f"{field}: the {kind} {name} is in a cluster, not here; add it to the file as a further document "
                "(---), or take the reference out with --set"
            )
        for key in objects[name].data:
            if key in {"", ".", ".."} or Path(key).name != key or not key.isprintable():
                raise InputError(f"{field}: the key {key!r} of the {kind} {name} is no file name")
        return objects[name].data


def absolute(uri: str, base: Path | None = None) -> str:
    """Return a folder as a file:// URI, and s3:// as it is.

    Args:
        uri: The folder, as a path or URI.
        base: Folder that a path is relative to; None for the working directory.

    Raises:
        InputError: It is neither a folder nor on S3.
    """
    if base is not None and uri.strip() and "://" not in uri:
        uri = str(base / Path(uri).expanduser())
    normal = StoreSpec(uri).uri
    if normal.startswith("s3://"):
        return normal
    return Path(unquote(urlsplit(normal).path)).resolve().as_uri()


def _unused(location: RunLocation) -> RunLocation:
    """Find the first sibling that holds no run."""
    number, candidate = 1, location
    while open_store(store_spec(candidate)).exists(layout.RUN):
        number += 1
        candidate = location.model_copy(update={"uri": f"{location.uri.rstrip('/')}-{number}/"})
    return candidate
