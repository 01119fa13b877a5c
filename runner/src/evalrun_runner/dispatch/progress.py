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
    answered: int
    """Items that have an answer: the committed ones, and those in chunks that replicas work on."""
    kept: int
    """Items that were committed before this driver started."""
    redone: int
    """Items that are answered again in this run: taken back from replicas that departed, from drivers that died and
    from parts set aside."""
    redone_here: int
    """Those of them that this driver counted."""
    in_flight: int
    pending: int
    skipped: int
    """Items that are not evaluated, or do not count, because the run stopped early."""
    chunks: int
    skipped_chunks: int
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
        self._open_items = 0
        """Items with an answer in chunks that are not committed."""
        self._open_cost = 0.0
        self._meter = Meter(rate_window_s)
        self._countdown = Countdown()

    def begin(self, now: float) -> None:
        """Start to measure with the first lease."""
        self._meter.begin(now)

    def answer(self, items: int, cost_per_item: float, now: float) -> None:
        """Count items of a leased chunk that have an answer now."""
        self._open_items += items
        self._open_cost += items * cost_per_item
        self._meter.add(now, items=items, cost=items * cost_per_item)

    def forget(self, items: int, cost_per_item: float) -> None:
        """Take back answered items of a lease that ended: they are committed, or lost with their replica."""
        self._open_items -= items
        self._open_cost = self._open_cost - items * cost_per_item if self._open_items else 0.0

    def commit(self, committed: Committed, cost: float, now: float, *, answered: int = 0) -> None:
        """Count a chunk's first commit, of which some items were counted as they were answered."""
        self.counts += committed.counts
        self._prompt_tokens += committed.prompt_tokens
        self._output_tokens += committed.output_tokens
        items = committed.counts.total
        new = items - answered
        self._meter.add(now, items=new, output=committed.output_tokens, cost=cost * new / items)

    def undo(self, counts: ItemCounts, *, kept: bool) -> None:
        """Subtract the counts of a part that was set aside, whose items must be done again."""
        self.uncount(counts, kept=kept)
        self.redone += counts.total

    def uncount(self, counts: ItemCounts, *, kept: bool) -> None:
        """Subtract the counts of a part that is no longer a part of the run."""
        self.counts -= counts
        self.kept -= counts.total if kept else 0

    def processed(self, tokens: int, now: float) -> None:
        """Count tokens that an engine processed."""
        self._meter.add(now, tokens=tokens)

    def snapshot(
        self, table: ChunkTable, registry: ReplicaRegistry, *, planning_done: bool, now: float
    ) -> ProgressSnapshot:
        """Return a snapshot of the run."""
        items_per_s, tokens_per_s, output_per_s, cost_per_s = self._meter.rates(now)
        open_chunks = table.chunks_in(*OPEN)
        waiting = table.chunks_in(State.PENDING, State.SUSPECT)
        eta: float | None = None
        if planning_done and not open_chunks:
            eta = 0.0
        elif planning_done and cost_per_s > 0:
            eta = max(0.0, table.cost_in(*OPEN) - self._open_cost) / cost_per_s
        return ProgressSnapshot(
            planned=table.items_in(*State),
            planning_done=planning_done,
            counts=self.counts,
            answered=self.counts.total + self._open_items,
            kept=self.kept,
            redone=self.redone_before + self.redone,
            redone_here=self.redone,
            in_flight=table.items_in(State.LEASED),
            pending=table.items_in(State.PENDING, State.SUSPECT),
            skipped=table.items_in(State.SKIPPED),
            chunks=len(table),
            skipped_chunks=table.chunks_in(State.SKIPPED),
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
            eta_s=self._countdown.next(eta, in_tail=planning_done and not waiting),
            replicas=registry.history(),
        )


class Countdown:
    """Remaining time that does not rise at the end, where the last items take longer than the mean of all."""

    def __init__(self) -> None:
        self._last: float | None = None

    def next(self, estimate: float | None, *, in_tail: bool) -> float | None:
        """Return the remaining seconds to show.

        Args:
            estimate: Remaining seconds by the present rate; None while unknown.
            in_tail: Whether replicas already hold all that is left; before, more work or fewer replicas may be found.
        """
        if estimate is None:
            return None
        if in_tail and self._last:
            estimate = min(estimate, self._last)
        self._last = estimate
        return estimate


class Meter:
    """Rates over a sliding window, from at most one sample per second."""

    def __init__(self, window_s: float) -> None:
        self._window = window_s
        self._samples: deque[tuple[float, int, int, int, float]] = deque()
        self._items = 0
        self._tokens = 0
        self._output = 0
        self._cost = 0.0

    def begin(self, now: float) -> None:
        """Count the time from now on, if nothing was counted yet."""
        if not self._samples:
            self.add(now)

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
