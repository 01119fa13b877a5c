"""Cutting items into chunks: every item once, in order, and decided by what came before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.planning.chunks import ChunkSizing, cut_chunks

costs = st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), max_size=300)
sizings = st.builds(
    ChunkSizing, target_cost=st.floats(min_value=0.1, max_value=1e6), max_items=st.integers(min_value=1, max_value=64)
)


def cut(values: list[float], sizing: ChunkSizing) -> list[list[float]]:
    return list(cut_chunks(values, lambda value: value, sizing))


@given(costs, sizings)
def test_every_item_is_in_one_chunk_in_order(values: list[float], sizing: ChunkSizing) -> None:
    assert [value for chunk in cut(values, sizing) for value in chunk] == values


@given(costs, sizings)
def test_no_chunk_is_empty_or_too_large(values: list[float], sizing: ChunkSizing) -> None:
    for chunk in cut(values, sizing):
        assert 1 <= len(chunk) <= sizing.max_items
        assert sum(chunk[:-1]) < sizing.target_cost


@given(costs, sizings)
def test_only_the_last_chunk_is_not_full(values: list[float], sizing: ChunkSizing) -> None:
    for chunk in cut(values, sizing)[:-1]:
        assert len(chunk) == sizing.max_items or sum(chunk) >= sizing.target_cost


@given(costs, costs, sizings)
def test_more_items_do_not_change_full_chunks(values: list[float], more: list[float], sizing: ChunkSizing) -> None:
    fewer, longer = cut(values, sizing), cut(values + more, sizing)

    full = fewer[:-1]
    assert longer[: len(full)] == full


def test_a_chunk_is_yielded_as_soon_as_it_is_full() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for value in range(10):
            drawn.append(value)
            yield value

    next(iter(cut_chunks(items(), lambda _: 1.0, ChunkSizing(target_cost=100, max_items=3))))

    assert drawn == [0, 1, 2]


@pytest.mark.parametrize(("target", "most"), [(0, 1), (-1, 1), (1, 0)])
def test_impossible_sizes_are_refused(target: float, most: int) -> None:
    with pytest.raises(ValueError, match="target cost above 0"):
        ChunkSizing(target, most)
