"""Interface between replica and engine: add, step, abort. Synchronous; one thread drives it, any may read stats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalrun_runner.records.messages import EngineStats

MAX_CHOICES = 128
"""Maximum number of ``Call.choices``: vLLM's limit on ``logprob_token_ids``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One engine request."""

    prompt: Sequence[int]
    """Token ids."""
    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further sampling parameters, by vLLM's names."""
    score_from: int | None = None
    """Prompt position from which on to return every token's log-probability; None to return none."""
    choices: tuple[int, ...] = ()
    """Token ids whose log-probabilities as the first generated token to return."""
    adapter: str | None = None
    """Name of the LoRA adapter that answers; None for the model itself."""


@dataclass(frozen=True, slots=True)
class Output:
    """Result of a call."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    top_logprob: float | None = None
    """Highest log-probability of any token as the first generated one; None without ``Call.choices``."""
    scores: tuple[tuple[float, bool], ...] = ()
    """(log-probability, is the most likely token) of each prompt token from ``Call.score_from`` on."""
    choice_logprobs: Mapping[int, float] = field(default_factory=dict)
    """Map from each of ``Call.choices`` to its log-probability."""
    token_ids: Sequence[int] = ()
    """Generated token ids, where the engine has them."""


class RequestRefused(Exception):
    """Refusal of one request (too long, an invalid parameter) by an engine that is otherwise healthy."""


class Engine(Protocol):
    """Inference engine with continuous batching."""

    name: str
    """``vllm`` or ``mock``; recorded in every part."""
    max_model_len: int
    """Maximum number of prompt and generated tokens together."""
    max_num_seqs: int
    """Maximum number of requests in a batch."""

    def add(self, call_id: str, call: Call) -> None:
        """Queue a request.

        Raises:
            RequestRefused: The engine refuses the request.
        """

    def step(self) -> list[tuple[str, Output]]:
        """Run one iteration and return the requests that ended in it. Blocks for the duration of the iteration."""

    def abort(self, call_ids: Iterable[str]) -> None:
        """Drop requests; they never come back from ``step``."""

    def stats(self) -> EngineStats:
        """Return the engine's state and counters. Cheap and thread-safe."""

    def close(self) -> None:
        """Free the engine's resources."""
