"""Reading of many objects in order, a bounded number of them ahead: what bounds the memory of a pass over all parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READERS, READ_AHEAD = 8, 16
"""Threads that read, and objects that are read and not yet looked at."""

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Iterable[T], read: Callable[[T], R], *, readers: int = READERS, ahead: int = READ_AHEAD
) -> Generator[R, None, None]:
    """Call ``read`` for each item on threads, and yield the answers in the order of the items.

    Args:
        items: What is read, such as keys.
        read: Reads one of them. The error that it raises is raised in the answer's place, and ends the iteration.
        readers: Number of threads.
        ahead: Answers that may wait to be yielded.
    """
    with ThreadPoolExecutor(readers, thread_name_prefix="read") as threads:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(read, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Who stops early does not wait for reads that nobody looks at.
            for future in waiting:
                future.cancel()
