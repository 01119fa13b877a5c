"""Benchmark: one lm-eval task, group or tag of a run, how it is prompted, and where a suite of one's own comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from evalrun_api.base import INT32_MAX, RELATIVE_PATH, Model, ObjectName, S3Uri, TaskName, no_climbing
from evalrun_api.rules import Rule, exactly_one
from evalrun_api.spec.storage import Storage

Count = Annotated[int, Field(ge=1, le=INT32_MAX)]


class ConfigMapSource(Model):
    """A suite in a ConfigMap of the run's namespace: one key per file."""

    name: ObjectName
    """Name of the ConfigMap."""


class S3Source(Model):
    """A suite under a prefix of an S3 store."""

    uri: S3Uri
    """The folder of the suite, s3://bucket/prefix/."""
    storage: Storage | None = None
    """How to reach the store; absent: AWS with the pod's own identity."""


class ClaimSource(Model):
    """A suite on a PersistentVolumeClaim of the run's namespace."""

    rules: ClassVar[tuple[Rule, ...]] = (no_climbing("path"),)

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str | None, Field(min_length=1, max_length=1024, pattern=RELATIVE_PATH)] = None
    """Folder of the suite within the volume, relative; absent: its root."""


class SuiteSource(Model):
    """Where a suite of one's own (lm-eval YAML and data) comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("config_map", "s3", "pvc", "path", of="source"),
        Rule(
            cel="!has(self.path)",
            message="path is a folder of the machine that runs `evalrun run`; in a cluster use configMap, s3 or pvc",
            holds=lambda source: source.path is None,
            field="path",
            cluster_only=True,
        ),
    )

    config_map: ConfigMapSource | None = None
    """The files of the suite as keys of a ConfigMap."""
    s3: S3Source | None = None
    """The suite under a prefix of an S3 store."""
    pvc: ClaimSource | None = None
    """The suite on a PersistentVolumeClaim."""
    path: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    """A folder, relative to the EvalRun's file; local runs only."""


class GenerationOverrides(Model):
    """Overrides of a task's generation kwargs, by lm-eval's and vLLM's names."""

    model_config = ConfigDict(alias_generator=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.do_sample) || self.do_sample || !has(self.temperature) || self.temperature == 0.0",
            message="do_sample: false means greedy decoding; leave temperature out, or set do_sample: true",
            holds=lambda kwargs: kwargs.do_sample is not False or not kwargs.temperature,
            field="temperature",
        ),
    )

    until: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] | None, Field(max_length=64)] = (
        None
    )
    """Strings that end an answer; replaces the task's own."""
    max_gen_toks: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Tokens generated at most per answer."""
    do_sample: bool | None = None
    """False: greedy decoding. True: sample with the values below."""
    temperature: Annotated[float | None, Field(ge=0, le=100)] = None
    """Randomness of sampling; 0 is greedy."""
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    """Sample from the likeliest tokens whose probabilities add up to this."""
    top_k: Annotated[int | None, Field(ge=-1, le=INT32_MAX)] = None
    """Sample from this many likeliest tokens; 0 or -1: all."""
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10)] = None
    """Above 1: tokens already in prompt or answer become less likely."""
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Above 0: tokens already in the answer become less likely."""
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Above 0: tokens become less likely by how often they are in the answer."""
    min_tokens: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Tokens generated at least before an answer may end."""
    ignore_eos: bool | None = None
    """Go on after the model's own end token; for measurements of speed."""


class Benchmark(Model):
    """An lm-eval task, group or tag with how it is prompted."""

    task: TaskName
    """An lm-eval task, group or tag; with ``source`` one of that suite."""
    name: TaskName | None = None
    """Name in the run, unique in it; default: the task."""
    num_fewshot: Annotated[int | None, Field(ge=0, le=1000)] = None
    """Examples shown before each question; absent: the task's own number."""
    limit: Count | None = None
    """Only the first so many documents of each task; absent: all."""
    apply_chat_template: bool = False
    """Put prompts into the model's chat template."""
    system_instruction: Annotated[str | None, Field(max_length=16384)] = None
    """System message before every prompt."""
    fewshot_as_multiturn: bool | None = None
    """With a chat template: examples as turns of a conversation; absent: lm-eval's own default."""
    generation: GenerationOverrides | None = None
    """Overrides of the task's generation kwargs."""
    source: SuiteSource | None = None
    """A suite of one's own; absent: lm-eval's own tasks."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.fewshotAsMultiturn) || !self.fewshotAsMultiturn || self.applyChatTemplate",
            message="fewshotAsMultiturn needs applyChatTemplate: true, turns exist only in a chat template",
            holds=lambda benchmark: not benchmark.fewshot_as_multiturn or benchmark.apply_chat_template,
            field="fewshotAsMultiturn",
        ),
    )

    @property
    def resolved_name(self) -> str:
        """``name``, or by default the task."""
        return self.name or self.task
