"""Prefixes of a run in the drawn order: which chunks they hold, and which of them are complete. Pure.

Every leaf task is drawn by itself. Chunks of different tasks are ordered by the share of their task's items before
them, so that a prefix holds about the same share of every task. Look k of K is taken on the prefix of the first k/K of
each task's items, which ends a chunk in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from evalrun_runner.records.plan import Chunk

_SCALE = 2**80
"""Shares are compared as whole numbers of this: two shares of fewer than 2^40 items never fall together."""
CHECKS = 20
"""Number of shares of the run, at most, after which it is checked whether the rest can change anything."""


class LookSchedule:
    """Chunks of a planned run by their shares, and how many of the first ones have ended.

    A position is a number of first chunks.
    """

    def __init__(self, chunks: Iterable[Chunk], looks: int) -> None:
        """Order the chunks.

        Args:
            chunks: All chunks of the run; those of a task by their numbers.
            looks: Number of looks, the last one at the end.
        """
        ordered: list[tuple[int, int, Chunk]] = []
        for place, (_, of_task) in enumerate(groupby(chunks, key=lambda chunk: chunk.task)):
            mine = list(of_task)
            total, before = sum(chunk.items for chunk in mine), 0
            for chunk in mine:
                ordered.append((before * _SCALE // total, place, chunk))
                before += chunk.items
        ordered.sort(key=lambda entry: (entry[0], entry[1], entry[2].number))
        self._chunks = [chunk for _, _, chunk in ordered]
        shares = [share for share, _, _ in ordered]
        self._looks = [sum(share < _SCALE * look // looks for share in shares) for look in range(1, looks + 1)]
        self._items = [0]
        for chunk in self._chunks:
            self._items.append(self._items[-1] + chunk.items)
        self._position = 0

    @property
    def end(self) -> int:
        """Position at which the whole run is complete."""
        return len(self._chunks)

    def advance(self, has_ended: Callable[[tuple[str, int]], bool]) -> int:
        """Return the position up to which every chunk has ended, at least the last one returned.

        Args:
            has_ended: Whether a chunk is committed, by its id.
        """
        while self._position < self.end and has_ended(self._chunks[self._position].id):
            self._position += 1
        return self._position

    def rewind(self) -> None:
        """Begin anew to look for chunks that have ended, since some have to be run again."""
        self._position = 0

    def position_of(self, look: int) -> int:
        """Return the position of a look, 1 to the number of looks."""
        return self._looks[look - 1]

    def newest_look(self, position: int) -> int:
        """Return the last look whose prefix is complete at a position; 0: none is."""
        return sum(at <= position for at in self._looks)

    def items(self, position: int) -> int:
        """Return the number of items before a position."""
        return self._items[position]

    def check_due(self, position: int, last: int) -> bool:
        """Return whether enough items have ended since the last check of what the rest can change."""
        return position > last and (self._items[position] - self._items[last]) * CHECKS >= self._items[-1]

    def prefix(self, position: int) -> Mapping[str, int]:
        """Return the number of first chunks of each task before a position."""
        counts = dict.fromkeys((chunk.task for chunk in self._chunks), 0)
        for chunk in self._chunks[:position]:
            counts[chunk.task] += 1
        return counts
