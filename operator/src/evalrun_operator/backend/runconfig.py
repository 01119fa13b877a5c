"""The RunConfig of an attempt: every reference of a spec, resolved to an address or to a path in the run's pods."""

from __future__ import annotations

from pathlib import PurePosixPath

from evalrun_api import (
    Benchmark,
    EvalRun,
    ModelLocation,
    ModelScheme,
    ModelSpec,
    RunConfig,
    RunLocation,
    RunReference,
    Storage,
    StorageAccess,
    SuiteLocation,
)
from evalrun_api.wire.pods import CA_DIR, CACHE_DIR, CREDENTIALS_DIR, MODELS_DIR, SUITES_DIR
from evalrun_operator.backend.resources import gpus_per_replica
from evalrun_operator.names import results_uri
from evalrun_operator.observe.references import claim_of
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import References


def runconfig(run: EvalRun, attempt: int, settings: OperatorSettings, references: References | None) -> RunConfig:
    """Build the whole input of an attempt's driver and replicas.

    Raises:
        KeyError: ``references`` lacks a run that the spec names: no attempt may be created before it is known.
    """
    spec, metadata = run.spec, run.metadata
    assert metadata.name is not None
    assert metadata.namespace is not None
    assert metadata.uid is not None
    known = references or References()
    return RunConfig(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        attempt=attempt,
        spec=spec,
        results=RunLocation(uri=results_uri(run), storage=storage_access(spec.output.storage)),
        model=_model(spec.model),
        suites={
            benchmark.resolved_name: _suite(benchmark, number)
            for number, benchmark in enumerate(spec.benchmarks)
            if benchmark.source is not None
        },
        baselines=tuple(gate.baseline and _run(gate.baseline, run, known) for gate in spec.gates),
        resume_from=spec.resume_from and _run(spec.resume_from, run, known),
        gpus_per_replica=gpus_per_replica(spec),
        allow_code=settings.allow_code,
    )


def storage_access(storage: Storage | None) -> StorageAccess:
    """Describe how the run's pods reach a store: Secrets and ConfigMaps are mounted under their own names."""
    if storage is None:
        return StorageAccess()
    secret, bundle = storage.credentials_secret_ref, storage.ca_bundle_ref
    return StorageAccess(
        endpoint_url=storage.endpoint_url,
        region=storage.region,
        addressing_style=storage.addressing_style,
        checksums=storage.checksums,
        ca_bundle_file=f"{CA_DIR}/{bundle.name}/{bundle.key}" if bundle else None,
        credentials_dir=f"{CREDENTIALS_DIR}/{secret.name}" if secret else None,
    )


def _model(model: ModelSpec) -> ModelLocation:
    uri = model.uri
    if model.scheme is ModelScheme.PVC:
        claim, path = claim_of(uri)
        uri = _file_uri(MODELS_DIR, claim, path)
    return ModelLocation(
        name=model.resolved_name,
        uri=uri,
        revision=model.revision,
        digest=model.digest,
        storage=storage_access(model.storage),
        cache_dir=CACHE_DIR,
    )


def _suite(benchmark: Benchmark, number: int) -> SuiteLocation:
    source = benchmark.source
    assert source is not None
    if source.s3 is not None:
        return SuiteLocation(uri=source.s3.uri, storage=storage_access(source.s3.storage))
    path = source.pvc.path if source.pvc is not None else None
    return SuiteLocation(uri=_file_uri(SUITES_DIR, str(number), path or ""))


def _run(reference: RunReference, run: EvalRun, references: References) -> RunLocation:
    """Locate another run, which is read with this run's own access: naming it grants no other Secret."""
    uri = references.runs[reference.run_name].uri if reference.run_name is not None else reference.uri
    assert uri is not None
    return RunLocation(uri=uri, storage=storage_access(run.spec.output.storage))


def _file_uri(root: str, name: str, path: str) -> str:
    """Build a file:// URI below a mount; ``path`` may begin or end with a slash, '..' was rejected before."""
    return PurePosixPath(root, name, path.lstrip("/")).as_uri()
