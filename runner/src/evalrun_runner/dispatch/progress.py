"""Progress of the run: counts, rates over a window, and the remaining time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from evalrun_runner.dispatch.replica_registry import ReplicaProgress, ReplicaRegistry
from evalrun_runner.dispatch.table import OPEN, ChunkTable, State
from evalrun_runner.records.messages import Committed
from evalrun_runner.records.results import ItemCounts

_SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """Snapshot of the run. Numbers count items unless stated otherwise."""

    planned: int
    planning_done: bool
    counts: ItemCounts
    """Counts of how committed items ended, including reused ones."""
    kept: int
    """Items that were committed before this driver started."""
    redone: int
    """Items that are answered again in this run: taken back from replicas that departed, from drivers that died and
    from parts set aside."""
    redone_here: int
    """Those of them that this driver counted."""
    in_flight: int
    pending: int
    chunks: int
    leased_chunks: int
    pending_chunks: int
    suspect_chunks: int
    """Chunks that wait for a replica to run them alone; not included in the pending chunks."""
    duplicate_commits: int
    """Number of repeated commits of chunks: hedged copies and late answers."""
    hedged: int
    """Number of leased copies."""
    prompt_tokens: int
    """Prompt tokens of everything that this driver's replicas committed."""
    output_tokens: int
    """Output tokens of everything that this driver's replicas committed."""
    items_per_s: float
    tokens_per_s: float
    """Prompt and output tokens processed by the engines, per second."""
    output_tokens_per_s: float
    """Output tokens of committed items, per second."""
    eta_s: float | None
    """Remaining seconds; None while unknown."""
    replicas: Mapping[str, ReplicaProgress]


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the driver before left unfinished, as far as it noted it."""

    redone: int = 0
    """Items that were redone in the run until then."""
    under_way: frozenset[tuple[str, int]] = frozenset()
    """Chunks that were leased and not committed, by (task, number)."""


class RunCounters:
    """Counters that the dispatcher updates during the run."""

    def __init__(self, rate_window_s: float, redone_before: int = 0) -> None:
        self.counts = ItemCounts()
        self.kept = 0
        self.redone = 0
        """Items that this driver has redone."""
        self.redone_before = redone_before
        """Items that earlier drivers of the run had redone."""
        self.duplicates = 0
        self.hedged = 0
        self._prompt_tokens = 0
        self._output_tokens = 0
        self._meter = Meter(rate_window_s)

    def commit(self, committed: Committed, cost: float, now: float) -> None:
        """Count a chunk's first commit."""
        self.counts += committed.counts
        self._prompt_tokens += committed.prompt_tokens
        self._output_tokens += committed.output_tokens
        self._meter.add(now, items=committed.counts.total, output=committed.output_tokens, cost=cost)

    def undo(self, counts: ItemCounts, *, kept: bool) -> None:
        """Subtract the counts of a part that was set aside, whose items must be done again."""
        self.counts = ItemCounts(
            self.counts.ok - counts.ok,
            self.counts.failed - counts.failed,
            self.counts.quarantined - counts.quarantined,
        )
        self.kept -= counts.total if kept else 0
        self.redone += counts.total

    def processed(self, tokens: int, now: float) -> None:
        """Count tokens that an engine processed."""
        self._meter.add(now, tokens=tokens)

    def snapshot(
        self, table: ChunkTable, registry: ReplicaRegistry, *, planning_done: bool, now: float
    ) -> ProgressSnapshot:
        """Return a snapshot of the run."""
        items_per_s, tokens_per_s, output_per_s, cost_per_s = self._meter.rates(now)
        open_chunks = table.chunks_in(*OPEN)
        eta: float | None = None
        if planning_done and not open_chunks:
            eta = 0.0
        elif planning_done and cost_per_s > 0:
            eta = table.cost_in(*OPEN) / cost_per_s
        return ProgressSnapshot(
            planned=table.items_in(*State),
            planning_done=planning_done,
            counts=self.counts,
            kept=self.kept,
            redone=self.redone_before + self.redone,
            redone_here=self.redone,
            in_flight=table.items_in(State.LEASED),
            pending=table.items_in(State.PENDING, State.SUSPECT),
            chunks=len(table),
            leased_chunks=table.chunks_in(State.LEASED),
            pending_chunks=table.chunks_in(State.PENDING),
            suspect_chunks=table.chunks_in(State.SUSPECT),
            duplicate_commits=self.duplicates,
            hedged=self.hedged,
            prompt_tokens=self._prompt_tokens,
            output_tokens=self._output_tokens,
            items_per_s=items_per_s,
            tokens_per_s=tokens_per_s,
            output_tokens_per_s=output_per_s,
            eta_s=eta,
            replicas=registry.history(),
        )


class Meter:
    """Rates over a sliding window, from at most one sample per second."""

    def __init__(self, window_s: float) -> None:
        self._window = window_s
        self._samples: deque[tuple[float, int, int, int, float]] = deque()
        self._items = 0
        self._tokens = 0
        self._output = 0
        self._cost = 0.0

    def add(self, now: float, *, items: int = 0, tokens: int = 0, output: int = 0, cost: float = 0.0) -> None:
        """Count what was just done."""
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, self._items, self._tokens, self._output, self._cost))
        while len(self._samples) > 1 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        self._items += items
        self._tokens += tokens
        self._output += output
        self._cost += cost

    def rates(self, now: float) -> tuple[float, float, float, float]:
        """Return (items, tokens, output tokens, cost) per second over the window; zeros before the first sample."""
        if not self._samples or now <= self._samples[0][0]:
            return (0.0, 0.0, 0.0, 0.0)
        since, items, tokens, output, cost = self._samples[0]
        passed = now - since
        return (
            (self._items - items) / passed,
            (self._tokens - tokens) / passed,
            (self._output - output) / passed,
            (self._cost - cost) / passed,
        )
