"""An event loop whose clock jumps to the next timer: minutes of waiting pass in no time, and always the same way."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at time 0. For code that waits for timers and other tasks, not for sockets or threads."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """Run what is ready, else what is due next: the base class's turn, without a selector that could wait."""
        ready, scheduled = self._ready, self._scheduled
        while scheduled and (scheduled[0].cancelled() or scheduled[0].when() <= self._now or not ready):
            timer = heapq.heappop(scheduled)
            if timer.cancelled():
                continue
            self._now = max(self._now, timer.when())
            ready.append(timer)
        if not ready:
            raise AssertionError("everything waits and no timer is set: this would hang for ever")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()


def run(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
