"""How far the run is: counts, rates over a window, and the time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from evalrun_runner.records import Counts

_SAMPLE_S = 1.0


@dataclass(slots=True)
class ReplicaProgress:
    """What became of one replica's name, over all its lives."""

    joins: int = 0
    crashes: int = 0
    """Departures that cast suspicion (crashed, or killed as hung)."""
    departures: int = 0
    chunks: int = 0
    """Committed."""
    items: int = 0
    """Committed."""
    leased_chunks: int = 0
    """Held now."""
    leased_items: int = 0
    """Held now."""
    alive: bool = False
    degraded: str | None = None
    """Why its store is in trouble, if it is."""


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The run at one moment. Items unless said otherwise."""

    planned: int
    planning_done: bool
    counts: Counts
    """How committed items ended, kept ones included."""
    kept: int
    """Committed before this driver started."""
    redone: int
    """Taken back from replicas that left, or from parts set aside."""
    in_flight: int
    pending: int
    chunks: int
    leased_chunks: int
    pending_chunks: int
    suspect_chunks: int
    """Waiting for a replica that runs them alone; not among the pending."""
    duplicate_commits: int
    """Chunks that were committed again: hedged copies and late answers."""
    hedged: int
    """Copies leased."""
    prompt_tokens: int
    """Of what was committed by this driver."""
    output_tokens: int
    """Of what was committed by this driver."""
    items_per_s: float
    tokens_per_s: float
    """Processed by the engines, prompt and output."""
    eta_s: float | None
    """Seconds left; None while it is not known."""
    replicas: Mapping[str, ReplicaProgress]


class Meter:
    """Rates over a sliding window, from samples at most one a second."""

    def __init__(self, window_s: float) -> None:
        self._window = window_s
        self._samples: deque[tuple[float, int, int, float]] = deque()
        self._items = 0
        self._tokens = 0
        self._cost = 0.0

    def add(self, now: float, *, items: int = 0, tokens: int = 0, cost: float = 0.0) -> None:
        """Count what was just done."""
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, self._items, self._tokens, self._cost))
        while len(self._samples) > 1 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()
        self._items += items
        self._tokens += tokens
        self._cost += cost

    def rates(self, now: float) -> tuple[float, float, float]:
        """(items, tokens, cost) per second over the window; zeros before there is one."""
        if not self._samples or now <= self._samples[0][0]:
            return (0.0, 0.0, 0.0)
        since, items, tokens, cost = self._samples[0]
        passed = now - since
        return ((self._items - items) / passed, (self._tokens - tokens) / passed, (self._cost - cost) / passed)
