"""Shares of namespaces in the looks that an operator has time for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_operator.kube.pace import Pace

RATE, WANTED = 40.0, 2.0


def paced(*counts: int) -> Pace[tuple[int, int]]:
    pace: Pace[tuple[int, int]] = Pace(RATE)
    for namespace, count in enumerate(counts):
        for number in range(count):
            pace.join(str(namespace), (namespace, number))
    return pace


def test_namespace_gets_what_it_asks_for_beside_one_with_thousands() -> None:
    pace = paced(5000, 1, 20)
    assert pace.interval("1", WANTED) == pace.interval("2", WANTED) == WANTED
    assert pace.interval("0", WANTED) == pytest.approx(5000 / (RATE - 21 / WANTED)), "what the others leave"
    for number in range(5000):
        pace.leave("0", (0, number))
    assert pace.interval("0", WANTED) == WANTED


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_looks_of_all_namespaces_stay_within_the_rate_and_none_is_wasted(counts: list[int]) -> None:
    pace = paced(*counts)
    intervals = [pace.interval(str(number), WANTED) for number in range(len(counts))]
    looks = [count / interval for count, interval in zip(counts, intervals, strict=True)]
    assert sum(looks) == pytest.approx(min(RATE, sum(counts) / WANTED))
    fair = RATE / sum(count > 0 for count in counts) if any(counts) else RATE
    assert all(interval == WANTED or rate >= fair * 0.999 for interval, rate in zip(intervals, looks, strict=True))
