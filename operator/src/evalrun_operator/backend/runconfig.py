"""The RunConfig of an attempt: every reference of a spec, resolved to an address or to a path in the run's pods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from evalrun_api import (
    ConfigMapKeyRef,
    EvalRun,
    ModelScheme,
    ModelSpec,
    RunConfig,
    RunReference,
    SecretRef,
    SuiteSource,
)
from evalrun_api.wire.pods import CA_DIR, CACHE_DIR, CREDENTIALS_DIR, MODELS_DIR, SUITES_DIR
from evalrun_api.wire.resolve import Placement, resolve
from evalrun_operator.backend.resources import gpus_per_replica
from evalrun_operator.names import ObservedRun, results_uri
from evalrun_operator.observe.references import claim_of
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import References


def runconfig(run: EvalRun, attempt: int, settings: OperatorSettings, references: References | None) -> RunConfig:
    """Build the whole input of an attempt's driver and replicas.

    Raises:
        KeyError: ``references`` lacks a run that the spec names: no attempt may be created before it is known.
    """
    return resolve(run, ClusterResolver(run, attempt, settings, references or References()))


@dataclass(frozen=True, slots=True)
class ClusterResolver:
    """Where things lie in the pods of a run; see ``evalrun_api.wire.resolve``."""

    run: EvalRun
    attempt: int
    settings: OperatorSettings
    references: References

    def placement(self) -> Placement:
        """Take identity and GPUs from the object, the rest from the operator's settings."""
        observed = ObservedRun.of(self.run)
        return Placement(
            name=observed.name,
            namespace=observed.namespace,
            uid=observed.uid,
            results_uri=results_uri(self.run),
            attempt=self.attempt,
            cache_dir=CACHE_DIR,
            gpus_per_replica=gpus_per_replica(self.run.spec, self.settings.accelerators),
            allow_code=self.settings.allow_code,
        )

    def credentials_dir(self, secret: SecretRef, field: str) -> str:
        """Return where a Secret is mounted, under its own name."""
        return f"{CREDENTIALS_DIR}/{secret.name}"

    def ca_bundle_file(self, bundle: ConfigMapKeyRef, field: str) -> str:
        """Return where a key of a ConfigMap is mounted, under the ConfigMap's own name."""
        return f"{CA_DIR}/{bundle.name}/{bundle.key}"

    def model_uri(self, model: ModelSpec, field: str) -> str:
        """Return the address of the model; a claim is mounted under its own name."""
        if model.scheme is not ModelScheme.PVC:
            return model.uri
        claim, path = claim_of(model.uri)
        return _file_uri(MODELS_DIR, claim, path)

    def chat_template(self, model: ModelSpec, field: str) -> str | None:
        """Return the name of one of the model's templates; the CRD's rules refuse files."""
        return model.chat_template

    def suite_uri(self, source: SuiteSource, number: int, field: str) -> str:
        """Return where a ConfigMap or claim is mounted, under the number of its benchmark."""
        path = source.pvc.path if source.pvc is not None else None
        return _file_uri(SUITES_DIR, str(number), path or "")

    def run_uri(self, run: RunReference, field: str) -> str:
        """Return the output of a run, by name or by address."""
        if run.run_name is not None:
            return self.references.runs[run.run_name].uri
        assert run.uri is not None, "a rule of RunReference: it has either"
        return run.uri


def _file_uri(root: str, name: str, path: str) -> str:
    """Build a file:// URI below a mount; ``path`` may begin or end with a slash, '..' was rejected before."""
    return PurePosixPath(root, name, path.lstrip("/")).as_uri()
