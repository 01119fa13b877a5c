"""Reasoning: how the thinking of a model is told from its answer, and how long it may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model
from evalrun_api.rules import Rule, exactly_one


@dataclass(frozen=True, slots=True)
class ThinkingMarkers:
    """Texts around the thinking of a model."""

    end: str
    """Text that ends it; the answer follows the last one."""
    start: str | None = None
    """Text that begins it; None: not known."""


class ReasoningParser(StrEnum):
    """Names of vLLM's reasoning parsers whose thinking ends with a marker."""

    COHERE_COMMAND3 = "cohere_command3"
    COHERE_COMMAND4 = "cohere_command4"
    DEEPSEEK_R1 = "deepseek_r1"
    DEEPSEEK_V3 = "deepseek_v3"
    DEEPSEEK_V4 = "deepseek_v4"
    DEEPSEEK_V41 = "deepseek_v41"
    ERNIE45 = "ernie45"
    GEMMA4 = "gemma4"
    GLM45 = "glm45"
    GLM47 = "glm47"
    GRANITE_THINKING_PARSER = "granite_thinking_parser"
    HOLO2 = "holo2"
    HY_V3 = "hy_v3"
    HY_V4 = "hy_v4"
    K2_HORIZON = "k2_horizon"
    KIMI_K2 = "kimi_k2"
    KIMI_K3 = "kimi_k3"
    LING3 = "ling3"
    MIMO = "mimo"
    MINICPMV = "minicpmv"
    MINIMAX_M2 = "minimax_m2"
    MINIMAX_M3 = "minimax_m3"
    MISTRAL = "mistral"
    NEMOTRON_V3 = "nemotron_v3"
    OLMO3 = "olmo3"
    PLAMO3 = "plamo3"
    POOLSIDE_V1 = "poolside_v1"
    QWEN3 = "qwen3"
    SEED_OSS = "seed_oss"
    STEP3 = "step3"
    STEP3P5 = "step3p5"

    @property
    def markers(self) -> ThinkingMarkers:
        """The markers that vLLM's parser of this name looks for."""
        return _MARKERS.get(self, _THINK)


_THINK = ThinkingMarkers("</think>", "<think>")
_COHERE = ThinkingMarkers("<|END_THINKING|>", "<|START_THINKING|>")
_MARKERS = {
    ReasoningParser.COHERE_COMMAND3: _COHERE,
    ReasoningParser.COHERE_COMMAND4: _COHERE,
    ReasoningParser.GEMMA4: ThinkingMarkers("<channel|>", "<|channel>"),
    ReasoningParser.K2_HORIZON: ThinkingMarkers("</ifm|think>", "<ifm|think>"),
    ReasoningParser.KIMI_K3: ThinkingMarkers("<|close|>think<|sep|>", "<|open|>think<|sep|>"),
    ReasoningParser.MINIMAX_M3: ThinkingMarkers("</mm:think>", "<mm:think>"),
    ReasoningParser.MISTRAL: ThinkingMarkers("[/THINK]", "[THINK]"),
    ReasoningParser.PLAMO3: ThinkingMarkers("<|plamo:end_think:plamo|>", "<|plamo:begin_think:plamo|>"),
    ReasoningParser.SEED_OSS: ThinkingMarkers("</seed:think>", "<seed:think>"),
}
"""Markers of the parsers that look for others than <think> and </think>."""


class ReasoningEffort(StrEnum):
    """How much a model should think, in the words of the APIs."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


Budget = Annotated[int, Field(ge=0, le=INT32_MAX)]
Marker = Annotated[str, Field(min_length=1, max_length=64)]


class EngineReasoning(Model):
    """How a reasoning model thinks: what ends its thinking, which is cut from its answers, and how long it may last."""

    parser: ReasoningParser | None = None
    """Name of vLLM's reasoning parser for the model: its markers begin and end the thinking."""
    end_token: Marker | None = None
    """Text that ends the thinking, as lm-eval's think_end_token; the answer follows the last one."""
    start_token: Marker | None = None
    """Text that begins the thinking; absent: endToken without its '/', as in <think> and </think>."""
    budget: Budget | None = None
    """Maximum number of tokens of thinking; then the engine ends it, and the model answers. Absent: no limit but that
    of the whole answer, max_gen_toks.
    """
    effort: ReasoningEffort | None = None
    """How much the model should think: the variable reasoning_effort of its chat template."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("parser", "end_token", of="end of the thinking"),
        Rule(
            cel="!has(self.startToken) || has(self.endToken)",
            message="startToken goes with endToken: a parser knows its own",
            holds=lambda reasoning: reasoning.start_token is None or reasoning.end_token is not None,
            field="startToken",
        ),
    )

    @property
    def markers(self) -> ThinkingMarkers:
        """The markers of the thinking."""
        if self.parser is not None:
            return self.parser.markers
        assert self.end_token is not None, "one of the two is set"
        without = self.end_token.replace("/", "", 1)
        return ThinkingMarkers(self.end_token, self.start_token or (None if without == self.end_token else without))


class BenchmarkReasoning(Model):
    """Reasoning of one benchmark, where it differs from the engine's."""

    enabled: bool = True
    """Whether thinking is cut from the answers; false for benchmarks without thinking, as multiple choice."""
    budget: Budget | None = None
    """Maximum number of tokens of thinking; absent: the engine's."""
    effort: ReasoningEffort | None = None
    """How much the model should think; absent: the engine's."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.enabled || (!has(self.budget) && !has(self.effort))",
            message="budget and effort need reasoning, which enabled: false switches off for this benchmark",
            holds=lambda reasoning: reasoning.enabled or (reasoning.budget is None and reasoning.effort is None),
            field="enabled",
        ),
    )
