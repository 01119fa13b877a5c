"""EngineSpec: what answers the requests. vLLM, or for tests an engine that makes its answers up."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model
from evalrun_api.rules import Rule, exactly_one
from evalrun_api.spec.engine_args import EngineArgs


class Numerics(StrEnum):
    """How far speed may move a number."""

    FAST = "fast"
    REFERENCE = "reference"
    STRICT = "strict"


class VllmEngineSpec(Model):
    """vLLM: how one replica serves the model."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that one replica spreads the model over."""
    max_model_len: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Tokens of prompt and answer together; absent: the model's own context length."""
    args: EngineArgs = EngineArgs()
    """vLLM's own engine arguments by their own names; an allow-list, others are refused by name."""


class MockEngineSpec(Model):
    """An engine for tests: answers are made from the prompt's hash; every result says that it was used."""

    tokens_per_second: Annotated[float | None, Field(gt=0)] = None
    """Speed that it keeps to; absent: as fast as it can."""
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Another seed makes other answers."""


class EngineSpec(Model):
    """The engine of every replica."""

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("vllm", "mock", of="engine"),)

    vllm: VllmEngineSpec | None = None
    """vLLM."""
    mock: MockEngineSpec | None = None
    """An engine for tests."""
    numerics: Numerics = Numerics.FAST
    """fast: fast paths and caches, the differences are numerical noise. reference: lm-eval's own request forms. strict:
    batch-invariant, where the hardware can.
    """
