"""ModelSpec: the weights to evaluate, and how their identity is verified."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Digest, Model, ModelUri, ObjectName, no_climbing
from evalrun_api.rules import Rule
from evalrun_api.spec.storage import Storage


class ModelScheme(StrEnum):
    """Kinds of model locations."""

    S3 = "s3"
    HF = "hf"
    PVC = "pvc"
    FILE = "file"


class ClaimRef(Model):
    """A PersistentVolumeClaim in the run's namespace with the label ``evalrun.dev/use: storage``."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""


class ModelCache(Model):
    """Cache of downloaded weights between pods."""

    persistent_volume_claim: ClaimRef
    """A claim that the pods share."""


_PINNED_BY_REVISION = Rule(
    cel="!has(self.revision) || self.uri.startsWith('hf://')",
    message="revision needs hf://, other locations have no revisions; hint: pin them by digest",
    holds=lambda fetched: fetched.revision is None or fetched.scheme is ModelScheme.HF,
    field="revision",
)


class AdapterSpec(Model):
    """A LoRA adapter of the model, in PEFT's layout: adapter_config.json and adapter_model.safetensors."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _PINNED_BY_REVISION,
        Rule(
            cel="!self.uri.startsWith('pvc://')",
            message="adapters are fetched from s3:// or hf://, or lie on the machine or in the image (file://)",
            holds=lambda adapter: adapter.scheme is not ModelScheme.PVC,
            field="uri",
        ),
        Rule(
            cel="!has(self.storage) || self.uri.startsWith('s3://') || self.uri.startsWith('hf://')",
            message="storage needs s3:// or hf://: file:// is mounted, nothing is fetched",
            holds=lambda adapter: adapter.storage is None or adapter.scheme in {ModelScheme.S3, ModelScheme.HF},
            field="storage",
        ),
        no_climbing("uri"),
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    """Name of its column: it answers every task TASK of the run, too, as TASK@NAME in results, gates and metrics."""
    uri: ModelUri
    """Location of the adapter: s3://bucket/prefix/, hf://org/name, or file:///path."""
    revision: Annotated[str | None, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")] = (
        None
    )
    """For hf://: a commit; a branch or tag is resolved once, and the commit is recorded."""
    digest: Digest | None = None
    """sha256 over the sorted lines ``<sha256>  <name>`` of its two files."""
    storage: Storage | None = None
    """Access to the store of an s3:// adapter; for hf:// a mirror of the hub, its certificates, and HF_TOKEN."""

    @property
    def scheme(self) -> ModelScheme:
        """Kind of the adapter's location."""
        return ModelScheme(self.uri.partition("://")[0])


class ModelSpec(Model):
    """The model under evaluation."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _PINNED_BY_REVISION,
        Rule(
            cel="!has(self.storage) || self.uri.startsWith('s3://') || self.uri.startsWith('hf://')",
            message="storage needs s3:// or hf://: pvc:// and file:// are mounted, nothing is fetched",
            holds=lambda model: model.storage is None or model.scheme in {ModelScheme.S3, ModelScheme.HF},
            field="storage",
        ),
        Rule(
            cel="!has(self.storage) || !self.uri.startsWith('hf://') || (!has(self.storage.region) && "
            "self.storage.addressingStyle == 'auto' && self.storage.checksums == 'whenSupported')",
            message="region, addressingStyle and checksums are S3's; for hf:// storage has endpointURL (a mirror of "
            "the hub), caBundleRef and credentialsSecretRef",
            holds=lambda model: model.storage is None or model.scheme is not ModelScheme.HF or not model.storage.is_s3,
            field="storage",
        ),
        no_climbing("uri"),
        Rule(
            # CEL could only compare all pairs, which exceeds the API server's cost limit for a list this long.
            cel="",
            message="names of adapters must be unique",
            holds=lambda model: len({adapter.name for adapter in model.adapters}) == len(model.adapters),
            field="adapters",
        ),
        Rule(
            cel="!has(self.chatTemplate) || !(self.chatTemplate.contains('/') || self.chatTemplate.endsWith('.jinja'))",
            message="a file is one of the machine that runs `evalrun run`; hint: store it in the model's folder as "
            "additional_chat_templates/NAME.jinja, and give NAME",
            holds=lambda model: not model.has_template_file,
            field="chatTemplate",
            cluster_only=True,
        ),
    )

    name: Annotated[str | None, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")] = None
    """Name in metrics and reports; default: the last part of ``uri``."""
    uri: ModelUri
    """Location of the weights: s3://bucket/prefix/, hf://org/name, pvc://claim/path, or file:///path (a local run, or a
    path in the image). Safetensors only.
    """
    revision: Annotated[str | None, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")] = (
        None
    )
    """For hf://: a commit; a branch or tag is resolved once, and the commit is recorded."""
    digest: Digest | None = None
    """sha256 over the sorted lines ``<sha256> <relative path>`` of *.safetensors, *.json and tokenizer files; replicas
    verify it before they load.
    """
    chat_template: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    """Chat template in place of the model's default: the name of another of its templates or, on one machine, a file
    (with '/' or .jinja in it), relative to the EvalRun's file.
    """
    storage: Storage | None = None
    """Access to the store of an s3:// model; for hf:// a mirror of the hub, its certificates, and HF_TOKEN."""
    cache: ModelCache | None = None
    """Cache of downloaded weights; default: an emptyDir per pod."""
    # Left out where there are none, so that records of earlier runs keep their bytes.
    adapters: Annotated[tuple[AdapterSpec, ...], Field(max_length=64, exclude_if=lambda given: not given)] = ()
    """LoRA adapters of the model. The model and each adapter answer every item, all in the same batches."""

    @property
    def has_template_file(self) -> bool:
        """Whether the chat template is a file of the machine, not the name of one of the model's."""
        given = self.chat_template or ""
        return "/" in given or given.endswith(".jinja")

    @property
    def scheme(self) -> ModelScheme:
        """Kind of the model's location."""
        return ModelScheme(self.uri.partition("://")[0])

    @property
    def resolved_name(self) -> str:
        """The value of ``name``, or by default the last part of ``uri``."""
        return self.name or self.uri.rstrip("/").rpartition("/")[2]
