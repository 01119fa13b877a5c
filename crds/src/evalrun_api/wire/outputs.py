"""What a run leaves in its output folder, as documents: ``run.json``, ``results.json``, ``gates.json`` and others.

Every document is written by one version of EvalRun and may be read by another: unknown fields are kept, and a field
that was not given is not written. Keys of lm-eval's own are passed on as lm-eval wrote them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema, field_serializer

from evalrun_api.base import API_VERSION, Model
from evalrun_api.spec.engine import Numerics
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.status.outcomes import AnswerCounts, IntervalTarget, RunWarning, ScoreInterval, Verdict

FORMAT_VERSION = 1
"""Version of the ledger's format (plan, manifest, parts) that this version of EvalRun writes.

It goes up when an object that was written before could be misread. A ledger without the field is of version 1: it was
written before the field was.
"""

Scalar = Annotated[str | int | float | bool | None, WithJsonSchema({})]
"""A name that a task's YAML may also write as a number."""


class Document(Model):
    """Base of the documents and their parts: unknown fields are kept, and what was not given is not written."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Parse the content of the document's object.

        Raises:
            ValueError: It is not JSON, or not this document; the message names the fields.
        """
        try:
            return cls.model_validate(json.loads(data), by_alias=True, by_name=False)
        except ValidationError as error:
            raise ValueError(_in_words(error)) from error

    def as_written(self) -> dict[str, Any]:
        """Return the document as values for ``json``, its fields in their order."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    def write(self) -> bytes:
        """Encode the document for people to read: indented, UTF-8.

        Values that JSON does not know become text; numbers that are not finite become null.
        """
        text = json.dumps(finite(self.as_written()), indent=2, ensure_ascii=False, default=str, allow_nan=False)
        # Half of a surrogate pair is no text, but JSON can write it as an escape.
        return text.encode(errors="backslashreplace")


def finite(value: Any) -> Any:
    """Replace each number that is not finite by null: JSON (RFC 8259) knows neither NaN nor infinity."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: finite(one) for key, one in value.items()}
        case list() | tuple():
            return [finite(one) for one in value]
    return value


def _in_words(error: ValidationError) -> str:
    places = [(".".join(map(str, details["loc"])), details) for details in error.errors()]
    missing = ", ".join(place for place, details in places if details["type"] == "missing")
    wrong = [f"{place}: {details['msg']}" for place, details in places if details["type"] != "missing" and place]
    return "; ".join([*([f"it lacks {missing}"] if missing else []), *wrong]) or "it is not a JSON object"


# run.json ---------------------------------------------------------------------------------------------------------


class RecordedAdapter(Document):
    """A LoRA adapter that answered."""

    uri: str
    """Where it was taken from."""
    revision: str | None = None
    """For hf://: the commit."""
    digest: str | None = None
    """Digest of its files; null with the mock engine, which reads none."""
    rank: int | None = None
    """Highest rank of its matrices; null with the mock engine."""
    targets: list[str] = Field(default_factory=list)
    """Kinds of modules that it changes."""
    base: str | None = None
    """Name of its base, as its own configuration has it."""


class RecordedModel(Document):
    """The model that answered."""

    name: str
    """Name in metrics and reports."""
    uri: str
    """Where it was taken from."""
    revision: str | None = None
    """For hf://: the commit."""
    digest: str | None = None
    """Digest of its files; null until the first replica has loaded it, and with the mock engine."""
    listing: str | None = None
    """Digest of the listing of its files, where it has neither commit nor digest before it is loaded."""
    chat_template: str | None = None
    """spec.model.chatTemplate; absent: the model's default, if a benchmark applies one."""
    chat_template_sha256: Annotated[str | None, Field(alias="chatTemplateSha256")] = None
    """sha256 of the text of that template, hexadecimal."""
    adapters: dict[str, RecordedAdapter] | None = None
    """Its LoRA adapters by name; absent without any."""


class RecordedFrom(Document):
    """Source of answers that were scored without an engine."""

    uri: str
    """Output of the run, or the file."""
    digest: str
    """sha256 of the run's results.json, or of the file, as sha256:…"""
    model_digest: str | None = None
    """Digest of the model that gave the answers; absent where nobody knows."""


class RecordedEngine(Document):
    """The engine as it was asked for; what each replica took in the end is among that replica's facts."""

    name: str
    """``vllm``, ``mock``, or for recorded answers what made them: ``recorded`` where nobody knows."""
    numerics: Numerics
    """spec.engine.numerics."""
    args: dict[str, object] | None = None
    """vLLM's engine arguments by vLLM's names; absent with the mock engine."""
    warning: str | None = None
    """Why the scores say nothing of a model; absent with a real engine."""
    recorded: RecordedFrom | None = None
    """Where the answers come from that were scored without an engine; absent: the engine gave them in this run."""


class RecordedTask(Document):
    """A leaf task: its version and the data that it read."""

    benchmark: str
    """Name of the benchmark in the run that it belongs to."""
    version: object
    """Version of the task, as the task says it."""
    dataset: Scalar
    """Data set, by lm-eval's ``dataset_path``."""
    dataset_name: Scalar
    """Configuration of the data set, by lm-eval's ``dataset_name``."""
    fingerprints: dict[str, str | None]
    """Fingerprint of each split, by the split's name; computed by the library ``datasets``."""


class RecordedHardware(Document):
    """A machine, as far as the process was allowed to use it."""

    host: str
    """Host name."""
    cpu: str
    """Model of the CPU."""
    cpus: int
    """Number of CPUs, by affinity and quota."""
    memory_bytes: int
    """Memory in bytes, by machine and limit."""
    gpus: list[str]
    """Models of the GPUs, one entry a GPU."""


class RecordedProof(Document):
    """Proof that an engine is batch-invariant: canary answers that were repeated in other batches and stayed the same.

    A replica that does not find it does no work.
    """

    answers: int
    """Different answers that were compared."""
    repeats: int
    """Repetitions of them, each in another batch, all equal to the last bit."""
    largest_batch: int
    """Most requests that were in the engine at once."""
    numbers: int
    """Log-probabilities in one round of the answers."""
    sha256: str
    """Digest of the answers; replicas of equal hardware have the same."""


class RecordedReplica(Document):
    """A replica, as it described itself once its engine was loaded."""

    host: str | None = None
    """Host name of its pod or machine."""
    pid: int | None = None
    """Id of its process there."""
    max_num_seqs: int | None = None
    """Requests that its engine works on at once."""
    hardware: RecordedHardware | None = None
    """Its machine."""
    engine_args: dict[str, object] | None = None
    """Arguments that its engine was started with."""
    model_digest: str | None = None
    """Digest of the files that it loaded."""
    adapter_effects: dict[str, float] | None = None
    """Greatest change of a canary's log-probability by each LoRA adapter, by its name; absent without adapters."""
    strict_proof: RecordedProof | None = None
    """Proof of ``numerics: strict``, made when the engine was loaded; absent with other numerics."""


class RecordedAttempt(Document):
    """One driver process of the run. ``outcome``, ``ended`` and ``replicas`` are written at its end."""

    epoch: int
    """Number of the driver process within the run, counted from 1."""
    attempt: int
    """Number of the operator's attempt; 1 on one machine."""
    started: str
    """Time, UTC, ISO 8601."""
    versions: dict[str, str]
    """Versions of the packages that scores may depend on, by package."""
    python: str
    """Version of Python."""
    images: dict[str, str]
    """Container images, by role; empty on one machine."""
    hardware: RecordedHardware
    """The driver's machine."""
    outcome: str | None = None
    """Phase that it ended with, or the error; absent where the process died."""
    ended: str | None = None
    """Time, UTC, ISO 8601; absent where the process died."""
    replicas: dict[str, RecordedReplica] | None = None
    """Replicas that became ready in this attempt, by name."""


class RunRecord(Document):
    """``run.json``: where the numbers come from. Written when a driver begins, and again when it ends."""

    api_version: str = API_VERSION
    """Version of ``spec``."""
    name: str
    """Name of the EvalRun."""
    namespace: str
    """Namespace of the EvalRun."""
    uid: str
    """Unique id of the EvalRun; on one machine made from the output's address."""
    spec: EvalRunSpec
    """The spec, defaults filled in; see ``spec`` above."""
    model: RecordedModel
    """The model that answered."""
    engine: RecordedEngine
    """The engine as it was asked for."""
    tasks: dict[str, RecordedTask]
    """Leaf tasks by name."""
    seed: int
    """spec.seed."""
    created: str | None = None
    """Moment at which the plan was claimed, UTC, ISO 8601; see plan.json."""
    clock: str | None = None
    """Moment that chat templates take for now, UTC, ISO 8601; see plan.json."""
    allow_code: bool
    """Whether suites of the user's own were allowed to hold code."""
    warnings: list[RunWarning] = Field(default_factory=list)
    """What preflight and planning warned of."""
    attempts: list[RecordedAttempt]
    """Every driver process of the run, the last one last."""
    resumed_from: str | None = None
    """Output of the earlier run whose items were taken over; absent without ``spec.resumeFrom``."""

    @field_serializer("spec")
    def _spec_as_written(self, spec: EvalRunSpec) -> dict[str, Any]:
        return spec.to_dict()


# results.json -----------------------------------------------------------------------------------------------------


class ItemAccount(Document):
    """How the items of one leaf task ended."""

    ok: int
    """Items answered and scored."""
    failed: int
    """Items that could not be answered."""
    quarantined: int
    """Items that killed the engine twice."""
    skipped: int = 0
    """Items that were not evaluated, because the run stopped early; absent: 0."""
    answers: AnswerCounts | None = None
    """How the answers to the ok items ended; absent where an earlier version made the results."""
    executions: dict[str, int] | None = None
    """How the programs ended that scores ran: passed, raised, timedOut, memory, disk, processes, forbidden, endedEarly,
    killed; absent for tasks that run no code. Only passed counts as passed, as in lm-eval.
    """

    @property
    def without_score(self) -> int:
        """Items that are in no score."""
        return self.failed + self.quarantined


class RunAccount(Document):
    """How the items of the whole run ended: planned = ok + failed + quarantined + skipped."""

    planned: int
    """Items of the plan."""
    ok: int
    """Items answered and scored."""
    failed: int
    """Items that could not be answered."""
    quarantined: int
    """Items that killed the engine twice."""
    skipped: int = 0
    """Items that were not evaluated, because the run stopped early; absent: 0."""
    answers: AnswerCounts | None = None
    """How the answers to the ok items ended; absent where an earlier version made the results."""


class UnscoredMetric(Document):
    """A metric without a value: it could not be computed, or its value is no finite number."""

    task: str
    """Task or group."""
    metric: str
    """Metric."""
    filter: str
    """Filter."""
    reason: str
    """Why, for people."""


class IntervalRecord(Document):
    """One score with its confidence interval: of a task, of a group, or of one stratum of a task."""

    task: str
    """Task or group."""
    metric: str
    """Metric."""
    filter: str
    """Filter."""
    stratum: str | None = None
    """``<field>=<value>`` of the items that the score is made of; absent: all items."""
    value: float
    """The score."""
    low: float | None = None
    """Lower end; null where there is no interval, and then ``note`` says why."""
    high: float | None = None
    """Upper end; null where there is no interval."""
    confidence: float
    """Share of such intervals that hold the true score, 0.95."""
    method: str | None = None
    """How it was computed, such as ``wilson``; null where there is no interval."""
    target: IntervalTarget
    """What the interval is about."""
    n: int
    """Number of items in the score."""
    clusters: int | None = None
    """Number of clusters that the items come from; absent where none are declared."""
    note: str | None = None
    """What the reader of the interval should know, or why there is none."""

    @property
    def interval(self) -> ScoreInterval | None:
        """The interval as status and tables have it; None where there is none."""
        if self.low is None or self.high is None or self.method is None:
            return None
        return ScoreInterval(
            low=self.low, high=self.high, confidence=self.confidence, method=self.method, target=self.target
        )


class ScoredBy(Document):
    """What made the scores, and of which items."""

    engine: str
    """``vllm``, or ``mock`` where the answers were made up for a test. Of recorded answers what made them, ``recorded``
    where nobody knows.
    """
    numerics: Numerics
    """spec.engine.numerics."""
    counts: RunAccount
    """Items of the whole run."""
    stopped: str | None = None
    """Why the run stopped before every planned item was evaluated, and what that saved; absent: it did not."""
    tasks: dict[str, ItemAccount]
    """Items of each leaf task, by name."""
    unscored: list[UnscoredMetric] | None = None
    """Metrics without a value, which are null in ``results``; absent where every metric has one."""
    counted: dict[str, dict[str, int]] | None = None
    """Number of documents of each score that is made of fewer than ``sample_len``, by task and ``<metric>,<filter>``;
    absent where there is none.
    """
    intervals: list[IntervalRecord] | None = None
    """Confidence interval of every score, and scores of strata; absent where an earlier version made the results."""
    warnings: list[RunWarning] = Field(default_factory=list)
    """What the reader of the scores should know."""


class ResultsConfig(Document):
    """lm-eval's ``config``, without what depends on the machine that ends a run.

    A value that differs between the run's benchmarks is an object by the benchmark's name.
    """

    model_config = ConfigDict(alias_generator=None)

    model: str
    """Name of the model."""
    seed: int
    """spec.seed."""
    model_args: dict[str, object] | None = None
    """Where the model came from (``pretrained``, ``revision``), and vLLM's engine arguments."""
    batch_size: str | None = None
    """``auto``: the engine batches by itself."""
    limit: object = None
    """Number of documents of each task, from the first one; null: all."""
    gen_kwargs: object = None
    """Overrides of the tasks' generation kwargs; null: none."""
    bootstrap_iters: int | None = None
    """Resamples of bootstrapped standard errors."""
    random_seed: int | None = None
    """spec.seed."""
    numpy_seed: int | None = None
    """spec.seed."""
    torch_seed: int | None = None
    """spec.seed."""
    fewshot_seed: int | None = None
    """spec.seed."""


class Results(Document):
    """``results.json``: lm-eval's own results, key by key as lm-eval writes them, and EvalRun's account of items.

    It is made of plan and parts alone: every driver that ends the run writes the same bytes.
    """

    results: dict[str, dict[str, object]]
    """lm-eval's: scores of each task and group as ``<metric>,<filter>`` and ``<metric>_stderr,<filter>``."""
    groups: dict[str, dict[str, object]] | None = None
    """lm-eval's: scores of the groups alone; absent without a group."""
    group_subtasks: Annotated[dict[str, list[str]], Field(alias="group_subtasks")]
    """lm-eval's: members of each group."""
    configs: dict[str, object]
    """lm-eval's: configuration of each leaf task; paths within a suite are relative to it."""
    versions: dict[str, object]
    """lm-eval's: version of each task and group."""
    n_shot: Annotated[dict[str, object], Field(alias="n-shot")]
    """lm-eval's: number of examples in front of each question."""
    higher_is_better: Annotated[dict[str, dict[str, object]], Field(alias="higher_is_better")]
    """lm-eval's: whether a higher value of a metric is better, by task and metric."""
    n_samples: Annotated[dict[str, object], Field(alias="n-samples")]
    """lm-eval's: number of documents of each leaf task, and how many of them are scored."""
    config: ResultsConfig
    """lm-eval's: model, limit, generation kwargs, seeds."""
    date: float | None = None
    """lm-eval's: when the run was begun, in seconds since 1970."""
    lm_eval_version: Annotated[str | None, Field(alias="lm_eval_version")] = None
    """lm-eval's: its version."""
    transformers_version: Annotated[str | None, Field(alias="transformers_version")] = None
    """lm-eval's: version of transformers; null where it is not installed."""
    model_source: Annotated[str | None, Field(alias="model_source")] = None
    """lm-eval's: ``vllm`` or ``mock``."""
    model_name: Annotated[str | None, Field(alias="model_name")] = None
    """lm-eval's: name of the model."""
    model_name_sanitized: Annotated[str | None, Field(alias="model_name_sanitized")] = None
    """lm-eval's: the same as the name of a file."""
    system_instruction: Annotated[object, Field(alias="system_instruction")] = None
    """lm-eval's: system message before every prompt; by benchmark where they differ."""
    system_instruction_sha: Annotated[object, Field(alias="system_instruction_sha")] = None
    """lm-eval's: sha256 of it."""
    fewshot_as_multiturn: Annotated[object, Field(alias="fewshot_as_multiturn")] = None
    """lm-eval's: whether examples are turns of a conversation; by benchmark where they differ."""
    chat_template: Annotated[object, Field(alias="chat_template")] = None
    """lm-eval's: chat template of the prompts; by benchmark where they differ."""
    chat_template_sha: Annotated[object, Field(alias="chat_template_sha")] = None
    """lm-eval's: sha256 of it."""
    task_hashes: Annotated[dict[str, str] | None, Field(alias="task_hashes")] = None
    """lm-eval's: hash of all samples of each task; empty without samples."""
    evalrun: ScoredBy
    """EvalRun's own: engine and items."""


# gates.json --------------------------------------------------------------------------------------------------------


class Judgement(Document):
    """The gates that were asked at one time, and what came of them."""

    at: str
    """Time, UTC, ISO 8601."""
    asked: list[dict[str, object]]
    """The gates as they were asked: spec.gates."""
    gates: list[dict[str, object]]
    """Each gate with its verdict, as in ``status.gates``."""
    verdict: Verdict | None = None
    """Verdict of all gates together."""


class GatesRecord(Document):
    """``gates.json``: every judgement of gates, of the run's end and of later ones on the finished run."""

    judgements: list[Judgement]
    """Judgements, the last one last; the same one is not repeated."""


# leased.json -------------------------------------------------------------------------------------------------------


class LeasedRecord(Document):
    """``leased.json``: what the driver had under way a moment ago, so that the next driver knows what was lost with it.

    Written every few seconds while something changes. What of it turns out not to be committed is done again, and is
    counted as redone.
    """

    epoch: int
    """The driver process that wrote it."""
    redone: int
    """Items that were redone in the run until then."""
    chunks: dict[str, list[int]]
    """Chunks that were leased and not committed: their numbers, by leaf task."""

    def write(self) -> bytes:
        """Encode the document in one line."""
        return json.dumps(self.as_written()).encode()


# timeline.json -----------------------------------------------------------------------------------------------------


class TimelinePoint(Document):
    """How far the run was at one moment."""

    seconds: float
    """Seconds since the plan was claimed."""
    items: int
    """Items that were committed."""
    replicas: int
    """Replicas that had loaded the model."""


class TimelineRecord(Document):
    """``timeline.json``: how the run went over time, for the report. Nothing else depends on it.

    Written when a driver ends; a driver that is killed takes its part along.
    """

    points: list[TimelinePoint]
    """Moments in their order; fewer than one a second in runs of more than a few minutes."""

    def write(self) -> bytes:
        """Encode the document in one line."""
        return json.dumps(self.as_written()).encode()


# plan.json and COMPLETE -------------------------------------------------------------------------------------------


class PlannedModel(Document):
    """The model of a plan: pinned by its digest, or else by a commit or a listing."""

    name: str
    """Name in metrics and reports."""
    digest: str | None = None
    """Digest of its files, where it was known before they were loaded."""
    revision: str | None = None
    """Commit, where there was no digest."""
    listing: str | None = None
    """Digest of the listing of its files, where there was neither."""
    chat_template: str | None = None
    """sha256 of the chat template's text, hexadecimal, where spec.model.chatTemplate names one."""
    adapters: dict[str, str] | None = None
    """Digest of each LoRA adapter by its name, with the mock engine its address; absent without any."""


class PlanIdentity(Document):
    """Everything that answers depend on. Two runs share a ledger only if all of it is equal."""

    model: PlannedModel
    """The model."""
    engine: dict[str, object]
    """spec.engine."""
    benchmarks: list[dict[str, object]]
    """spec.benchmarks; the source of a suite of one's own is the sha256 of each file that the benchmark uses."""
    seed: int
    """spec.seed."""
    versions: dict[str, str]
    """Versions of lm-eval and vLLM."""


class PlanSizing(Document):
    """How items are cut into chunks: every driver of a run must cut the same."""

    target_cost: Annotated[float, Field(alias="target_cost")]
    """Estimated tokens at which a chunk is full."""
    max_items: Annotated[int, Field(alias="max_items")]
    """Items that a chunk may hold."""


class PlanOrder(Document):
    """Order in which a run that may stop early evaluates its items: by a hash of seed, task and document number."""

    seed: int
    """spec.seed."""
    looks: int
    """spec.policy.stopEarly.looks: no chunk goes beyond a look."""


class PlanRecord(Document):
    """``plan.json``: created once, by the first driver of a run, so that no two plans ever share a ledger."""

    format_version: int = 1
    """Version of the format of the ledger: this plan, its manifest and its parts. Absent: 1."""
    identity: PlanIdentity
    """What answers depend on."""
    sizing: PlanSizing
    """How items are cut into chunks."""
    order: PlanOrder | None = None
    """Drawn order of the items of each task; absent: the order of the documents."""
    created: str | None = None
    """Moment at which the plan was claimed, UTC, ISO 8601; absent where an EvalRun before this field wrote it."""
    clock: str | None = None
    """Moment that chat templates take for now (``strftime_now``), UTC, ISO 8601: ``created``, or with
    ``spec.resumeFrom`` the clock of the run that is resumed. Absent like ``created``: the present moment.
    """

    def write(self) -> bytes:
        """Encode the document: the same bytes for the same plan."""
        return json.dumps(self.as_written(), indent=2, sort_keys=True).encode()


class StopCause(StrEnum):
    """Why a run stopped early."""

    GATES = "gates"
    """A look found that every gate is decided."""
    WIDTH = "width"
    """A look found that the intervals are narrow enough."""
    CERTAIN = "certain"
    """No answer of the rest could change a verdict."""


class StopRecord(Document):
    """``stopped.json``: created once, before any work is cancelled, so that every driver of the run stops alike."""

    cause: StopCause
    """Why."""
    look: int
    """Number of the last look whose items are all among those that count; 0: none."""
    looks: int
    """Number of looks that were planned, the last one at the end."""
    chunks: dict[str, int]
    """Number of first chunks of each leaf task that the run is made of; parts of later ones do not count."""
    evaluated: int
    """Items of these chunks."""
    planned: int
    """Items of the plan."""
    asked: list[dict[str, object]]
    """Gates as they were asked, with the spec's fields."""
    gates: list[dict[str, object]]
    """Their verdicts; empty where no gate was decided."""
    epoch: int
    """The driver process that decided."""

    def write(self) -> bytes:
        """Encode the document."""
        return json.dumps(self.as_written(), indent=2).encode()

    def counts_in(self, task: str, chunk: int) -> bool:
        """Return whether the run is made of a chunk, among others."""
        return chunk < self.chunks.get(task, 0)

    @property
    def message(self) -> str:
        """What stopped the run and what that saved, in words for people."""
        left = self.planned - self.evaluated
        share = f"{left:,} of {self.planned:,} items ({100 * left / max(1, self.planned):.0f}%) were not needed"
        match self.cause:
            case StopCause.CERTAIN:
                return f"no answer of the rest could change a verdict; {share}"
            case StopCause.GATES:
                return f"every verdict was decided at look {self.look} of {self.looks}; {share}"
            case StopCause.WIDTH:
                return f"the intervals were narrow enough at look {self.look} of {self.looks}; {share}"


class CompletionMark(Document):
    """``COMPLETE``: written last; without it nothing reads a run as finished."""

    epoch: int
    """The driver process that completed the run."""
    results_sha256: Annotated[str, Field(alias="results_sha256")]
    """sha256 of ``results.json``, hexadecimal."""

    def write(self) -> bytes:
        """Encode the document in one line."""
        return json.dumps(self.as_written()).encode()


DOCUMENTS: Mapping[str, type[Document]] = {
    "run.json": RunRecord,
    "results.json": Results,
    "gates.json": GatesRecord,
    "leased.json": LeasedRecord,
    "timeline.json": TimelineRecord,
    "plan.json": PlanRecord,
    "stopped.json": StopRecord,
    "COMPLETE": CompletionMark,
}
"""Documents of a run by their names in its output."""

_FORMAT_VERSION = TypeAdapter(Annotated[int, Field(ge=1, strict=True)])


def format_version_of(document: object) -> int:
    """Find the format version in what ``json`` read: a plan, or the metadata of a sealed Parquet file.

    To be asked before the document is parsed: one of a newer format may lack what this version expects.

    Raises:
        ValueError: It is not a JSON object, or the version in it is not a whole number from 1.
    """
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    try:
        return _FORMAT_VERSION.validate_python(document.get("formatVersion", 1))
    except ValidationError as error:
        raise ValueError(f"formatVersion: {error.errors()[0]['msg']}") from error
