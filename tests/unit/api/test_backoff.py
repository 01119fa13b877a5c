"""The formula of the waits between tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalrun_api.backoff import backoff


def test_wait_doubles_up_to_its_limit() -> None:
    assert [backoff(failures, 1.0, 10.0) for failures in range(7)] == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_no_number_of_failures_overflows() -> None:
    assert backoff(10**9, 0.5, 60.0) == 60.0


@given(
    failures=st.integers(1, 2_000),
    first=st.floats(0.01, 100),
    longest=st.floats(0.01, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_jitter_spreads_a_wait_over_its_upper_half(failures: int, first: float, longest: float, chance: float) -> None:
    whole = backoff(failures, first, longest)
    assert whole / 2 <= backoff(failures, first, longest, chance) <= whole <= longest
