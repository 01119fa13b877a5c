"""The order in which documents are drawn: by a hash of seed, task and document number, the same on every machine.

The order has nothing to do with what a document is or costs. So the first documents of it are a random sample of all,
however many they are, and those of a larger sample hold those of a smaller one.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DrawnOrder:
    """Order of a run's items within each leaf task, and the shares of them after which the run is looked at."""

    seed: int
    looks: int
    """Number of looks, at equal shares of the items, the last one at all of them."""

    def key(self, task: str, doc_id: int) -> tuple[bytes, int]:
        """Return what the items of a task are sorted by."""
        return draw_key(self.seed, task, doc_id)

    def at_look(self, items: int, look: int) -> int:
        """Return how many of a task's items, in the drawn order, a look covers.

        Args:
            items: Number of the task's items.
            look: Number of the look, 1 to ``looks``.
        """
        return -(-items * look // self.looks)


@dataclass(frozen=True, slots=True)
class SampleDraw:
    """A random sample of the documents of each task."""

    seed: int
    size: int | None = None
    """Number of documents; None: the fraction says it."""
    fraction: float | None = None
    """Share of the documents, rounded up."""

    def select(self, task: str, documents: int) -> frozenset[int]:
        """Return the numbers of the drawn documents of a task with this many."""
        wanted = self.size if self.size is not None else math.ceil(round(documents * (self.fraction or 1.0), 9))
        if wanted >= documents:
            return frozenset(range(documents))
        return frozenset(sorted(range(documents), key=lambda doc_id: draw_key(self.seed, task, doc_id))[:wanted])


def draw_key(seed: int, task: str, doc_id: int) -> tuple[bytes, int]:
    """Return the key by which documents are drawn, the smallest one first: 64 bits of sha256, then the number."""
    return hashlib.sha256(f"{seed}\0{task}\0{doc_id}".encode()).digest()[:8], doc_id
