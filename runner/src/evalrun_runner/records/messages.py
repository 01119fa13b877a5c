"""Messages between driver and replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, Tallies


@dataclass(frozen=True, slots=True)
class Lease:
    """Chunk that is leased to a replica."""

    id: int
    chunk: Chunk
    isolated: bool = False
    """Whether to run its items one after another, alone in the engine, and to announce each item first."""
    quarantined: Mapping[int, str] = field(default_factory=dict)
    """Rows of the chunk that killed the engine and must not run again, with the reasons."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Report that a chunk is committed to the store."""

    lease: int
    chunk: tuple[str, int]
    counts: ItemCounts
    """Counts of the part in the store, which may be another writer's."""
    won: bool
    """Whether this replica's part is in the store; False if another writer was first."""
    prompt_tokens: int
    output_tokens: int
    seconds_to_commit: float
    """Time from the end of the chunk's last item until its part is in the store."""
    scores: Tallies = field(default_factory=dict)
    """Tallies of the replica's own part; if another writer's won, it has the same items of the same plan."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """State and counters of an engine. Counters start with the engine."""

    running: int = 0
    """Requests in a batch now."""
    waiting: int = 0
    """Requests that wait in the engine now."""
    cache_usage: float = 0.0
    """Used share of the KV cache now, 0 to 1."""
    prefix_queried: int = 0
    """Prompt tokens looked up in the prefix cache."""
    prefix_hit: int = 0
    """Prompt tokens found in the prefix cache."""
    preemptions: int = 0
    """Preemptions of requests for lack of cache."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A process's calls of its store since its start."""

    requests: Mapping[str, int] = field(default_factory=dict)
    """Answered calls by operation: create, put, get, exists, list, delete, move."""
    retries: Mapping[str, int] = field(default_factory=dict)
    """Retries by reason: unavailable, full, denied."""
    wait_seconds: float = 0.0
    """Total wait before retries."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Histogram of seconds."""

    buckets: tuple[int, ...] = ()
    """Count per bucket of the metric, not cumulative; the last bucket is +Inf."""
    total: float = 0.0
    """Sum of all seconds."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Statistics of a replica since its start, for observers of the run; no decision depends on them."""

    engine: EngineStats = EngineStats()
    store: StoreStats = StoreStats()
    latencies: Latencies = Latencies()


@dataclass(frozen=True, slots=True)
class Report:
    """Message from replica to driver, at least once a second."""

    committed: tuple[Committed, ...] = ()
    returned: tuple[int, ...] = ()
    """Ids of leases that a draining replica returns undone."""
    announced: tuple[int, int] | None = None
    """(lease id, row within the chunk) of the isolated item that runs next; it starts when the next order arrives."""
    tokens: int = 0
    """Tokens of the requests that the engine has answered since its start."""
    steps: int = 0
    """Iterations of the engine that have returned since its start; with the tokens, the proof of progress."""
    busy: bool = False
    """Whether requests are in the engine."""
    wants: int = 0
    """Number of further items that it would take now to keep its engine busy."""
    degraded: str | None = None
    """Problem of the store, if there is one; the replica commits nothing until it is solved."""
    leaving: bool = False
    """Whether this is its last report: it drained, has committed what was complete, and takes no more leases."""
    telemetry: Telemetry = Telemetry()
    answered: tuple[tuple[int, int], ...] = ()
    """(lease id, items that have an outcome) of each lease that has not ended, for observers of the run."""


@dataclass(frozen=True, slots=True)
class Order:
    """Message from driver to replica, in answer to a report."""

    leases: tuple[Lease, ...] = ()
    cancel: tuple[int, ...] = ()
    """Ids of leases to drop because another replica has committed their chunks."""
    done: bool = False
    """Whether to leave, because there is no more work and will be none."""
