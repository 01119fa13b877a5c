"""The drawn order: the same everywhere, cut at the looks, and a random sample at every prefix."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.drawn import cut_drawn
from evalrun_runner.records.draw import DrawnOrder, SampleDraw, draw_key
from evalrun_runner.records.plan import Item
from support.builders import generate, make_item

LOOKS = 5


def items(count: int, cost: float = 1.0) -> list[Item]:
    return [make_item(generate(f"q{number}"), doc_id=number, cost=cost) for number in range(count)]


@given(count=st.integers(1, 200), looks=st.integers(2, 20), max_items=st.integers(1, 64))
def test_every_item_is_in_one_chunk_and_every_look_ends_one(count: int, looks: int, max_items: int) -> None:
    order = DrawnOrder(7, looks)
    chunks = list(cut_drawn(items(count), ChunkSizing(1e9, max_items, order)))
    drawn = [item.doc_id for chunk in chunks for item in chunk]
    assert sorted(drawn) == list(range(count))
    assert drawn == sorted(drawn, key=lambda doc_id: order.key("t", doc_id))
    ends = set(accumulate(map(len, chunks)))
    assert {order.at_look(count, look) for look in range(1, looks + 1)} <= ends
    assert max(map(len, chunks)) <= max_items


def test_the_order_of_the_input_does_not_matter() -> None:
    sizing = ChunkSizing(1e9, 8, DrawnOrder(7, LOOKS))
    shuffled = items(50)
    random.Random(1).shuffle(shuffled)
    assert list(cut_drawn(shuffled, sizing)) == list(cut_drawn(items(50), sizing))


def test_the_order_is_the_same_on_every_machine() -> None:
    """Pinned: an order that changes with a version would break the resumption of every run that may stop early."""
    assert sorted(range(8), key=lambda doc_id: draw_key(1234, "gsm8k", doc_id)) == [5, 7, 6, 4, 2, 1, 0, 3]


@pytest.mark.parametrize("seed", range(5))
def test_the_places_of_documents_are_uniform(seed: int) -> None:
    """What comes first says nothing of the document: the first half of the documents is spread over the whole order."""
    drawn = sorted(range(2000), key=lambda doc_id: draw_key(seed, "t", doc_id))
    places = [place / 2000 for place, doc_id in enumerate(drawn) if doc_id < 1000]
    assert kstest(places, "uniform").pvalue > 0.001


@given(documents=st.integers(1, 300), size=st.integers(1, 400), seed=st.integers(0, 2**32 - 1))
def test_a_sample_has_its_size_and_a_smaller_one_is_a_part_of_it(documents: int, size: int, seed: int) -> None:
    chosen = SampleDraw(seed, size=size).select("t", documents)
    assert len(chosen) == min(size, documents)
    assert chosen <= set(range(documents))
    assert SampleDraw(seed, size=max(1, size // 2)).select("t", documents) <= chosen


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 10), (0.101, 11), (1.0, 100), (0.001, 1), (0.29, 29)])
def test_a_fraction_is_rounded_up(fraction: float, expected: int) -> None:
    assert len(SampleDraw(1, fraction=fraction).select("t", 100)) == expected
