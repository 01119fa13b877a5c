"""EngineSpec: what answers the requests: vLLM, for tests an engine that makes answers up, or recorded answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model, RunUri
from evalrun_api.rules import Rule, exactly_one
from evalrun_api.spec.engine_args import EngineArgs
from evalrun_api.spec.reasoning import EngineReasoning


class Numerics(StrEnum):
    """How far optimizations may change a number."""

    FAST = "fast"
    REFERENCE = "reference"
    STRICT = "strict"


class VllmEngineSpec(Model):
    """vLLM: how one replica serves the model."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPUs that each layer is split over. A replica has this many GPUs for each stage of its pipeline
    (args.pipeline_parallel_size, by default one).
    """
    max_model_len: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Maximum number of tokens of prompt and answer together; absent: the model's own context length."""
    reasoning: EngineReasoning | None = None
    """Thinking of a reasoning model, which is cut from its answers; absent: whatever it generates is its answer."""
    args: EngineArgs = EngineArgs()
    """Engine arguments of vLLM by their own names; an allow-list, others are refused by name."""

    @property
    def gpus(self) -> int:
        """GPUs of one engine: each of its pipeline's stages is split over ``tensor_parallel_size`` GPUs.

        vLLM's other dimensions share these (decode_context_parallel_size) or are not allowed (data parallelism, which
        is what replicas are).
        """
        return self.tensor_parallel_size * (self.args.pipeline_parallel_size or 1)

    @property
    def gpus_said(self) -> str:
        """The fields that set the number of GPUs, for messages: ``tensorParallelSize 4 * pipeline_parallel_size 2``."""
        stages = self.args.pipeline_parallel_size
        said = f"tensorParallelSize {self.tensor_parallel_size}"
        return said if stages is None else f"{said} * args.pipeline_parallel_size {stages}"


class MockEngineSpec(Model):
    """An engine for tests: it makes up answers from the prompt's hash, and every result says that it was used."""

    tokens_per_second: Annotated[float | None, Field(gt=0)] = None
    """Speed limit; absent: as fast as possible."""
    seed: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Seed of the answers."""


class RecordedAnswersSpec(Model):
    """Answers that are there already, scored anew without an engine."""

    uri: RunUri
    """Output of a finished run, whose answers are taken where they were given to the same requests; or a .jsonl file of
    answers made elsewhere, one object with id and text a line.
    """


class EngineSpec(Model):
    """The engine of every replica."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("vllm", "mock", "recorded", of="engine"),
        Rule(
            cel="!has(self.recorded)",
            message="answers that are there already are scored on one machine; hint: `evalrun rescore`",
            holds=lambda engine: engine.recorded is None,
            field="recorded",
            cluster_only=True,
        ),
    )

    vllm: VllmEngineSpec | None = None
    """The vLLM engine."""
    mock: MockEngineSpec | None = None
    """An engine for tests."""
    recorded: RecordedAnswersSpec | None = None
    """No engine: answers that are there already."""
    numerics: Numerics = Numerics.FAST
    """Numerical mode. fast: fast paths and caches, with differences that are numerical noise. reference: lm-eval's own
    engine requests. strict: an answer does not depend on what else is in the batch; every replica proves it before it
    works, and a run whose engine cannot is refused. On GPUs vLLM's batch-invariant mode, on CPU float32 with one
    request at a time.
    """
