"""Replicas: how many, for how long, and each one's engine."""

from __future__ import annotations

import threading

from evalrun_api.metrics import driver
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.records.messages import StoreStats, Telemetry
from evalrun_runner.serving.metrics.families import Families

MOST_PLACES = 1_000
"""Places with series of their own."""
LOADING, READY = "loading", "ready"
CAUSES = {
    Departure.CRASHED: "crashed",
    Departure.KILLED_HUNG: "hung",
    Departure.LOST: "lost",
    Departure.DRAINED: "drained",
}
OPERATIONS = ("create", "put", "get", "exists", "list", "delete", "move")
"""Told from the start: a counter that appears with its first increase hides that from ``rate`` and ``increase``."""
REASONS = ("unavailable", "full", "denied")
"""As with operations."""


class PassingTime:
    """Seconds go on between two views. They never fall, though a replica may have left before a view said so."""

    def __init__(self) -> None:
        self._told = (0.0, 0.0)
        self._lock = threading.Lock()

    def seconds(self, telemetry: TelemetrySnapshot, now: float) -> tuple[float, float]:
        """Of loading and of being ready, summed up over the replicas."""
        loading, ready = telemetry.seconds(now)
        with self._lock:
            self._told = max(self._told[0], loading), max(self._told[1], ready)
            return self._told


def tell_replicas(
    families: Families, telemetry: TelemetrySnapshot, seconds: tuple[float, float], gpus_per_replica: int
) -> None:
    """How many there are, and for how long; why some left."""
    for state, number, passed in (
        (LOADING, telemetry.loading, seconds[0]),
        (READY, telemetry.ready, seconds[1]),
    ):
        families.tell(driver.REPLICAS, number, state)
        families.tell(driver.REPLICA_SECONDS, passed, state)
        families.tell(driver.GPU_SECONDS, gpus_per_replica * passed, state)
    for departure, cause in CAUSES.items():
        families.tell(driver.DEPARTURES, telemetry.departures[departure], cause)


def tell_places(families: Families, telemetry: TelemetrySnapshot) -> None:
    """Who is here, what each engine does, and what each place has done; places that are vacant keep their counters."""
    for seat in telemetry.seats:
        if seat.place < MOST_PLACES:
            place, engine = str(seat.place), seat.telemetry.engine
            families.tell(driver.REPLICA_INFO, 1, place, seat.name, seat.host)
            families.tell(driver.REPLICA_REQUESTS, engine.running, place, "running")
            families.tell(driver.REPLICA_REQUESTS, engine.waiting, place, "waiting")
            families.tell(driver.REPLICA_CACHE, engine.cache_usage, place)
            families.tell(driver.REPLICA_LEASED, seat.leased_items, place)
    for number, done in enumerate(telemetry.places[:MOST_PLACES]):
        families.tell(driver.REPLICA_ITEMS, done.items, str(number))
        families.tell(driver.REPLICA_TOKENS, done.tokens, str(number))
    families.tell(driver.SERIES_DROPPED, max(0, len(telemetry.places) - MOST_PLACES), "replicas")


def tell_engines(families: Families, telemetry: TelemetrySnapshot, together: Telemetry) -> None:
    """All engines together; ``together`` is the sum of what replicas told."""
    families.tell(driver.ENGINE_TOKENS, sum(place.tokens for place in telemetry.places))
    families.tell_histogram(driver.REQUEST_SECONDS, together.latencies)
    families.tell(driver.PREFIX_QUERIED, together.engine.prefix_queried)
    families.tell(driver.PREFIX_HIT, together.engine.prefix_hit)
    families.tell(driver.PREEMPTIONS, together.engine.preemptions)


def tell_store(families: Families, side: str, stats: StoreStats) -> None:
    """The calls of a side to the store."""
    for operation, calls in {**dict.fromkeys(OPERATIONS, 0), **stats.requests}.items():
        families.tell(driver.STORE_REQUESTS, calls, side, operation)
    for reason, calls in {**dict.fromkeys(REASONS, 0), **stats.retries}.items():
        families.tell(driver.STORE_RETRIES, calls, side, reason)
    families.tell(driver.STORE_WAIT, stats.wait_seconds, side)
