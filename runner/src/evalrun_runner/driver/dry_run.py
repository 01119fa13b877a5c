"""Dry run: everything about the benchmarks that can be tried out without an engine."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import RunWarning
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.corpus_metrics import check_corpus_metrics
from evalrun_runner.benchmarks.checks.dry_scoring import check_scoring
from evalrun_runner.benchmarks.checks.fewshot import check_fewshot
from evalrun_runner.benchmarks.checks.first_documents import build_first, check_requests
from evalrun_runner.benchmarks.checks.generation import ContextLimit, check_generation
from evalrun_runner.benchmarks.checks.guard import for_each_leaf
from evalrun_runner.benchmarks.checks.objections import settle
from evalrun_runner.benchmarks.checks.options import check_options
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.driver.preflight import Preflight
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.engine.recorded import RecordedSettings
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.models.context import context_length

NO_LIMIT = 1 << 40
"""Context where the model's own is not known before the engine is loaded, in tokens."""


@dataclass(frozen=True, slots=True)
class EngineRules:
    """What is known of the engine before it is loaded."""

    limit: ContextLimit | None
    """Its context; None where it is not known."""
    codec: TextCodec
    planner: RequestPlanner

    @classmethod
    def of(cls, setting: Preflight) -> EngineRules:
        """Return the rules of a run's engine."""
        limit, codec = context_limit(setting), TextCodec(setting.tokenizer)
        tokens = NO_LIMIT if limit is None else limit.tokens
        seed = setting.config.spec.seed
        return cls(limit, codec, RequestPlanner(codec, max_model_len=tokens, fast=setting.fast, seed=seed))


def try_out(
    benchmarks: LoadedBenchmarks, chat: ChatTemplate | None, engine: EngineRules | None, *, may_fail: int
) -> tuple[RunWarning, ...]:
    """Try the benchmarks out as a run will use them: arguments, examples, prompts, requests, scoring.

    Args:
        benchmarks: The leaf tasks.
        chat: The model's chat template, if a benchmark applies one.
        engine: What is known of the engine; None where no model is at hand.
        may_fail: Number of items that may fail without ending the run.

    Returns:
        What the reader of the scores should know.

    Raises:
        InputError: Something would end items or scores later; the message names tasks, fields and what to do.
    """
    limit = None if engine is None else engine.limit
    warnings = settle(
        [
            *for_each_leaf("generation_kwargs", benchmarks, lambda leaf: check_generation(leaf, limit)),
            *for_each_leaf("num_fewshot", benchmarks, check_fewshot),
            *for_each_leaf("filter_list or metric_list", benchmarks, check_options),
            *for_each_leaf("metric_list", benchmarks, check_corpus_metrics),
        ]
    )
    first = build_first(benchmarks, chat)
    requests = [] if engine is None else check_requests(first, engine.planner, engine.codec, may_fail)
    return benchmarks.warnings + warnings + settle([*requests, *check_scoring(first, may_fail)])


def context_limit(setting: Preflight) -> ContextLimit | None:
    """Return the engine's context as far as it is known before the engine is loaded."""
    engine = setting.engine
    if isinstance(engine, RecordedSettings):
        return None
    if isinstance(engine, MockSettings):
        return ContextLimit(engine.max_model_len, "the mock engine's context")
    if engine.max_model_len is not None:
        return ContextLimit(engine.max_model_len, "spec.engine.vllm.maxModelLen")
    tokens = None if setting.model is None else context_length(setting.model.path)
    return None if tokens is None else ContextLimit(tokens, "the context of the model by its config.json")
