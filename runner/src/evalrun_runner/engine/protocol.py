"""What a replica needs of an engine: add, step, abort; synchronous, driven by one thread. Others may ask for stats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalrun_runner.records.messages import EngineStats

MAX_CHOICES = 128
"""How many ``Call.choices`` a call may have at most: vLLM's bound on ``logprob_token_ids``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One engine request.

    ``score_from``: return the log-probability of every prompt token from this position on. ``choices``: return the
    log-probabilities of these token ids as the first generated token. Both None for plain generation.
    """

    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further sampling parameters, by vLLM's names."""
    score_from: int | None = None
    choices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """What came back for a call.

    ``scores`` are ``(log-probability, is the most likely token)`` of each prompt token from ``Call.score_from`` on;
    ``choice_logprobs`` maps each of ``Call.choices`` to its log-probability; ``top_logprob`` is the highest that any
    token has in their place.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    top_logprob: float | None = None
    scores: tuple[tuple[float, bool], ...] = ()
    choice_logprobs: Mapping[int, float] = field(default_factory=dict)


class RequestRefused(Exception):
    """The engine refused one request (too long, a bad parameter); the engine itself is well."""


class Engine(Protocol):
    """An inference engine with continuous batching."""

    name: str
    """``vllm`` or ``mock``: recorded in every part."""
    max_model_len: int
    """Prompt and generated tokens together, at most."""
    max_num_seqs: int
    """How many requests it batches at once."""

    def add(self, call_id: str, call: Call) -> None:
        """Queue a request. Raises ``RequestRefused``."""

    def step(self) -> list[tuple[str, Output]]:
        """Run one iteration and return the requests that ended in it. Blocks for the time of the iteration."""

    def abort(self, call_ids: Iterable[str]) -> None:
        """Drop requests; they never come back from ``step``."""

    def stats(self) -> EngineStats:
        """What it does now and has done; cheap, and any thread may ask."""

    def close(self) -> None:
        """Free what the engine holds."""
