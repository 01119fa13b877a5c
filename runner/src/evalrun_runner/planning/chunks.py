"""Where chunks end: a pure function of the items' costs, decided item by item.

A chunk closes with the item that brings it to the target cost, or to the most items it may hold. What came before
decides, never what comes after: a longer run of items only adds chunks and fills up the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChunkSizing:
    """``target_cost`` is in the unit of ``Item.cost``, estimated tokens: a few seconds of a replica's work."""

    target_cost: float = 20_000.0
    max_items: int = 64

    def __post_init__(self) -> None:
        if not self.target_cost > 0 or self.max_items < 1:
            raise ValueError(f"a chunk needs a target cost above 0 and at least one item: {self}")


def cut_chunks(items: Iterable[T], cost: Callable[[T], float], sizing: ChunkSizing) -> Iterator[list[T]]:
    """The items of each chunk, as soon as it is full; none is empty. Holds one chunk's items at a time."""
    chunk: list[T] = []
    spent = 0.0
    for item in items:
        chunk.append(item)
        spent += cost(item)
        if spent >= sizing.target_cost or len(chunk) >= sizing.max_items:
            yield chunk
            chunk, spent = [], 0.0
    if chunk:
        yield chunk
