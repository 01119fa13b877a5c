"""Settings of a run's engine, from its specification."""

from __future__ import annotations

from pathlib import Path

from evalrun_api import Benchmark, EvalRunSpec, Numerics, ReasoningEffort, ThinkingMarkers
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.engine.recorded import RecordedSettings
from evalrun_runner.engine.thinking import Thinking
from evalrun_runner.engine.vllm import VllmSettings

EFFORT_VARIABLE = "reasoning_effort"
"""Variable of chat templates that holds the effort of reasoning, as vLLM's chat API passes it on."""


def gpus_per_replica(spec: EvalRunSpec) -> int:
    """Return the number of GPUs that a replica uses on a machine that has GPUs."""
    return spec.engine.vllm.gpus if spec.engine.vllm else 0


EngineSettings = VllmSettings | MockSettings | RecordedSettings
"""Settings of any engine."""


def engine_settings(spec: EvalRunSpec, model: Path) -> EngineSettings:
    """Return the settings of the engine that a run asks for.

    Args:
        spec: The run.
        model: Local directory of the model; only vLLM needs it.
    """
    if spec.engine.mock is not None:
        return MockSettings(seed=spec.engine.mock.seed, tokens_per_second=spec.engine.mock.tokens_per_second)
    if spec.engine.recorded is not None:
        return RecordedSettings()
    assert spec.engine.vllm is not None, "a run has one engine"
    return VllmSettings(
        model=model,
        seed=spec.seed,
        tensor_parallel_size=spec.engine.vllm.tensor_parallel_size,
        max_model_len=spec.engine.vllm.max_model_len,
        args=spec.engine.vllm.args.model_dump(mode="json", exclude_none=True),
        strict=spec.engine.numerics is Numerics.STRICT,
        budget_markers=_budget_markers(spec),
    )


def engine_name(settings: EngineSettings) -> str:
    """Return what makes the answers: ``vllm``, ``mock``, or of recorded answers what made them."""
    match settings:
        case VllmSettings():
            return "vllm"
        case RecordedSettings(engine):
            return engine
        case _:
            return "mock"


def thinking_of(spec: EvalRunSpec, benchmark: Benchmark) -> Thinking | None:
    """Return how the answers of a benchmark are told from thinking, None where the model is not said to think."""
    reasoning = None if spec.engine.vllm is None else spec.engine.vllm.reasoning
    own = benchmark.reasoning
    if reasoning is None or (own is not None and not own.enabled):
        return None
    budget = reasoning.budget if own is None or own.budget is None else own.budget
    return Thinking(reasoning.markers, budget)


def effort_of(spec: EvalRunSpec, benchmark: Benchmark) -> ReasoningEffort | None:
    """Return the effort that a benchmark asks for, None where none is set."""
    reasoning = None if spec.engine.vllm is None else spec.engine.vllm.reasoning
    if reasoning is None or thinking_of(spec, benchmark) is None:
        return None
    own = benchmark.reasoning
    return reasoning.effort if own is None or own.effort is None else own.effort


def _budget_markers(spec: EvalRunSpec) -> ThinkingMarkers | None:
    found = (thinking_of(spec, benchmark) for benchmark in spec.benchmarks)
    return next((thinking.markers for thinking in found if thinking is not None and thinking.budget is not None), None)
