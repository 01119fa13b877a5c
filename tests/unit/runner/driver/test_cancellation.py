"""A request to stop a run, from a signal handler or another thread."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from evalrun_runner.driver.cancellation import Cancellation


def test_nothing_is_requested_at_first() -> None:
    cancellation = Cancellation()
    assert not cancellation.requested
    assert not cancellation.wait(0)


def test_outside_the_graceful_block_the_caller_has_to_interrupt_the_run() -> None:
    cancellation = Cancellation()
    assert not cancellation.request()
    assert cancellation.requested


def test_inside_the_graceful_block_the_run_stops_by_itself() -> None:
    cancellation = Cancellation()
    with cancellation.graceful():
        assert cancellation.request()
    assert not cancellation.request()
    assert cancellation.requested, "a request stays"


def test_the_block_also_ends_on_an_error() -> None:
    cancellation = Cancellation()

    def fails() -> None:
        with cancellation.graceful():
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fails()
    assert not cancellation.is_graceful


def test_a_request_ends_the_wait_of_another_thread() -> None:
    cancellation = Cancellation()
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(cancellation.wait(60)))
    waiting.start()
    cancellation.request()
    waiting.join(30)
    assert answers == [True]


def test_a_signal_handler_may_request_while_its_own_thread_waits() -> None:
    """The handler runs in the thread that waits and may hold the lock: neither hangs."""
    cancellation = Cancellation()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: cancellation.request())
    try:
        for _ in range(200):
            threading.Thread(target=signal.raise_signal, args=(signal.SIGUSR1,)).start()
            began = time.monotonic()
            while not cancellation.wait(0.001):
                assert time.monotonic() - began < 30
            cancellation = Cancellation()
    finally:
        signal.signal(signal.SIGUSR1, before)
