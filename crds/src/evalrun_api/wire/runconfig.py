"""RunConfig: the whole input of the runner, built by the operator or by the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evalrun_api.base import Digest, Model
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.spec.storage import AddressingStyle, Checksums


class StorageAccess(Model):
    """Access to a store, with every reference resolved to a file. It holds paths of secrets, never secrets."""

    endpoint_url: Annotated[str | None, Field(alias="endpointURL")] = None
    """Address of an S3-compatible store, or of a mirror of the hub; absent: AWS, or the hub."""
    region: str | None = None
    """Region of the bucket; absent: the client's own configuration."""
    addressing_style: AddressingStyle = AddressingStyle.AUTO
    """Whether the bucket is in the path or in the host name."""
    checksums: Checksums = Checksums.WHEN_SUPPORTED
    """When the client sends its own checksums."""
    ca_bundle_file: str | None = None
    """File with the certificates to trust."""
    credentials_dir: str | None = None
    """Folder with one file per key (AWS_ACCESS_KEY_ID, …, HF_TOKEN), like a mounted Secret; read again when it changes.

    Absent: the process's own identity.
    """


class AdapterLocation(Model):
    """Location of a LoRA adapter for the runner."""

    name: str
    """Name of its column."""
    uri: str
    """s3://, hf:// or file://."""
    revision: str | None = None
    """For hf://: the requested commit or branch."""
    digest: Digest | None = None
    """Expected digest of its files."""
    storage: StorageAccess = StorageAccess()
    """Access to the store."""


class ModelLocation(Model):
    """Location of the model for the runner."""

    name: str
    """Name in metrics and reports."""
    uri: str
    """s3://, hf:// or file://; a pvc:// is mounted and appears as file://."""
    revision: str | None = None
    """For hf://: the requested commit or branch."""
    digest: Digest | None = None
    """Expected digest of the files."""
    chat_template: str | None = None
    """Chat template to use: the name of one of the model's, or file:///path; absent: the model's default."""
    storage: StorageAccess = StorageAccess()
    """Access to the store."""
    cache_dir: str | None = None
    """Folder for downloads, which other processes may share; absent: the runner's own choice."""
    adapters: Annotated[tuple[AdapterLocation, ...], Field(exclude_if=lambda given: not given)] = ()
    """Its LoRA adapters, in the spec's order."""


class SuiteLocation(Model):
    """Location of a custom suite for the runner."""

    uri: str
    """s3://bucket/prefix/, or file:///path of a mounted or local folder."""
    storage: StorageAccess = StorageAccess()
    """Access to the store."""


class RunLocation(Model):
    """Location of a run's results."""

    uri: str
    """s3://bucket/prefix/ or file:///path."""
    storage: StorageAccess = StorageAccess()
    """Access to the store."""


class RunConfig(Model):
    """The whole input of the runner. The names in the spec are resolved here; the runner looks up nothing else."""

    name: str
    """Name of the EvalRun."""
    namespace: str = "default"
    """Namespace of the EvalRun."""
    uid: str
    """Unique id of the EvalRun; on one machine derived from the output's address, so that it survives the process."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """Number of the attempt, counted from 1."""
    spec: EvalRunSpec
    """Spec as the user wrote it, with defaults."""
    results: RunLocation
    """Exactly the folder that this run writes."""
    model: ModelLocation
    """Location of the model."""
    suites: dict[str, SuiteLocation] = Field(default_factory=dict)
    """Custom suites, by the resolved name of their benchmark."""
    baselines: tuple[RunLocation | None, ...] = ()
    """Runs to compare with, one per gate in the spec's order; None where a gate has no baseline."""
    resume_from: RunLocation | None = None
    """Earlier run whose items are reused."""
    recorded: RunLocation | None = None
    """Answers that are scored instead of an engine's: a run's output, or file:///path of a .jsonl file."""
    gpus_per_replica: Annotated[int, Field(ge=0)] = 0
    """GPUs of each replica; 0: replicas run on CPU. The driver itself may have none either way."""
    allow_code: bool = False
    """Whether the administrator, or --allow-code, allows code in custom suites."""

    @classmethod
    def from_json(cls, text: str | bytes) -> RunConfig:
        """Parse the output of ``to_json``. Raises pydantic's ValidationError: only programs write a RunConfig."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)
