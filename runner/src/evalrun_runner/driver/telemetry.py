"""Telemetry for observers of a run, collected from its replicas' reports. No decision depends on it.

Pure: events in, an immutable snapshot out. ``now`` is in seconds on any monotonic clock.

A report contains the counters of the replica's process since its start. They are stored while the replica is present
and added to the totals when it departs, so that totals never fall. A present replica occupies a *slot*: the smallest
free number of 0, 1, …, together with the counters of the slot's earlier replicas. There are as many slots as there ever
were replicas at once, however often they were replaced.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from evalrun_api.metrics import driver
from evalrun_runner.benchmarks.running_scores import add
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.replica_registry import ReplicaProgress
from evalrun_runner.records.messages import Committed, EngineStats, Latencies, Report, StoreStats, Telemetry
from evalrun_runner.records.results import ItemCounts, Tallies

RunningMetrics = Mapping[str, Mapping[str, str]]
"""Metrics with running scores: leaf task to metric to ``higher`` or ``lower`` (is better), in the plan's order."""


class OccupiedSlot(NamedTuple):
    """Slot of a present and ready replica."""

    number: int
    name: str
    host: str
    leased_items: int
    telemetry: Telemetry


class SlotTotals(NamedTuple):
    """Totals over all replicas that ever occupied a slot."""

    items: int
    """Committed items."""
    tokens: int
    """Prompt and generated tokens of answered requests."""


@dataclass(frozen=True, slots=True)
class TelemetrySnapshot:
    """Snapshot of the run's telemetry."""

    at: float
    """Time of the snapshot in seconds."""
    loading: int
    """Number of present replicas that load the model."""
    ready: int
    """Number of present replicas that have loaded the model."""
    loading_seconds: float
    """Time of loading, summed over all replicas, until ``at``."""
    ready_seconds: float
    """Time of being ready, summed over all replicas, until ``at``."""
    departures: Mapping[Departure, int]
    """Number of replicas that departed while there was work, by cause."""
    chunks: int
    """Number of committed chunks."""
    items: ItemCounts
    """Counts of how the items of these chunks ended."""
    commits: Latencies
    """Times to commit of these chunks."""
    occupied_slots: tuple[OccupiedSlot, ...]
    slots: tuple[SlotTotals, ...]
    """Totals by slot number."""
    departed: Telemetry
    """Sum over departed replicas."""
    store: StoreStats
    """Calls of the driver itself."""
    scores: Mapping[str, Tallies]
    """Map from leaf task to the tallies of committed items, including reused parts."""
    running: RunningMetrics

    def seconds(self, now: float) -> tuple[float, float]:
        """Return the seconds of loading and of being ready, summed over replicas, if none came or left since ``at``."""
        passed = max(0.0, now - self.at)
        return self.loading_seconds + self.loading * passed, self.ready_seconds + self.ready * passed

    def replicas_total(self) -> Telemetry:
        """Return the sum over all replicas, including departed ones."""
        return total((self.departed, *(slot.telemetry for slot in self.occupied_slots)))


_NOTHING = Telemetry()


@dataclass(slots=True)
class _Present:
    slot: int
    host: str
    tokens: int = 0
    telemetry: Telemetry = _NOTHING


class RunTelemetry:
    """Collector of a run's telemetry; ``running`` lists the metrics with a running score."""

    def __init__(self, running: RunningMetrics | None = None) -> None:
        self._running = running or {}
        self._present: dict[str, _Present] = {}
        self._free_slots: list[int] = []
        self._slot_items: list[int] = []
        self._slot_tokens: list[int] = []
        """Tokens of departed replicas; the snapshot adds those of present ones."""
        self._departed = _NOTHING
        self._departures = dict.fromkeys(Departure, 0)
        self._chunks = 0
        self._items = ItemCounts()
        self._commit_buckets = [0] * (len(driver.COMMIT_SECONDS.buckets) + 1)
        self._commit_seconds = 0.0
        self._scores: dict[str, Tallies] = {}
        """Tallies by task, which are never modified but replaced, because snapshots share them."""
        self._again: set[tuple[str, int]] = set()
        self._since = 0.0
        self._loading = self._ready = 0
        self._loading_seconds = self._ready_seconds = 0.0

    # -- replicas ------------------------------------------------------------------------------------------------

    def count(self, loading: int, ready: int, now: float) -> None:
        """Set the number of present replicas from now on."""
        passed = now - self._since
        self._since = now
        self._loading_seconds += self._loading * passed
        self._ready_seconds += self._ready * passed
        self._loading, self._ready = loading, ready

    def joined(self, replica: str, host: str) -> None:
        """Add a ready replica with counters at zero. If its name is already present, it replaces that replica."""
        self._vacate(replica)
        if self._free_slots:
            slot = heapq.heappop(self._free_slots)
        else:
            slot = len(self._slot_items)
            self._slot_items.append(0)
            self._slot_tokens.append(0)
        self._present[replica] = _Present(slot, host)

    def answered(self, replica: str, report: Report) -> None:
        """Record a replica's report; reports of replicas that are not present are ignored."""
        present = self._present.get(replica)
        if present is not None:
            present.tokens = max(present.tokens, report.tokens)
            present.telemetry = report.telemetry

    def left(self, replica: str, departure: Departure, *, work: bool) -> None:
        """Record that a replica departed, ready or not.

        Args:
            replica: The replica's name.
            departure: The cause.
            work: Whether there was uncommitted work at that time.
        """
        self._departures[departure] += work
        self._vacate(replica)

    def ended(self, now: float) -> None:
        """Record that all replicas were told to leave and have departed."""
        self.count(0, 0, now)
        for replica in [*self._present]:
            self._vacate(replica)

    def _vacate(self, replica: str) -> None:
        present = self._present.pop(replica, None)
        if present is not None:
            self._slot_tokens[present.slot] += present.tokens
            self._departed = total((self._departed, present.telemetry))
            heapq.heappush(self._free_slots, present.slot)

    # -- commits -------------------------------------------------------------------------------------------------

    def kept(self, scores: Mapping[str, Tallies]) -> None:
        """Add the tallies, by leaf task, of parts that were in the ledger before this driver started."""
        for task, tallies in scores.items():
            self._add_scores(task, tallies)

    def committed(self, replica: str, committed: Committed) -> None:
        """Record a chunk's first commit, or its commit after ``reopened``; hedged copies are not recorded here.

        It does not matter whose part is in the store: the items are in the ledger from then on, and this driver's
        replicas answered them.
        """
        self._chunks += 1
        self._items += committed.counts
        self._commit_buckets[bisect_left(driver.COMMIT_SECONDS.buckets, committed.seconds_to_commit)] += 1
        self._commit_seconds += committed.seconds_to_commit
        if committed.chunk not in self._again:
            self._add_scores(committed.chunk[0], committed.scores)
        present = self._present.get(replica)
        if present is not None:
            self._slot_items[present.slot] += committed.counts.total

    def reopened(self, chunk: tuple[str, int]) -> None:
        """Record that a chunk with a damaged part runs again; its second commit counts as a commit.

        Running scores already contain the first part, and the second one has the same scores for the same items, so it
        is not added to them.
        """
        self._again.add(chunk)

    def _add_scores(self, task: str, tallies: Tallies) -> None:
        if tallies:
            self._scores[task] = add((self._scores.get(task, {}), tallies))

    # -- snapshots -----------------------------------------------------------------------------------------------

    def snapshot(self, now: float, store: StoreStats, replicas: Mapping[str, ReplicaProgress]) -> TelemetrySnapshot:
        """Return a snapshot.

        Args:
            now: The present time in seconds.
            store: Calls of the driver itself.
            replicas: The dispatcher's history of replicas, by name.
        """
        self.count(self._loading, self._ready, now)
        tokens = self._slot_tokens.copy()
        occupied = []
        for name, present in self._present.items():
            tokens[present.slot] += present.tokens
            leased = replicas[name].leased_items if name in replicas else 0
            occupied.append(OccupiedSlot(present.slot, name, present.host, leased, present.telemetry))
        return TelemetrySnapshot(
            at=now,
            loading=self._loading,
            ready=self._ready,
            loading_seconds=self._loading_seconds,
            ready_seconds=self._ready_seconds,
            departures=self._departures.copy(),
            chunks=self._chunks,
            items=self._items,
            commits=Latencies(tuple(self._commit_buckets), self._commit_seconds),
            occupied_slots=tuple(occupied),
            slots=tuple(map(SlotTotals, self._slot_items, tokens)),
            departed=self._departed,
            store=store,
            scores=self._scores.copy(),
            running=self._running,
        )


def total(reported: Iterable[Telemetry]) -> Telemetry:
    """Sum all counters; momentary values (running, waiting, cache) have no sum and are 0."""
    queried = hit = preemptions = 0
    waited = seconds = 0.0
    requests: dict[str, int] = {}
    retries: dict[str, int] = {}
    buckets: tuple[int, ...] = ()
    for one in reported:
        queried += one.engine.prefix_queried
        hit += one.engine.prefix_hit
        preemptions += one.engine.preemptions
        for calls, more in ((requests, one.store.requests), (retries, one.store.retries)):
            for kind, number in more.items():
                calls[kind] = calls.get(kind, 0) + number
        waited += one.store.wait_seconds
        if one.latencies.buckets:
            buckets = tuple(map(sum, zip_longest(buckets, one.latencies.buckets, fillvalue=0)))
        seconds += one.latencies.total
    return Telemetry(
        EngineStats(prefix_queried=queried, prefix_hit=hit, preemptions=preemptions),
        StoreStats(requests, retries, waited),
        Latencies(buckets, seconds),
    )
