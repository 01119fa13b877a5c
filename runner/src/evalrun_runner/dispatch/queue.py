"""Order of pending chunks: expensive ones first, or as they were drawn.

Expensive ones first, but a replica keeps its leaf task while that is nearly as expensive.

The most expensive first (longest processing time, LPT) keeps the tail of the run short; keeping the task uses the
prefix cache. Chunks are grouped into cost classes, a few per doubling of cost. In the most expensive class, replicas
that change their task take tasks in turn, so that the replicas spread over the prefix groups.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import deque

from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.dispatch.table import ChunkTable

_COMPACT_AT = 1024


class _Bucket:
    """Chunk indexes of one task and cost class, first in, first out, with returned chunks before all others."""

    __slots__ = ("_back", "_front", "_head")

    def __init__(self) -> None:
        self._front: deque[int] = deque()
        self._back = array("I")
        self._head = 0

    def append(self, index: int) -> None:
        self._back.append(index)

    def append_front(self, index: int) -> None:
        self._front.append(index)

    def peek(self) -> int | None:
        if self._front:
            return self._front[0]
        return self._back[self._head] if self._head < len(self._back) else None

    def drop(self) -> None:
        if self._front:
            self._front.popleft()
            return
        self._head += 1
        if self._head >= _COMPACT_AT and 2 * self._head >= len(self._back):
            del self._back[: self._head]
            self._head = 0


class PendingQueue:
    """Chunks in state PENDING, in the order of leasing.

    If a chunk leaves the state another way (a late commit of a replica that was given up), its entry is not searched
    for, but dropped when it reaches the front.
    """

    def __init__(self, table: ChunkTable, policy: DispatchPolicy) -> None:
        self._table = table
        self._policy = policy
        self._classes: dict[int, dict[int, _Bucket]] = {}
        """Map from cost class to task to bucket; no class is ever empty."""

    def push(self, index: int, place: float) -> None:
        """Add a new chunk at the back of its bucket."""
        self._bucket(index).append(index)

    def push_front(self, index: int) -> None:
        """Add a returned chunk at the front of its bucket, because it has waited longest."""
        self._bucket(index).append_front(index)

    def take(self, index: int) -> None:
        """Remove the chunk that ``peek`` has just returned, and let the next replica that changes take another task."""
        cost_class, task = self._cost_class(index), self._table.task(index)
        tasks = self._classes[cost_class]
        bucket = tasks.pop(task)
        bucket.drop()
        if bucket.peek() is not None:
            tasks[task] = bucket
        elif not tasks:
            del self._classes[cost_class]

    def peek(self, task: int | None) -> int | None:
        """Return the next chunk for a replica that works on ``task``, or None if nothing is pending."""
        while self._classes:
            top = max(self._classes)
            if task is not None:
                for cost_class in range(top, top - self._policy.similar_classes - 1, -1):
                    index = self._head(cost_class, task)
                    if index is not None:
                        return index
            tasks = self._classes.get(top)
            if tasks:
                index = self._head(top, next(iter(tasks)))
                if index is not None:
                    return index
        return None

    def _head(self, cost_class: int, task: int) -> int | None:
        """Return the first pending chunk of a bucket, dropping entries that are not pending and empty buckets."""
        tasks = self._classes.get(cost_class)
        bucket = tasks.get(task) if tasks else None
        if tasks is None or bucket is None:
            return None
        while (index := bucket.peek()) is not None:
            if self._table.is_pending(index):
                return index
            bucket.drop()
        del tasks[task]
        if not tasks:
            del self._classes[cost_class]
        return None

    def _bucket(self, index: int) -> _Bucket:
        tasks = self._classes.setdefault(self._cost_class(index), {})
        return tasks.setdefault(self._table.task(index), _Bucket())

    def _cost_class(self, index: int) -> int:
        return math.floor(math.log2(max(self._table.cost(index), 1.0)) * self._policy.classes_per_doubling)


class DrawnQueue:
    """Chunks in state PENDING in the order in which their items were drawn, the tasks side by side.

    A look at a part of the run is valid only where that part was chosen by chance: which items end first must not
    depend on their cost. So nothing but the place counts here, and the tail of the run is somewhat longer.
    """

    def __init__(self, table: ChunkTable) -> None:
        self._table = table
        self._places = array("d")
        """Place by index."""
        self._heap: list[tuple[float, int]] = []
        """Entries (place, index); those that are not pending any more are dropped when they reach the front."""

    def push(self, index: int, place: float) -> None:
        """Add a new chunk."""
        self._places.extend([0.0] * (index + 1 - len(self._places)))
        self._places[index] = place
        self.push_front(index)

    def push_front(self, index: int) -> None:
        """Add a returned chunk at its place, which is before most others."""
        heapq.heappush(self._heap, (self._places[index], index))

    def take(self, index: int) -> None:
        """Remove the chunk that ``peek`` has just returned."""
        assert self._heap[0][1] == index, "peek has just returned it"
        heapq.heappop(self._heap)

    def peek(self, task: int | None) -> int | None:
        """Return the next chunk, or None if nothing is pending; the replica's task does not matter."""
        while self._heap:
            index = self._heap[0][1]
            if self._table.is_pending(index):
                return index
            heapq.heappop(self._heap)
        return None
