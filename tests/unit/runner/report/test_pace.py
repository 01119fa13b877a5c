"""How a run went over time, from what its drivers took down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_api.wire.outputs import TimelinePoint
from evalrun_runner.report.pace import MOST_POINTS, pace_of
from evalrun_runner.report.readings import ItemReadings

READINGS = ItemReadings(4, True, [0.5, 1.0, 2.0, 40.0], 400, 80, (), 0, {}, frozenset())


def points(*moments: tuple[float, int, int]) -> list[TimelinePoint]:
    return [TimelinePoint(seconds=seconds, items=items, replicas=replicas) for seconds, items, replicas in moments]


def test_the_average_and_the_tail_are_said() -> None:
    found = pace_of(points((0, 0, 0), (10, 0, 2), (20, 50, 2), (60, 95, 2), (110, 100, 1), (130, 100, 0)), None)
    assert found is not None
    assert found.sentence == (
        "100 items in 100 seconds, 1.0 a second on average; the last 5% of the items took 50% of the time."
    )
    assert [(round(point.minutes, 2), point.items_per_second) for point in found.points] == [
        (0.17, 5.0),
        (0.83, 1.125),
        (1.67, 0.1),
    ]


def test_without_a_timeline_the_times_of_the_answers_are_left() -> None:
    found = pace_of([], READINGS)
    assert found is not None
    assert ("99% of them", "at most 40 s") in found.facts
    assert ("tokens", "400 read and 80 generated, of 4 items") in found.facts
    assert pace_of([], None) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**7), st.integers(0, 1000)), max_size=400))
def test_any_timeline_has_a_bounded_picture_without_negative_rates(moments: list[tuple[float, int, int]]) -> None:
    found = pace_of(points(*moments), READINGS)
    assert found is not None
    assert len(found.points) <= MOST_POINTS + 1
    assert all(point.items_per_second >= 0 and point.minutes > 0 for point in found.points)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_work_that_was_done_before_is_no_throughput(count: int) -> None:
    found = pace_of(points(*((float(n), 1_000 + 10 * n, 1) for n in range(count))), None)
    assert found is not None
    assert {point.items_per_second for point in found.points} == {10.0}
