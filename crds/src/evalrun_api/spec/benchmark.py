"""Benchmark: one lm-eval task, group or tag of a run, its prompts, and the source of a custom suite."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from evalrun_api.base import INT32_MAX, RELATIVE_PATH, Model, ObjectName, S3Uri, TaskName, add_rules, no_climbing
from evalrun_api.rules import Rule, exactly_one
from evalrun_api.spec.reasoning import BenchmarkReasoning
from evalrun_api.spec.storage import Storage
from evalrun_api.spec.template_args import TemplateArgument, TemplateValue

Count = Annotated[int, Field(ge=1, le=INT32_MAX)]


class ConfigMapSource(Model):
    """A suite in a ConfigMap of the run's namespace with the label ``evalrun.dev/use: storage``, one key per file."""

    name: ObjectName
    """Name of the ConfigMap."""


class S3Source(Model):
    """A suite under a prefix of an S3 store."""

    uri: S3Uri
    """Folder of the suite, s3://bucket/prefix/."""
    storage: Storage | None = None
    """Access to the store; absent: AWS with the pod's own identity."""


class ClaimSource(Model):
    """A suite on a PersistentVolumeClaim of the run's namespace with the label ``evalrun.dev/use: storage``."""

    rules: ClassVar[tuple[Rule, ...]] = (no_climbing("path"),)

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""
    path: Annotated[str | None, Field(min_length=1, max_length=1024, pattern=RELATIVE_PATH)] = None
    """Folder of the suite within the volume, relative; absent: its root."""


class SuiteSource(Model):
    """Source of a custom suite (lm-eval YAML and data)."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("config_map", "s3", "pvc", "path", of="source"),
        Rule(
            cel="!has(self.path)",
            message="path is a folder of the machine that runs `evalrun run`; hint: use configMap, s3 or pvc",
            holds=lambda source: source.path is None,
            field="path",
            cluster_only=True,
        ),
    )

    config_map: ConfigMapSource | None = None
    """A ConfigMap with the files of the suite as keys."""
    s3: S3Source | None = None
    """A prefix of an S3 store with the suite."""
    pvc: ClaimSource | None = None
    """A PersistentVolumeClaim with the suite."""
    path: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    """A folder, relative to the EvalRun's file; local runs only."""


def _allow_null(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Let every field be null for Kubernetes, which drops a null where it is not allowed."""
    add_rules(schema, model)
    for field in schema["properties"].values():
        field["nullable"] = True


class GenerationOverrides(Model):
    """Overrides of a task's generation kwargs, by lm-eval's and vLLM's names; null drops the task's own value."""

    model_config = ConfigDict(alias_generator=None, json_schema_extra=_allow_null)
    null_is_unset: ClassVar[bool] = False

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.do_sample) || self.do_sample || !has(self.temperature) || self.temperature == 0.0",
            message="do_sample: false means greedy decoding; hint: leave temperature out, or set do_sample: true",
            holds=lambda kwargs: kwargs.do_sample is not False or not kwargs.temperature,
            field="temperature",
        ),
        Rule(
            cel="!has(self.do_sample) || self.do_sample || ((!has(self.top_p) || self.top_p == 1.0) && "
            "(!has(self.top_k) || self.top_k < 1) && (!has(self.min_p) || self.min_p == 0.0))",
            message="do_sample: false means greedy decoding, which top_p, top_k and min_p do not change; hint: leave "
            "them out, or set do_sample: true",
            holds=lambda kwargs: kwargs.do_sample is not False or not kwargs.narrows_sampling,
            field="do_sample",
        ),
        Rule(
            cel="!has(self.do_sample) || !self.do_sample || !has(self.temperature) || self.temperature > 0.0",
            message="temperature: 0 means greedy decoding; hint: leave do_sample out, or set a temperature above 0",
            holds=lambda kwargs: not kwargs.do_sample or kwargs.temperature != 0,
            field="temperature",
        ),
    )

    until: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] | None, Field(max_length=64)] = (
        None
    )
    """Strings that end an answer; they replace the task's own."""
    max_gen_toks: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Maximum number of generated tokens per answer."""
    do_sample: bool | None = None
    """False: greedy decoding. True: sampling with the values below."""
    temperature: Annotated[float | None, Field(ge=0, le=100)] = None
    """Randomness of sampling; 0 is greedy."""
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    """Total probability of the most likely tokens to sample from."""
    top_k: Annotated[int | None, Field(ge=-1, le=INT32_MAX)] = None
    """Number of most likely tokens to sample from; 0 or -1: all."""
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Minimum probability of a token to sample, relative to the most likely one."""
    repetition_penalty: Annotated[float | None, Field(gt=0, le=10)] = None
    """Penalty of tokens that are already in prompt or answer; above 1 they become less likely.
    """
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Penalty of tokens that are already in the answer; above 0 they become less likely."""
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    """Penalty of tokens by their count in the answer; above 0 they become less likely."""
    min_tokens: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Minimum number of generated tokens before an answer may end."""
    ignore_eos: bool | None = None
    """Whether to continue after the model's own end token; for measurements of speed."""
    num_beams: Annotated[int | None, Field(ge=1, le=1)] = None
    """Only 1, no beam search; null drops what a task written for another engine asks for."""

    @model_serializer(mode="wrap")
    def _keep_null(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the fields that were set to null, which say something here."""
        dropped = {name: None for name in sorted(self.model_fields_set) if getattr(self, name) is None}
        return {**written(self), **dropped}

    @property
    def narrows_sampling(self) -> bool:
        """Whether tokens to sample from are restricted."""
        return (self.top_p or 1) != 1 or (self.top_k or 0) > 0 or (self.min_p or 0) > 0


class SystemInstructionIn(StrEnum):
    """Turns of a conversation that can hold the text of the system turn."""

    SYSTEM = "system"
    FIRST_USER_TURN = "firstUserTurn"


class RandomSample(Model):
    """A random draw of documents of each task: the same ones for the same seed, whatever else the run asks."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("size", "fraction", of="size of the sample"),)

    size: Count | None = None
    """Number of documents of each task; of a smaller task all."""
    fraction: Annotated[float | None, Field(gt=0, le=1)] = None
    """Share of the documents of each task, rounded up."""
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    """Seed of the draw; absent: spec.seed."""


class Benchmark(Model):
    """An lm-eval task, group or tag, with its prompts."""

    task: TaskName
    """Name of an lm-eval task, group or tag; with ``source`` one of that suite."""
    name: TaskName | None = None
    """Name in the run, unique in it; default: the task."""
    num_fewshot: Annotated[int | None, Field(ge=0, le=1000)] = None
    """Number of examples before each question; absent: the task's own number."""
    limit: Count | None = None
    """Number of documents of each task, from the first one; absent: all. The first ones may differ from the rest:
    prefer ``sample`` for a score of the whole task.
    """
    sample: RandomSample | None = None
    """A random sample of each task's documents; absent: all."""
    apply_chat_template: bool = False
    """Whether to format prompts with the model's chat template."""
    system_instruction: Annotated[str | None, Field(max_length=16384)] = None
    """System message before every prompt; without a chat template plain text before it."""
    system_instruction_in: SystemInstructionIn | None = None
    """With a chat template: turn that holds systemInstruction and the task's description. system: a turn of its own,
    which templates without a system role drop, as in lm-eval. firstUserTurn: before the first user turn's text.
    Absent: system.
    """
    fewshot_as_multiturn: bool | None = None
    """With a chat template: whether examples are turns of a conversation; absent: lm-eval's own default.
    """
    chat_template_args: Annotated[dict[TemplateArgument, TemplateValue] | None, Field(max_length=32)] = None
    """With a chat template: values of variables that it reads, such as enable_thinking: false."""
    reasoning: BenchmarkReasoning | None = None
    """Reasoning of this benchmark, where it differs from the engine's (engine.vllm.reasoning)."""
    generation: GenerationOverrides | None = None
    """Overrides of the task's generation kwargs; null drops what the task sets."""
    repeats: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Number of answers to each document, sampled one by one; absent: the task's own number. More than one needs a task
    whose filters use them, and sampling (``generation``).
    """
    k: Annotated[tuple[Count, ...] | None, Field(min_length=1, max_length=16)] = None
    """The k of pass@k, each at most the number of answers; absent: the task's own."""
    allow_code: bool | None = None
    """Whether code that the model writes may run, as humaneval and mbpp need it (lm-eval's unsafe_code); it runs in a
    sandbox without network, files and secrets, or not at all. Absent: no.
    """
    source: SuiteSource | None = None
    """Source of a custom suite; absent: lm-eval's own tasks."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.k) || !has(self.repeats) || self.k.all(one, one <= self.repeats)",
            message="pass@k needs at least k answers to each document; hint: raise repeats, or lower k",
            holds=lambda benchmark: not benchmark.k or not benchmark.repeats or max(benchmark.k) <= benchmark.repeats,
            field="k",
        ),
        Rule(
            cel="!has(self.limit) || !has(self.sample)",
            message="limit takes the first documents and sample takes random ones: give one of them",
            holds=lambda benchmark: benchmark.limit is None or benchmark.sample is None,
            field="sample",
        ),
        Rule(
            cel="!has(self.fewshotAsMultiturn) || !self.fewshotAsMultiturn || self.applyChatTemplate",
            message="fewshotAsMultiturn needs applyChatTemplate: true, because only a chat template has turns",
            holds=lambda benchmark: not benchmark.fewshot_as_multiturn or benchmark.apply_chat_template,
            field="fewshotAsMultiturn",
        ),
        Rule(
            # The API server's rules cannot look at values of any type.
            cel="",
            message="chatTemplateArgs needs applyChatTemplate: true, because only a chat template reads them",
            holds=lambda benchmark: not benchmark.chat_template_args or benchmark.apply_chat_template,
            field="chatTemplateArgs",
        ),
        Rule(
            cel="!has(self.reasoning) || !has(self.reasoning.effort) || self.applyChatTemplate",
            message="effort needs applyChatTemplate: true, because only a chat template reads it",
            holds=lambda benchmark: (
                benchmark.reasoning is None or benchmark.reasoning.effort is None or benchmark.apply_chat_template
            ),
            field="reasoning",
        ),
        Rule(
            cel="!has(self.systemInstructionIn) || self.applyChatTemplate",
            message="systemInstructionIn needs applyChatTemplate: true, because only a chat template has turns",
            holds=lambda benchmark: benchmark.system_instruction_in is None or benchmark.apply_chat_template,
            field="systemInstructionIn",
        ),
    )

    @property
    def resolved_name(self) -> str:
        """The value of ``name``, or by default the task."""
        return self.name or self.task
