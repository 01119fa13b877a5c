"""Division of items into chunks: a pure function of the items' costs, decided item by item.

A chunk ends with the item that reaches the target cost or the maximum number of items. Only earlier items matter, never
later ones: more items only fill up the last chunk and add chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from evalrun_runner.records.draw import DrawnOrder

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChunkSizing:
    """Size of chunks, and the order of the items that they are cut from."""

    target_cost: float = 20_000.0
    """Cost at which a chunk ends, in estimated tokens as ``Item.cost``: a few seconds of a replica's work."""
    max_items: int = 64
    """Maximum number of items in a chunk."""
    order: DrawnOrder | None = None
    """Drawn order of each task's items, with looks beyond which no chunk goes; None: the order of the documents."""

    def __post_init__(self) -> None:
        if not self.target_cost > 0 or self.max_items < 1:
            raise ValueError(f"a chunk needs a target cost above 0 and at least one item: {self}")


def cut_chunks(items: Iterable[T], cost: Callable[[T], float], sizing: ChunkSizing) -> Iterator[list[T]]:
    """Yield the items of each chunk as soon as it is full, with at most one chunk's items in memory; none is empty."""
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
