"""The data that passes between the rooms: items, chunks, leases, results. No behaviour beyond construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RequestType(StrEnum):
    """lm-eval's request types, as its instances carry them."""

    GENERATE_UNTIL = "generate_until"
    LOGLIKELIHOOD = "loglikelihood"
    LOGLIKELIHOOD_ROLLING = "loglikelihood_rolling"


class ItemStatus(StrEnum):
    """How an item ends. An error is never a score."""

    OK = "ok"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an item: lm-eval's Instance without the document.

    ``arguments`` is ``(context, continuation)``, ``(text,)`` or ``(context, generation kwargs)``; ``index`` its place
    within the item; ``repeats`` how many responses are wanted.
    """

    type: RequestType
    index: int
    arguments: tuple[Any, ...]
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One document of one leaf task, with all its requests. ``hash`` covers task, document and requests."""

    task: str
    doc_id: int
    doc: Mapping[str, Any]
    requests: tuple[Request, ...]
    hash: str
    cost: float
    """Estimated work, in tokens: prompt tokens weighted as prefill plus the tokens generated at most."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A deterministic run of whole items of one leaf task: the unit of lease, commit and object."""

    task: str
    number: int
    segment: int
    """The manifest segment that holds all its rows."""
    first_row: int
    """Its first row within the segment."""
    items: int
    cost: float
    digest: str
    """sha256 over its items' hashes; a part made for other items is no part of this chunk."""

    @property
    def id(self) -> tuple[str, int]:
        """(task, number): unique in a run."""
        return (self.task, self.number)


@dataclass(frozen=True, slots=True)
class Lease:
    """A chunk handed to a replica.

    ``isolated``: run its items one after another, alone in the engine, announcing each first. ``quarantined``: rows
    of the chunk that killed the engine and must not be run again.
    """

    id: int
    chunk: Chunk
    isolated: bool = False
    quarantined: Mapping[int, str] = field(default_factory=dict)
    """row within the chunk -> why"""


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


@dataclass(frozen=True, slots=True)
class Committed:
    """A replica's word that a chunk is in the store.

    ``won`` is False where another writer's part was there first; ``counts`` are then those of the part in the store.
    ``seconds_to_commit`` runs from the end of the chunk's last item to its part in the store.
    """

    lease: int
    chunk: tuple[str, int]
    counts: Counts
    won: bool
    prompt_tokens: int
    output_tokens: int
    seconds_to_commit: float
    scores: Tallies = field(default_factory=dict)
    """Of the replica's own part. Where another writer's won, the same items of the same plan: as good."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine says of itself."""

    running: int = 0
    """Requests in a batch now."""
    waiting: int = 0
    """Requests that wait in the engine now."""
    cache_usage: float = 0.0
    """How full its KV cache is now, 0 to 1."""
    prefix_queried: int = 0
    """Prompt tokens looked up in the prefix cache since it started."""
    prefix_hit: int = 0
    """Prompt tokens found there since it started."""
    preemptions: int = 0
    """Requests set aside for want of cache since it started."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A process' calls of its store since it started."""

    requests: Mapping[str, int] = field(default_factory=dict)
    """Answered ones by operation: create, put, get, exists, list, delete, move."""
    retries: Mapping[str, int] = field(default_factory=dict)
    """Failed and made again, by reason: unavailable, full, denied."""
    wait_seconds: float = 0.0
    """Waited before calls were made again."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds of an engine's requests since it started, as a histogram."""

    buckets: tuple[int, ...] = ()
    """Requests within each bound of the metric's buckets and over the bound before; the last is for those over all."""
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a replica tells for those who watch the run; no decision depends on it. All of it since it started."""

    engine: EngineStats = EngineStats()
    store: StoreStats = StoreStats()
    latencies: Latencies = Latencies()


@dataclass(frozen=True, slots=True)
class Report:
    """Replica to driver, at least once a second."""

    committed: tuple[Committed, ...] = ()
    returned: tuple[int, ...] = ()
    """Ids of leases given back undone: the replica drains."""
    announced: tuple[int, int] | None = None
    """(lease id, row within the chunk) of the isolated item that runs next; it starts when the next order arrives."""
    tokens: int = 0
    """Tokens of the requests that the engine has answered since it started."""
    steps: int = 0
    """Iterations of the engine that have returned since it started: with tokens, the proof of progress."""
    busy: bool = False
    """Whether requests are in the engine."""
    wants: int = 0
    """How many more items it would take now, to keep its engine fed."""
    degraded: str | None = None
    """Why the store is in trouble, if it is: it commits nothing until that ends."""
    leaving: bool = False
    """Its last report: it was told to drain, has committed what was complete, and takes nothing more."""
    telemetry: Telemetry = Telemetry()


@dataclass(frozen=True, slots=True)
class Order:
    """Driver to replica, the answer to a report."""

    leases: tuple[Lease, ...] = ()
    cancel: tuple[int, ...] = ()
    """Ids of leases that another replica has committed: drop them, their work is of no use any more."""
    done: bool = False
    """Nothing is left and nothing will come: leave."""
