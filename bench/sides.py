"""What the sides of a comparison say of a run, and what they are given; picklable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evalrun_runner.engine.vllm import VllmSettings


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workload. Times are seconds."""

    whole: float
    """From an empty hand (tasks to be loaded) to the scores; the engine is loaded."""
    engine: float
    """From the first request given to the engine to the last answer, for a runner to its last commit."""
    prompt_tokens: int
    output_tokens: int
    results: dict[str, Any] = field(default_factory=dict)
    """task -> metrics"""
    commit_seconds: tuple[float, ...] = ()
    """From the end of a chunk's last item to its part in the store, for each chunk."""
    waits: tuple[float, ...] = ()
    """From the end of an item to its part in the store, for each item."""

    @property
    def output_rate(self) -> float:
        """Generated tokens a second of the engine phase."""
        return self.output_tokens / self.engine


def engine_of(settings: VllmSettings) -> dict[str, Any]:
    """EngineArgs without those that lm-eval's back end names otherwise."""
    from evalrun_runner.engine.vllm import engine_args

    args = engine_args(settings)
    del args["model"]
    return args
