"""What driver and replica tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import Counts, Tallies


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
