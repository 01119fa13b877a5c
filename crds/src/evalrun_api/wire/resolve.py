"""From an EvalRun to the RunConfig of an attempt: the one mapping, for the command line and for the operator.

A spec names Secrets, ConfigMaps, volumes and other runs. Where these lie differs between a cluster and one machine; a
``Resolver`` tells. Everything else is taken from the spec here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from evalrun_api.run import EvalRun
from evalrun_api.spec.benchmark import Benchmark, SuiteSource
from evalrun_api.spec.gates import RunReference
from evalrun_api.spec.model import ModelSpec
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.spec.storage import ConfigMapKeyRef, SecretRef, Storage
from evalrun_api.wire.runconfig import (
    AdapterLocation,
    ModelLocation,
    RunConfig,
    RunLocation,
    StorageAccess,
    SuiteLocation,
)


@dataclass(frozen=True, slots=True)
class Placement:
    """What is decided outside of the spec for one attempt."""

    name: str
    namespace: str
    uid: str
    results_uri: str
    """Exactly the folder that the run writes: s3://bucket/prefix/ or file:///path/."""
    attempt: int
    """Counted from 1."""
    cache_dir: str | None
    """Folder for downloads; None: the runner's own choice."""
    gpus_per_replica: int
    allow_code: bool
    """Whether suites of the user's own may hold code."""


class Resolver(Protocol):
    """Where the things lie that a spec names. ``field`` is the place in the spec, for messages.

    Every method may raise the error of its owner for what cannot be resolved there.
    """

    def placement(self) -> Placement:
        """Return what is decided outside of the spec."""

    def credentials_dir(self, secret: SecretRef, field: str) -> str:
        """Return the folder with the values of a Secret as files."""

    def ca_bundle_file(self, bundle: ConfigMapKeyRef, field: str) -> str:
        """Return the file with the value of a ConfigMap's key."""

    def model_uri(self, model: ModelSpec, field: str) -> str:
        """Return the address of the model: s3://, hf:// or file://."""

    def chat_template(self, model: ModelSpec, field: str) -> str | None:
        """Return the chat template: the name of one of the model's, file:///path, or None for the model's default."""

    def suite_uri(self, source: SuiteSource, number: int, field: str) -> str:
        """Return the folder of a suite that does not lie on S3, as file://. ``number`` is its benchmark's, from 0."""

    def run_uri(self, run: RunReference, field: str) -> str:
        """Return the output of another run."""


def resolve(run: EvalRun, resolver: Resolver) -> RunConfig:
    """Build the whole input of the runner."""
    spec, placement = run.spec, resolver.placement()
    model, storage = spec.model, resolve_storage(spec.output.storage, resolver, "spec.output.storage")

    def other_run(reference: RunReference | None, field: str) -> RunLocation | None:
        # Another run is read with this run's own access: naming it grants no other Secret.
        return None if reference is None else RunLocation(uri=resolver.run_uri(reference, field), storage=storage)

    return RunConfig(
        name=placement.name,
        namespace=placement.namespace,
        uid=placement.uid,
        attempt=placement.attempt,
        spec=_without_what_only_operators_read(spec),
        results=RunLocation(uri=placement.results_uri, storage=storage),
        model=ModelLocation(
            name=model.resolved_name,
            uri=resolver.model_uri(model, "spec.model.uri"),
            revision=model.revision,
            digest=model.digest,
            chat_template=resolver.chat_template(model, "spec.model.chatTemplate"),
            storage=resolve_storage(model.storage, resolver, "spec.model.storage"),
            cache_dir=placement.cache_dir,
            adapters=tuple(
                AdapterLocation(
                    name=adapter.name,
                    uri=adapter.uri,
                    revision=adapter.revision,
                    digest=adapter.digest,
                    storage=resolve_storage(adapter.storage, resolver, f"spec.model.adapters[{number}].storage"),
                )
                for number, adapter in enumerate(model.adapters)
            ),
        ),
        suites=resolve_suites(spec.benchmarks, resolver),
        baselines=tuple(
            other_run(gate.baseline, f"spec.gates[{number}].baseline") for number, gate in enumerate(spec.gates)
        ),
        resume_from=other_run(spec.resume_from, "spec.resumeFrom"),
        recorded=other_run(
            None if spec.engine.recorded is None else RunReference(uri=spec.engine.recorded.uri), "spec.engine.recorded"
        ),
        gpus_per_replica=placement.gpus_per_replica,
        allow_code=placement.allow_code,
    )


def _without_what_only_operators_read(spec: EvalRunSpec) -> EvalRunSpec:
    """Leave out younger fields that no runner reads: a run keeps its image, which may be older than the operator."""
    policy = spec.policy.model_copy(update={"max_disruptions": None, "start_deadline_seconds": None})
    return spec.model_copy(update={"policy": policy})


def resolve_storage(storage: Storage | None, resolver: Resolver, field: str) -> StorageAccess:
    """Describe how the runner reaches a store, with the references in ``field`` as files."""
    if storage is None:
        return StorageAccess()
    secret, bundle = storage.credentials_secret_ref, storage.ca_bundle_ref
    return StorageAccess(
        endpoint_url=storage.endpoint_url,
        region=storage.region,
        addressing_style=storage.addressing_style,
        checksums=storage.checksums,
        ca_bundle_file=None if bundle is None else resolver.ca_bundle_file(bundle, field),
        credentials_dir=None if secret is None else resolver.credentials_dir(secret, field),
    )


def resolve_suites(benchmarks: Iterable[Benchmark], resolver: Resolver) -> dict[str, SuiteLocation]:
    """Describe where each suite lies, by the resolved name of its benchmark."""
    return dict(_suites(benchmarks, resolver))


def _suites(benchmarks: Iterable[Benchmark], resolver: Resolver) -> Iterator[tuple[str, SuiteLocation]]:
    for number, benchmark in enumerate(benchmarks):
        source, field = benchmark.source, f"spec.benchmarks[{number}].source"
        if source is None:
            continue
        if source.s3 is not None:
            access = resolve_storage(source.s3.storage, resolver, f"{field}.s3.storage")
            yield benchmark.resolved_name, SuiteLocation(uri=source.s3.uri, storage=access)
        else:
            yield benchmark.resolved_name, SuiteLocation(uri=resolver.suite_uri(source, number, field))
