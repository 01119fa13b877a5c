"""EngineSpec: the engine that answers the requests, vLLM, or for tests one that makes up its answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model
from evalrun_api.rules import Rule, exactly_one
from evalrun_api.spec.engine_args import EngineArgs


class Numerics(StrEnum):
    """How far optimizations may change a number."""

    FAST = "fast"
    REFERENCE = "reference"
    STRICT = "strict"


class VllmEngineSpec(Model):
    """vLLM: how one replica serves the model."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPUs that one replica splits the model over."""
    max_model_len: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Maximum number of tokens of prompt and answer together; absent: the model's own context length."""
    args: EngineArgs = EngineArgs()
    """Engine arguments of vLLM by their own names; an allow-list, others are refused by name."""


class MockEngineSpec(Model):
    """An engine for tests: it makes up answers from the prompt's hash, and every result says that it was used."""

    tokens_per_second: Annotated[float | None, Field(gt=0)] = None
    """Speed limit; absent: as fast as possible."""
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Seed of the answers."""


class EngineSpec(Model):
    """The engine of every replica."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("vllm", "mock", of="engine"),)

    vllm: VllmEngineSpec | None = None
    """The vLLM engine."""
    mock: MockEngineSpec | None = None
    """An engine for tests."""
    numerics: Numerics = Numerics.FAST
    """Numerical mode. fast: fast paths and caches, with differences that are numerical noise. reference: lm-eval's own
    engine requests. strict: batch-invariant, where the hardware supports it.
    """
