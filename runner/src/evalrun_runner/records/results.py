"""What came of it: responses, outcomes, rows of parts, counts and tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ItemStatus(StrEnum):
    """How an item ends. An error is never a score."""

    OK = "ok"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Counts:
    """How items ended."""

    ok: int = 0
    failed: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        """All items that have an end."""
        return self.ok + self.failed + self.quarantined

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.ok + other.ok, self.failed + other.failed, self.quarantined + other.quarantined)


@dataclass(frozen=True, slots=True)
class Response:
    """One response to one request, raw.

    ``value`` has lm-eval's shape: ``str`` (generate_until), ``(log-probability, is_greedy)`` (loglikelihood) or
    ``float`` (loglikelihood_rolling). Times are seconds.
    """

    value: str | tuple[float, bool] | float
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the engine made of one item: responses by request and repeat, or why there are none."""

    status: ItemStatus
    responses: tuple[tuple[Response, ...], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ItemResult:
    """A row of a part: the outcome of an item with its per-item metric values.

    ``scores`` is the JSON text of ``{filter: {metric: value}}`` in the codec of ``benchmarks.values`` (exact for
    tuples and numpy scalars); ``filtered`` that of ``{filter: [filtered response, one per request]}``; both None
    unless the status is ok.
    """

    doc_id: int
    item_hash: str
    outcome: Outcome
    scores: str | None = None
    filtered: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers that a mean and its standard error are made of."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.n + other.n, self.total + other.total, self.squares + other.squares)


Tallies = Mapping[tuple[str, str], Tally]
"""(metric, filter) -> of the ok items' values, where these are plain numbers."""
