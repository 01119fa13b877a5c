"""Results: responses, outcomes, rows of parts, counts and tallies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import add, attrgetter, sub

from evalrun_runner.records.plan import Item


class ItemStatus(StrEnum):
    """Final status of an item. An error is never a score."""

    OK = "ok"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Answer(StrEnum):
    """How the answer to an ok item ended. It changes no score."""

    COMPLETE = "complete"
    """The model ended it, or a stop sequence did; or no text was asked for."""
    TRUNCATED = "truncated"
    """It was cut by its length, or never left its thinking."""
    REFUSED = "refused"
    """The model declined to answer, and its engine says so."""
    FILTERED = "filtered"
    """The engine's content filter withheld it."""
    EMPTY = "empty"
    """It has no text."""


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Number of items by final status, and of the ok ones by how their answers ended."""

    ok: int = 0
    failed: int = 0
    quarantined: int = 0
    truncated: int = 0
    """Ok items of ``Answer.TRUNCATED``; the next ones in the same way."""
    refused: int = 0
    filtered: int = 0
    empty: int = 0

    @property
    def total(self) -> int:
        """Number of all items with a final status."""
        return self.ok + self.failed + self.quarantined

    @property
    def complete(self) -> int:
        """Number of ok items whose answer is complete."""
        return self.ok - self.truncated - self.refused - self.filtered - self.empty

    def __add__(self, other: ItemCounts) -> ItemCounts:
        return ItemCounts(*map(add, _COUNTS(self), _COUNTS(other)))

    def __sub__(self, other: ItemCounts) -> ItemCounts:
        return ItemCounts(*map(sub, _COUNTS(self), _COUNTS(other)))


_COUNTS = attrgetter(*(field.name for field in fields(ItemCounts)))


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
    thought: str | None = None
    """Text of the thinking before the answer, as generated; None: the model did not think, or was not asked to."""
    thought_tokens: int = 0
    """Generated tokens of the thinking, a part of ``output_tokens``."""
    in_thought: bool = False
    """Whether the response ended before its thinking did."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one item in the engine: responses by request and repeat, or an error."""

    status: ItemStatus
    responses: tuple[tuple[Response, ...], ...] = ()
    error: str | None = None
    answer: Answer | None = None
    """How the answer ended, of an ok item; see ``records.answers``. None: not ok, or no response was looked at."""


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
    prompt_hash: str | None = None
    """sha256 of the item's first prompt; None for an item without requests, and in parts of before there was one."""
    target: str | None = None
    """Right answer as text, as lm-eval's samples have it; None for an item that was not scored, or without one."""
    executions: str | None = None
    """``[{"cause": …, "detail": …}, …]``, how each program that the item's scores ran ended; None: it ran none."""


def unscored(item: Item, outcome: Outcome) -> ItemResult:
    """Return the row of an item that has no scores."""
    return ItemResult(item.doc_id, item.hash, outcome, prompt_hash=item.prompt_hash)


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
