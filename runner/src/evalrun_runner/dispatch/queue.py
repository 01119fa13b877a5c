"""The pending order: costly chunks first, and a replica stays with its leaf task while that is nearly as costly.

Costliest first (LPT) makes the tail of the run short; staying with a task makes use of the prefix cache. Chunks are
put into cost classes, a few to each doubling of cost; within the costliest class tasks take turns among the replicas
that change over, so that the replicas spread over the prefix groups.
"""

from __future__ import annotations

import math
from array import array
from collections import deque

from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.dispatch.table import ChunkTable

_COMPACT_AT = 1024


class _Bucket:
    """Chunk indexes of one task and one cost class, first in first out, returned work before all else."""

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
    """The chunks in state PENDING, in the order in which they are to be leased.

    Entries are not searched for when a chunk leaves the state by another way (a zombie's late commit): an entry whose
    chunk is not pending any more is dropped when it comes up.
    """

    def __init__(self, table: ChunkTable, policy: DispatchPolicy) -> None:
        self._table = table
        self._policy = policy
        self._classes: dict[int, dict[int, _Bucket]] = {}
        """cost class -> task -> bucket; never an empty class."""

    def push(self, index: int) -> None:
        """Add new work behind its like."""
        self._bucket(index).append(index)

    def push_front(self, index: int) -> None:
        """Add work that came back before its like: it has waited longest."""
        self._bucket(index).append_front(index)

    def take(self, index: int) -> None:
        """Remove the chunk that ``peek`` has just returned, and give the next change-over another task."""
        cost_class, task = self._cost_class(index), self._table.task(index)
        tasks = self._classes[cost_class]
        bucket = tasks.pop(task)
        bucket.drop()
        if bucket.peek() is not None:
            tasks[task] = bucket
        elif not tasks:
            del self._classes[cost_class]

    def peek(self, task: int | None) -> int | None:
        """The chunk that a replica on ``task`` is to run next, or None if nothing is pending."""
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
        """The first chunk of a bucket that is still pending; drops what is not, and buckets that are empty."""
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
