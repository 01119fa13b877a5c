"""What those who watch a run are told of it, gathered from its replicas' reports. No decision depends on it.

Pure: events in, an immutable snapshot out. ``now`` is seconds on any clock that does not go back.

A report says what the replica's process has done since it started. That is kept while the replica is here and added to
the totals when it leaves, so that totals never fall. A replica that is here has a *place*: the smallest of 0, 1, … that
is free, and with it the counters of those who had it before. There are as many places as there ever were replicas at
once, however often they were replaced.
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
from evalrun_runner.records.results import Counts, Tallies

RunningMetrics = Mapping[str, Mapping[str, str]]
"""Leaf task -> metric -> ``higher`` or ``lower``, whichever is better: what has running scores, in the plan's order."""


class Seat(NamedTuple):
    """A replica that is here and ready."""

    place: int
    name: str
    host: str
    leased_items: int
    telemetry: Telemetry


class PlaceTotals(NamedTuple):
    """What all replicas did that ever had a place."""

    items: int
    """Committed."""
    tokens: int
    """Answered by their engines, prompt and generated."""


@dataclass(frozen=True, slots=True)
class TelemetrySnapshot:
    """The run at one moment."""

    at: float
    loading: int
    """Replicas that are here and load the model."""
    ready: int
    """Replicas that are here and have loaded it."""
    loading_seconds: float
    """Summed up over the replicas, until ``at``."""
    ready_seconds: float
    """Summed up over the replicas, until ``at``."""
    departures: Mapping[Departure, int]
    """Replicas that left while there was work."""
    chunks: int
    """Committed."""
    items: Counts
    """How the items of these chunks ended."""
    commits: Latencies
    """Seconds to commit of these chunks."""
    seats: tuple[Seat, ...]
    places: tuple[PlaceTotals, ...]
    """By place."""
    gone: Telemetry
    """Of the replicas that are not here any more."""
    store: StoreStats
    """The driver's own."""
    scores: Mapping[str, Tallies]
    """Leaf task -> tallies of what is committed, kept parts included."""
    running: RunningMetrics

    def seconds(self, now: float) -> tuple[float, float]:
        """Seconds of loading and of being ready, summed up over the replicas, if nobody has come or gone since."""
        passed = max(0.0, now - self.at)
        return self.loading_seconds + self.loading * passed, self.ready_seconds + self.ready * passed

    def replicas_total(self) -> Telemetry:
        """What all replicas have done together, those that are not here any more included."""
        return total((self.gone, *(seat.telemetry for seat in self.seats)))


_NOTHING = Telemetry()


@dataclass(slots=True)
class _Here:
    place: int
    host: str
    tokens: int = 0
    telemetry: Telemetry = _NOTHING


class RunTelemetry:
    """Gathers. ``running`` says which metrics have a running score."""

    def __init__(self, running: RunningMetrics | None = None) -> None:
        self._running = running or {}
        self._here: dict[str, _Here] = {}
        self._free_places: list[int] = []
        self._place_items: list[int] = []
        self._place_tokens: list[int] = []
        """Of those who have left; what those who are here have answered is added in the snapshot."""
        self._gone = _NOTHING
        self._departures = dict.fromkeys(Departure, 0)
        self._chunks = 0
        self._items = Counts()
        self._commit_buckets = [0] * (len(driver.COMMIT_SECONDS.buckets) + 1)
        self._commit_seconds = 0.0
        self._scores: dict[str, Tallies] = {}
        """The tallies of a task are never changed, only replaced: snapshots share them."""
        self._again: set[tuple[str, int]] = set()
        self._since = 0.0
        self._loading = self._ready = 0
        self._loading_seconds = self._ready_seconds = 0.0

    # -- replicas ------------------------------------------------------------------------------------------------

    def count(self, loading: int, ready: int, now: float) -> None:
        """So many replicas are here from now on."""
        passed = now - self._since
        self._since = now
        self._loading_seconds += self._loading * passed
        self._ready_seconds += self._ready * passed
        self._loading, self._ready = loading, ready

    def joined(self, replica: str, host: str) -> None:
        """A replica is ready, its counters at zero. A name that is here already is taken to be its successor."""
        self._vacate(replica)
        if self._free_places:
            place = heapq.heappop(self._free_places)
        else:
            place = len(self._place_items)
            self._place_items.append(0)
            self._place_tokens.append(0)
        self._here[replica] = _Here(place, host)

    def answered(self, replica: str, report: Report) -> None:
        """A replica has reported; of those that are not here nothing is heard."""
        here = self._here.get(replica)
        if here is not None:
            here.tokens = max(here.tokens, report.tokens)
            here.telemetry = report.telemetry

    def left(self, replica: str, departure: Departure, *, work: bool) -> None:
        """A replica left, ready or not. ``work``: not all was committed then."""
        self._departures[departure] += work
        self._vacate(replica)

    def ended(self, now: float) -> None:
        """All replicas were told to leave, and are gone."""
        self.count(0, 0, now)
        for replica in [*self._here]:
            self._vacate(replica)

    def _vacate(self, replica: str) -> None:
        here = self._here.pop(replica, None)
        if here is not None:
            self._place_tokens[here.place] += here.tokens
            self._gone = total((self._gone, here.telemetry))
            heapq.heappush(self._free_places, here.place)

    # -- commits -------------------------------------------------------------------------------------------------

    def kept(self, scores: Mapping[str, Tallies]) -> None:
        """Parts were in the ledger before this driver: leaf task -> their tallies."""
        for task, tallies in scores.items():
            self._add_scores(task, tallies)

    def committed(self, replica: str, committed: Committed) -> None:
        """A chunk was committed for the first time, or again after ``reopened``; hedged copies are not told here.

        It does not matter whose part is in the store: its items are in the ledger since then, and this driver's
        replicas answered them.
        """
        self._chunks += 1
        self._items += committed.counts
        self._commit_buckets[bisect_left(driver.COMMIT_SECONDS.buckets, committed.seconds_to_commit)] += 1
        self._commit_seconds += committed.seconds_to_commit
        if committed.chunk not in self._again:
            self._add_scores(committed.chunk[0], committed.scores)
        here = self._here.get(replica)
        if here is not None:
            self._place_items[here.place] += committed.counts.total

    def reopened(self, chunk: tuple[str, int]) -> None:
        """A part was found damaged, and its chunk is done again: a second commit counts, as it is one.

        Running scores hold what the first part said, and the second one says the same of the same items: it is not
        added to them.
        """
        self._again.add(chunk)

    def _add_scores(self, task: str, tallies: Tallies) -> None:
        if tallies:
            self._scores[task] = add((self._scores.get(task, {}), tallies))

    # -- what is told --------------------------------------------------------------------------------------------

    def snapshot(self, now: float, store: StoreStats, replicas: Mapping[str, ReplicaProgress]) -> TelemetrySnapshot:
        """The run at this moment; ``store`` is the driver's own, ``replicas`` the dispatcher's view of them."""
        self.count(self._loading, self._ready, now)
        tokens = self._place_tokens.copy()
        seats = []
        for name, here in self._here.items():
            tokens[here.place] += here.tokens
            leased = replicas[name].leased_items if name in replicas else 0
            seats.append(Seat(here.place, name, here.host, leased, here.telemetry))
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
            seats=tuple(seats),
            places=tuple(map(PlaceTotals, self._place_items, tokens)),
            gone=self._gone,
            store=store,
            scores=self._scores.copy(),
            running=self._running,
        )


def total(told: Iterable[Telemetry]) -> Telemetry:
    """The sum of all that only grows; of what is only now (running, waiting, cache) there is none."""
    queried = hit = preemptions = 0
    waited = seconds = 0.0
    requests: dict[str, int] = {}
    retries: dict[str, int] = {}
    buckets: tuple[int, ...] = ()
    for one in told:
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
