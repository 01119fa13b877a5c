"""RunConfig: the whole input of the runner, made by the operator or by the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evalrun_api.base import Digest, Model
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.spec.storage import AddressingStyle, Checksums


class StorageAccess(Model):
    """How to reach a store, with every reference resolved to a file. Holds no secrets, only where they lie."""

    endpoint_url: Annotated[str | None, Field(alias="endpointURL")] = None
    """Address of an S3-compatible store; absent: AWS."""
    region: str | None = None
    """Region of the bucket; absent: the client's own configuration."""
    addressing_style: AddressingStyle = AddressingStyle.AUTO
    """Whether the bucket goes into the path or the host name."""
    checksums: Checksums = Checksums.WHEN_SUPPORTED
    """When the client sends checksums of its own."""
    ca_bundle_file: str | None = None
    """File with the certificates to trust."""
    credentials_dir: str | None = None
    """Folder with a file per key (AWS_ACCESS_KEY_ID, …, HF_TOKEN), as a mounted Secret is; read again when it changes.

    Absent: the process's own identity.
    """


class ModelLocation(Model):
    """Where the runner finds the model."""

    name: str
    """Name in metrics and reports."""
    uri: str
    """s3://, hf:// or file://; a pvc:// is mounted and comes as file://."""
    revision: str | None = None
    """For hf://: the commit or branch that was asked for."""
    digest: Digest | None = None
    """What the files must come to."""
    storage: StorageAccess = StorageAccess()
    """How to reach the store."""
    cache_dir: str | None = None
    """Folder for downloads, which other processes may share; absent: the runner's own choice."""


class SuiteLocation(Model):
    """Where the runner finds a suite of the user's own."""

    uri: str
    """s3://bucket/prefix/, or file:///path of a mounted or local folder."""
    storage: StorageAccess = StorageAccess()
    """How to reach the store."""


class RunLocation(Model):
    """Where the results of a run lie."""

    uri: str
    """s3://bucket/prefix/ or file:///path."""
    storage: StorageAccess = StorageAccess()
    """How to reach the store."""


class RunConfig(Model):
    """The whole input of the runner. What the spec names is resolved here; the runner asks nobody else."""

    name: str
    """Name of the EvalRun."""
    namespace: str = "default"
    """Namespace of the EvalRun."""
    uid: str
    """Unique id of the EvalRun; on one machine made from the output's address, so that it outlives the process."""
    attempt: Annotated[int, Field(ge=1)] = 1
    """The attempt, counted from 1."""
    spec: EvalRunSpec
    """The spec as the user wrote it, defaults filled in."""
    results: RunLocation
    """Exactly the folder that this run writes."""
    model: ModelLocation
    """The model."""
    suites: dict[str, SuiteLocation] = Field(default_factory=dict)
    """Suites of one's own, by the resolved name of their benchmark."""
    baselines: tuple[RunLocation | None, ...] = ()
    """The runs to compare with, one per gate in the spec's order; None where a gate has no baseline."""
    resume_from: RunLocation | None = None
    """The earlier run whose items are taken over."""
    gpus_per_replica: Annotated[int, Field(ge=0)] = 0
    """GPUs of each replica; 0: replicas run on CPU. The driver itself may have none either way."""
    allow_code: bool = False
    """The administrator, or --allow-code, allows code in suites of one's own."""

    @classmethod
    def from_json(cls, text: str | bytes) -> RunConfig:
        """Read what ``to_json`` wrote. Raises pydantic's ValidationError: a RunConfig is made by programs only."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)
