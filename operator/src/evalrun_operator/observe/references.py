"""The objects that a spec names outside itself, as pure lists for ``observe`` to look up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from evalrun_api import EvalRunSpec, ModelScheme, Storage


class ReferenceKind(StrEnum):
    """Kind of a named object."""

    SECRET = "Secret"  # noqa: S105 (a kind, no password)
    CONFIG_MAP = "ConfigMap"
    CLAIM = "PersistentVolumeClaim"
    RUN = "EvalRun"


@dataclass(frozen=True, slots=True)
class Reference:
    """One object of the run's namespace that the spec names."""

    kind: ReferenceKind
    name: str
    field: str
    """Field of the spec that names it."""
    key: str | None = None
    """Key of a ConfigMap that is read."""


def claim_of(uri: str) -> tuple[str, str]:
    """Split ``pvc://claim/path`` into the claim and the path within it."""
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    return claim, path


def named_runs(spec: EvalRunSpec) -> frozenset[str]:
    """Return the names of the earlier runs whose results an attempt takes with it: to compare with, to resume from."""
    return frozenset(reference.name for reference in _references(spec) if reference.kind is ReferenceKind.RUN)


def references(spec: EvalRunSpec) -> tuple[Reference, ...]:
    """List everything that the spec names, in its order."""
    return tuple(_references(spec))


def _references(spec: EvalRunSpec) -> Iterator[Reference]:
    yield from _storage(spec.model.storage, "spec.model.storage")
    if spec.model.scheme is ModelScheme.PVC:
        yield Reference(ReferenceKind.CLAIM, claim_of(spec.model.uri)[0], "spec.model.uri")
    if spec.model.cache is not None:
        claim = spec.model.cache.persistent_volume_claim.claim_name
        yield Reference(ReferenceKind.CLAIM, claim, "spec.model.cache.persistentVolumeClaim.claimName")
    for number, adapter in enumerate(spec.model.adapters):
        yield from _storage(adapter.storage, f"spec.model.adapters[{number}].storage")
    for number, benchmark in enumerate(spec.benchmarks):
        field, source = f"spec.benchmarks[{number}].source", benchmark.source
        if source is None:
            continue
        if source.config_map is not None:
            yield Reference(ReferenceKind.CONFIG_MAP, source.config_map.name, f"{field}.configMap.name")
        if source.pvc is not None:
            yield Reference(ReferenceKind.CLAIM, source.pvc.claim_name, f"{field}.pvc.claimName")
        if source.s3 is not None:
            yield from _storage(source.s3.storage, f"{field}.s3.storage")
    yield from _storage(spec.output.storage, "spec.output.storage")
    if spec.resume_from is not None and spec.resume_from.run_name is not None:
        yield Reference(ReferenceKind.RUN, spec.resume_from.run_name, "spec.resumeFrom.runName")
    for number, gate in enumerate(spec.gates):
        if gate.baseline is not None and gate.baseline.run_name is not None:
            yield Reference(ReferenceKind.RUN, gate.baseline.run_name, f"spec.gates[{number}].baseline.runName")


def _storage(storage: Storage | None, field: str) -> Iterator[Reference]:
    if storage is None:
        return
    if storage.credentials_secret_ref is not None:
        yield Reference(ReferenceKind.SECRET, storage.credentials_secret_ref.name, f"{field}.credentialsSecretRef.name")
    if storage.ca_bundle_ref is not None:
        bundle = storage.ca_bundle_ref
        yield Reference(ReferenceKind.CONFIG_MAP, bundle.name, f"{field}.caBundleRef.name", bundle.key)
