"""Results: responses, outcomes, rows of parts, counts and tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ItemStatus(StrEnum):
    """Final status of an item. An error is never a score."""

    OK = "ok"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Number of items by final status."""

    ok: int = 0
    failed: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        """Number of all items with a final status."""
        return self.ok + self.failed + self.quarantined

    def __add__(self, other: ItemCounts) -> ItemCounts:
        return ItemCounts(self.ok + other.ok, self.failed + other.failed, self.quarantined + other.quarantined)


@dataclass(frozen=True, slots=True)
class Response:
    """Raw response to one request."""

    value: str | tuple[float, bool] | float
    """In lm-eval's shape: ``str`` (generate_until), ``(log-probability, is_greedy)`` (loglikelihood) or ``float``."""
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one item in the engine: responses by request and repeat, or an error."""

    status: ItemStatus
    responses: tuple[tuple[Response, ...], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ItemResult:
    """Row of a part: the outcome of an item with its per-item metric values.

    ``scores`` and ``filtered`` are JSON texts in the codec of ``benchmarks.values``, which is exact for tuples and
    numpy scalars; both are None unless the status is ok.
    """

    doc_id: int
    item_hash: str
    outcome: Outcome
    scores: str | None = None
    """``{filter: {metric: value}}``."""
    filtered: str | None = None
    """``{filter: [filtered response, one per request]}``."""


@dataclass(frozen=True, slots=True)
class MeanTally:
    """Sums from which a mean and its standard error are computed."""

    n: int = 0
    """Number of values."""
    total: float = 0.0
    """Sum of the values."""
    squares: float = 0.0
    """Sum of the squared values."""

    def __add__(self, other: MeanTally) -> MeanTally:
        return MeanTally(self.n + other.n, self.total + other.total, self.squares + other.squares)


Tallies = Mapping[tuple[str, str], MeanTally]
"""Map from (metric, filter) to the tally of the ok items' values, for metrics with plain numbers."""
