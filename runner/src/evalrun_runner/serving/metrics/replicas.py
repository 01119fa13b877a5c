"""Metrics of replicas: their number, their time, and each one's engine."""

from __future__ import annotations

import threading

from evalrun_api.metrics import driver
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.records.messages import StoreStats, Telemetry
from evalrun_runner.serving.metrics.families import Families

MOST_SLOTS = 1_000
"""Maximum number of slots with series."""
LOADING, READY = "loading", "ready"
CAUSES = {
    Departure.CRASHED: "crashed",
    Departure.KILLED_HUNG: "hung",
    Departure.LOST: "lost",
    Departure.DRAINED: "drained",
}
OPERATIONS = ("create", "put", "get", "exists", "list", "delete", "move")
"""Operations with series from the start: ``rate`` and ``increase`` would miss the first increase of a new series."""
REASONS = ("unavailable", "full", "denied")
"""Reasons with series from the start."""


class ReplicaTime:
    """Replicas' time, which grows between views and never falls, even if a replica departs before the next view."""

    def __init__(self) -> None:
        self._reported = (0.0, 0.0)
        self._lock = threading.Lock()

    def seconds(self, telemetry: TelemetrySnapshot, now: float) -> tuple[float, float]:
        """Return the seconds of loading and of being ready, summed over all replicas."""
        loading, ready = telemetry.seconds(now)
        with self._lock:
            self._reported = max(self._reported[0], loading), max(self._reported[1], ready)
            return self._reported


def add_replicas(
    families: Families, telemetry: TelemetrySnapshot, seconds: tuple[float, float], gpus_per_replica: int
) -> None:
    """Add the number of replicas, their time, and their departures by cause."""
    for state, number, passed in (
        (LOADING, telemetry.loading, seconds[0]),
        (READY, telemetry.ready, seconds[1]),
    ):
        families.add(driver.REPLICAS, number, state)
        families.add(driver.REPLICA_SECONDS, passed, state)
        families.add(driver.GPU_SECONDS, gpus_per_replica * passed, state)
    for departure, cause in CAUSES.items():
        families.add(driver.DEPARTURES, telemetry.departures[departure], cause)


def add_slots(families: Families, telemetry: TelemetrySnapshot) -> None:
    """Add each present replica, its engine's state, and the totals of each slot; vacant slots keep their counters."""
    for occupied in telemetry.occupied_slots:
        if occupied.number < MOST_SLOTS:
            slot, engine = str(occupied.number), occupied.telemetry.engine
            families.add(driver.REPLICA_INFO, 1, slot, occupied.name, occupied.host)
            families.add(driver.REPLICA_REQUESTS, engine.running, slot, "running")
            families.add(driver.REPLICA_REQUESTS, engine.waiting, slot, "waiting")
            families.add(driver.REPLICA_CACHE, engine.cache_usage, slot)
            families.add(driver.REPLICA_LEASED, occupied.leased_items, slot)
    for number, done in enumerate(telemetry.slots[:MOST_SLOTS]):
        families.add(driver.REPLICA_ITEMS, done.items, str(number))
        families.add(driver.REPLICA_TOKENS, done.tokens, str(number))
    families.add(driver.SERIES_DROPPED, max(0, len(telemetry.slots) - MOST_SLOTS), "replicas")


def add_engines(families: Families, telemetry: TelemetrySnapshot, together: Telemetry) -> None:
    """Add totals over all engines; ``together`` is the sum of the replicas' telemetry."""
    families.add(driver.ENGINE_TOKENS, sum(slot.tokens for slot in telemetry.slots))
    families.add_histogram(driver.REQUEST_SECONDS, together.latencies)
    families.add(driver.PREFIX_QUERIED, together.engine.prefix_queried)
    families.add(driver.PREFIX_HIT, together.engine.prefix_hit)
    families.add(driver.PREEMPTIONS, together.engine.preemptions)


def add_store(families: Families, side: str, stats: StoreStats) -> None:
    """Add the calls of one side (driver or replica) to the store."""
    for operation, calls in {**dict.fromkeys(OPERATIONS, 0), **stats.requests}.items():
        families.add(driver.STORE_REQUESTS, calls, side, operation)
    for reason, calls in {**dict.fromkeys(REASONS, 0), **stats.retries}.items():
        families.add(driver.STORE_RETRIES, calls, side, reason)
    families.add(driver.STORE_WAIT, stats.wait_seconds, side)
