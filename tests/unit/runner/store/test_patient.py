"""A patient store counts what it asks and how often it had to ask again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable
from evalrun_runner.records.messages import StoreStats
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.patient import PatientStore
from evalrun_runner.store.retry import Patience


class Failing(MemoryStore):
    """Raises what it is given before it answers."""

    def __init__(self, *errors: StoreError) -> None:
        super().__init__()
        self._errors = [*errors]
        self._taking = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        with self._taking:
            error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        super().put(key, data)


def quick(deadline_s: float) -> Patience:
    """Waits are of two thousandths of a second at most."""
    return Patience(deadline_s, longest_wait_s=0.002)


def test_every_operation_is_counted_once_when_it_is_answered() -> None:
    store = PatientStore(MemoryStore(), 1.0)
    assert store.stats == StoreStats()
    assert store.create("a", b"1")
    assert not store.create("a", b"2")
    store.put("b", b"1")
    store.put("c", b"1")
    assert store.exists("b")
    assert not store.exists("x")
    assert list(store.list("")) == ["a", "b", "c"]
    store.get("a")
    with pytest.raises(ObjectMissing):
        store.get("x")
    store.move("b", "d")
    store.delete("d")
    asked = {"create": 2, "put": 2, "exists": 2, "list": 1, "get": 2, "move": 1, "delete": 1}
    assert store.stats == StoreStats(requests=asked)


def test_retries_are_counted_by_reason_with_their_waiting_time() -> None:
    errors = [StoreUnavailable("away"), StoreFull("full"), StoreUnavailable("away"), StoreDenied("no")]
    store = PatientStore(Failing(*errors), quick(60.0))
    store.put("a", b"1")
    store.put("b", b"1")
    found = store.stats
    assert found.requests == {"put": 2}
    assert found.retries == {"unavailable": 2, "full": 1, "denied": 1}
    assert 0.004 <= found.wait_seconds < 60


def test_a_call_that_was_given_up_does_not_count_as_answered() -> None:
    store = PatientStore(Failing(*[StoreUnavailable("away")] * 10_000), quick(0.01))
    with pytest.raises(StoreUnavailable, match="tried"):
        store.put("a", b"1")
    assert store.stats.requests == {}
    assert store.stats.retries["unavailable"] > 0


def test_after_the_stop_nothing_is_retried() -> None:
    stop = threading.Event()
    stop.set()
    store = PatientStore(Failing(StoreUnavailable("away")), 60.0, stop)
    with pytest.raises(StoreUnavailable, match="away"):
        store.put("a", b"1")
    assert store.stats == StoreStats()


def test_nothing_is_lost_among_threads() -> None:
    store = PatientStore(Failing(*[StoreUnavailable("away")] * 300), quick(60.0))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"k{number}", b"1"), range(2_000)))
    assert store.stats.requests == {"put": 2_000}
    assert store.stats.retries == {"unavailable": 300}


def test_retries_of_the_stores_client_are_counted_too() -> None:
    class Client(MemoryStore):
        repeated = 0

    inner = Client()
    store = PatientStore(inner, 1.0)
    assert store.stats.retries == {}
    inner.repeated = 3
    assert store.stats.retries == {"unavailable": 3}
