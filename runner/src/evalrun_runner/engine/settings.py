"""Settings of a run's engine, from its specification."""

from __future__ import annotations

from pathlib import Path

from evalrun_api import EvalRunSpec, Numerics
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.engine.vllm import VllmSettings


def gpus_per_replica(spec: EvalRunSpec) -> int:
    """Return the number of GPUs that a replica uses on a machine that has GPUs."""
    return spec.engine.vllm.gpus if spec.engine.vllm else 0


def engine_settings(spec: EvalRunSpec, model: Path) -> VllmSettings | MockSettings:
    """Return the settings of the engine that a run asks for.

    Args:
        spec: The run.
        model: Local directory of the model; the mock engine needs none.
    """
    if spec.engine.mock is not None:
        return MockSettings(seed=spec.engine.mock.seed, tokens_per_second=spec.engine.mock.tokens_per_second)
    assert spec.engine.vllm is not None, "a run has one engine"
    return VllmSettings(
        model=model,
        seed=spec.seed,
        tensor_parallel_size=spec.engine.vllm.tensor_parallel_size,
        max_model_len=spec.engine.vllm.max_model_len,
        args=spec.engine.vllm.args.model_dump(mode="json", exclude_none=True),
        strict=spec.engine.numerics is Numerics.STRICT,
    )
