"""Preflight: all checks that are possible before an engine loads, the cheapest first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evalrun_api import Benchmark, EvalRunSpec, Numerics, Reason, RunConfig, SystemInstructionIn, TemplateValue
from evalrun_api.wire.outputs import PlanIdentity
from evalrun_runner.benchmarks.chat import ChatTemplate, chat_template_of
from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.benchmarks.suites.fetch import fetch_suites
from evalrun_runner.driver.engine_checks import check_engine_args
from evalrun_runner.driver.output_check import check_output
from evalrun_runner.engine.chat_templates import default_template, named_template
from evalrun_runner.engine.lean import TORCH, without
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.recorded import RecordedSettings
from evalrun_runner.engine.settings import EFFORT_VARIABLE, EngineSettings, effort_of, engine_name, engine_settings
from evalrun_runner.engine.tokens import TextCodec, Tokenizer, load_tokenizer
from evalrun_runner.errors import InputError, ObjectMissing, default_reason
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.models.access import model_source
from evalrun_runner.models.adapter import LocalAdapter, bring_adapter
from evalrun_runner.models.adapter_check import check_fits
from evalrun_runner.models.cache import default_cache
from evalrun_runner.models.inspect import inspect_model
from evalrun_runner.models.types import InspectedModel
from evalrun_runner.planning.identity import identity_of
from evalrun_runner.recorded.source import RecordedSource, inspect_source
from evalrun_runner.records.draw import SampleDraw
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.open import StoreSpec, open_store

MAX_NAME_BYTES = 200
"""Maximum length of a task's name as part of keys, below the 255 bytes that every store accepts."""


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """What makes the answers of a run."""

    engine: str
    numerics: Numerics


@dataclass(frozen=True)
class Preflight:
    """Result of the preflight: the checked surroundings of a run, where it writes and what it runs on."""

    config: RunConfig
    store_spec: StoreSpec
    """Where the run writes; each replica opens a store of its own."""
    store: ObjectStore
    """The driver's handle on it, opened once. Its calls do not wait for an unavailable store."""
    model: InspectedModel | None
    """None for the mock engine, and for recorded answers to prompts without a chat template. Its weights are the
    replicas' to bring.
    """
    adapters: tuple[LocalAdapter, ...]
    """The model's LoRA adapters, whole and checked; none for the mock engine, which only takes their names."""
    engine: EngineSettings
    tokenizer: Tokenizer
    suites: Mapping[str, Path]
    identity: PlanIdentity
    recorded: RecordedSource | None = None
    """Answers that are scored instead of an engine's; None: the engine is asked."""

    @property
    def ledger(self) -> Ledger:
        """The run's ledger, over ``store``."""
        return Ledger(self.store)

    @property
    def fast(self) -> bool:
        """Whether fast request plans are allowed."""
        return self.config.spec.engine.numerics is Numerics.FAST

    @property
    def strict(self) -> bool:
        """Whether every replica must prove that its engine is batch-invariant."""
        return self.recorded is None and self.config.spec.engine.numerics is Numerics.STRICT

    @property
    def answered_by(self) -> AnsweredBy:
        """What makes the answers; of recorded ones what made them."""
        if self.recorded is not None:
            return AnsweredBy(self.recorded.engine, self.recorded.numerics)
        return AnsweredBy(engine_name(self.engine), self.config.spec.engine.numerics)


def run_preflight(config: RunConfig) -> Preflight:
    """Reach the store, fetch the suites, inspect the model. Raises ``InputError`` and the errors of the store.

    Nothing is written: a run that is refused leaves nothing behind.
    """
    spec = store_spec(config.results)
    store = open_store(spec)
    _reach(store)
    check_output(store)
    suites = fetch_suites(config.suites, default_cache() / "suites")
    recorded = None if config.recorded is None else inspect_source(config.recorded)
    model = _look_at_model(config) if _asks_model(config.spec) else None
    tokenizer: Tokenizer = ByteTokenizer() if model is None else _tokenizer(model.path)
    TextCodec(tokenizer)  # refuses a tokenizer that log-likelihoods cannot start with
    adapters = () if model is None or recorded is not None else _adapters(config, model)
    chosen = None
    if model is not None and config.model.chat_template is not None:
        chosen = tokenizer.chat_template = named_template(tokenizer.chat_template, config.model.chat_template)
    return Preflight(
        config=config,
        store_spec=spec,
        store=store,
        model=model,
        adapters=adapters,
        engine=_engine(config, model, recorded),
        tokenizer=tokenizer,
        suites=suites,
        identity=identity_of(
            config,
            model.source if model else None,
            suites,
            chosen,
            # The mock engine reads no files: what it makes up depends on names alone.
            {adapter.name: adapter.digest for adapter in adapters}
            or {adapter.name: adapter.uri for adapter in config.model.adapters},
            recorded,
        ),
        recorded=recorded,
    )


def _asks_model(spec: EvalRunSpec) -> bool:
    """Return whether anything of the model is needed: of recorded answers only its chat template, if one is applied."""
    templates = any(benchmark.apply_chat_template for benchmark in spec.benchmarks)
    return spec.engine.vllm is not None or (spec.engine.recorded is not None and templates)


def _drawn(benchmark: Benchmark, seed: int) -> SampleDraw | None:
    sample = benchmark.sample
    if sample is None:
        return None
    return SampleDraw(seed if sample.seed is None else sample.seed, sample.size, sample.fraction)


def _template_arguments(spec: EvalRunSpec, benchmark: Benchmark) -> dict[str, TemplateValue]:
    effort = effort_of(spec, benchmark)
    return {**({} if effort is None else {EFFORT_VARIABLE: effort.value}), **(benchmark.chat_template_args or {})}


def load_tasks(spec: EvalRunSpec, suites: Mapping[str, Path], *, allow_code: bool) -> LoadedBenchmarks:
    """Load the run's leaf tasks.

    Args:
        spec: The run's spec.
        suites: Folders of its suites, by the name of their benchmark.
        allow_code: Whether suites of the user's own may hold code.

    Raises:
        InputError: A benchmark is wrong or unavailable.
    """
    specs = []
    for benchmark in spec.benchmarks:
        generation = benchmark.generation.model_dump(exclude_unset=True) if benchmark.generation else {}
        if generation.get("until"):
            generation["until"] = list(generation["until"])
        specs.append(
            BenchmarkSpec(
                name=benchmark.resolved_name,
                task=benchmark.task,
                num_fewshot=benchmark.num_fewshot,
                limit=benchmark.limit,
                sample=_drawn(benchmark, spec.seed),
                apply_chat_template=benchmark.apply_chat_template,
                template_arguments=_template_arguments(spec, benchmark),
                system_instruction=benchmark.system_instruction,
                system_in_first_user_turn=benchmark.system_instruction_in is SystemInstructionIn.FIRST_USER_TURN,
                # lm-eval's own default is one turn per example where a chat template is applied.
                fewshot_as_multiturn=benchmark.fewshot_as_multiturn is not False,
                generation=generation,
                repeats=benchmark.repeats,
                k=benchmark.k,
                allow_code=bool(benchmark.allow_code),
                source=suites.get(benchmark.resolved_name),
            )
        )
    adapters = tuple(adapter.name for adapter in spec.model.adapters)
    loaded = load_benchmarks(specs, seed=spec.seed, allow_code=allow_code, adapters=adapters)
    for leaf in loaded.leaves:
        if len(layout.task_dir(leaf.name)) > MAX_NAME_BYTES:
            raise InputError(
                f"task {leaf.name}: its name is too long for a folder; give the suite's task a shorter one"
            )
    return loaded


def chat_template(setting: Preflight, clock: str | None) -> ChatTemplate | None:
    """Return the model's chat template if a benchmark applies one.

    Args:
        setting: The run's surroundings.
        clock: Moment that the template takes for now, ISO 8601; None for the present moment.

    Raises:
        InputError: A benchmark applies a chat template, and the model has none.
    """
    wanting = [benchmark for benchmark in setting.config.spec.benchmarks if benchmark.apply_chat_template]
    if not wanting:
        return None
    if not setting.tokenizer.chat_template:
        raise InputError(
            f"benchmark {wanting[0].resolved_name}: applyChatTemplate is true, but the model's tokenizer has no chat "
            "template; leave it out, use a model whose tokenizer_config.json or chat_template.jinja has one, or name a "
            "file in spec.model.chatTemplate"
        )
    setting.tokenizer.chat_template = default_template(setting.tokenizer.chat_template)
    return chat_template_of(setting.tokenizer, clock)


def _reach(store: ObjectStore) -> None:
    """Find out early, by reading alone, what makes a store unusable: wrong keys, no bucket, a file in its place."""
    if isinstance(store, DirectoryStore):
        store.check()
    with suppress(ObjectMissing):
        store.get(layout.PLAN)


def _tokenizer(path: Path) -> Tokenizer:
    # A driver computes nothing with torch, which takes longer to import than all other checks of a run.
    with without(TORCH):
        return load_tokenizer(path)


def _look_at_model(config: RunConfig) -> InspectedModel:
    cache = Path(config.model.cache_dir) if config.model.cache_dir else default_cache()
    return inspect_model(model_source(config.model), cache)


def _adapters(config: RunConfig, model: InspectedModel) -> tuple[LocalAdapter, ...]:
    """Bring the adapters, and compare them with their base."""
    cache = Path(config.model.cache_dir) if config.model.cache_dir else default_cache()
    found = []
    with default_reason(Reason.MODEL_INVALID):
        for adapter in config.model.adapters:
            brought = bring_adapter(adapter.name, model_source(adapter), cache)
            check_fits(brought.shape, model.path, f"spec.model.adapters: {adapter.name}: {adapter.uri}")
            found.append(brought)
    return tuple(found)


def _engine(config: RunConfig, model: InspectedModel | None, recorded: RecordedSource | None) -> EngineSettings:
    if recorded is not None:
        return RecordedSettings(recorded.engine)
    check_engine_args(config.spec.engine, on_gpu=config.gpus_per_replica > 0)
    return engine_settings(config.spec, Path() if model is None else model.path)
