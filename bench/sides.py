"""Picklable results and inputs of the sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.machine import has_gpu


@dataclass(frozen=True, slots=True)
class Run:
    """Run of a workload. Times are in seconds."""

    whole: float
    """Time from loading the tasks to the scores; the engine is already loaded."""
    engine: float
    """Time from the engine's first request to the last answer; for a runner, to its last commit."""
    prompt_tokens: int
    output_tokens: int
    results: dict[str, Any] = field(default_factory=dict)
    """Map from task to its metrics."""
    commit_seconds: tuple[float, ...] = ()
    """For each chunk, time from the end of its last item until its part is in the store."""
    waits: tuple[float, ...] = ()
    """For each item, time from its end until its part is in the store."""

    @property
    def output_rate(self) -> float:
        """Generated tokens per second of engine time."""
        return self.output_tokens / self.engine


def data_type() -> dict[str, Any]:
    """Return the engine's dtype on a CPU: one that every CPU computes with at full speed. A GPU uses the model's."""
    return {} if has_gpu() else {"dtype": "float32"}


def engine_of(settings: VllmSettings) -> dict[str, Any]:
    """Return EngineArgs without those that lm-eval's back end calls by other names."""
    from evalrun_runner.engine.vllm import engine_args

    args = engine_args(settings)
    del args["model"]
    return args
