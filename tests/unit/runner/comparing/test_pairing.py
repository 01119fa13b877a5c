"""Pairing: every item of one run meets the same item of the other once, whatever the order."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.comparing.pairing import pair, union

KEYS = st.lists(st.integers(0, 12), max_size=30)


def as_keys(numbers: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Spread small numbers as hashes are spread."""
    return np.array(numbers, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15 // 16)


@given(KEYS, KEYS)
def test_pairs_are_equal_and_as_many_as_there_can_be(first: list[int], second: list[int]) -> None:
    pairing = pair(as_keys(first), as_keys(second))
    assert [first[place] for place in pairing.first] == [second[place] for place in pairing.second]
    common = Counter(first) & Counter(second)
    assert Counter(first[place] for place in pairing.first) == common
    assert sorted([*pairing.first, *pairing.only_first]) == list(range(len(first)))
    assert sorted([*pairing.second, *pairing.only_second]) == list(range(len(second)))
    assert list(pairing.first) == sorted(pairing.first)


@given(KEYS)
def test_of_several_items_with_one_key_the_first_meets_the_first(numbers: list[int]) -> None:
    pairing = pair(as_keys([99, *numbers]), as_keys(numbers))
    assert pairing.second.tolist() == list(range(len(numbers)))
    assert pairing.first.tolist() == [place + 1 for place in range(len(numbers))]


@given(st.lists(st.dictionaries(st.integers(0, 20), st.floats(0, 1), min_size=1), min_size=2, max_size=4))
def test_many_runs_stand_on_all_their_items(runs: list[dict[int, float]]) -> None:
    matrix = union([as_keys(list(run)) for run in runs], [np.array(list(run.values())) for run in runs])
    every = sorted(set().union(*runs))
    assert matrix.shape == (len(runs), len(every))
    for row, run in zip(matrix, runs, strict=True):
        assert sorted(row[~np.isnan(row)]) == sorted(run.values())
    for column in matrix.T:
        assert not np.isnan(column).all()
    expected = np.array([[run.get(item, np.nan) for item in every] for run in runs])
    order = np.argsort(as_keys(every))
    same = all(list(run) == list(runs[0]) for run in runs)
    wanted = expected[:, [every.index(item) for item in runs[0]]] if same else expected[:, order]
    np.testing.assert_array_equal(matrix, wanted)
