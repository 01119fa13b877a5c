"""Many objects are read ahead, and looked at in their order."""

from __future__ import annotations

import threading

import pytest

from evalrun_runner.store.read_ahead import in_order


def test_answers_come_in_the_order_of_the_items() -> None:
    assert list(in_order(range(100), lambda item: item * item)) == [item * item for item in range(100)]


def test_no_more_is_read_ahead_than_may_wait() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def read(item: int) -> int:
        with lock:
            started.append(item)
        return item

    answers = in_order(range(1000), read, readers=2, ahead=4)

    assert next(answers) == 0
    assert max(started) < 4
    answers.close()


def test_an_error_comes_in_the_place_of_its_item() -> None:
    def read(item: int) -> int:
        if item == 3:
            raise ValueError(f"item {item}")
        return item

    answers = in_order(range(10), read, readers=2, ahead=4)

    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(answers)
