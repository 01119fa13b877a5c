"""The engine's loop: feed it, step it, collect what ends. One thread; touches nothing but work and engine."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from evalrun_api.metrics.driver import REQUEST_SECONDS
from evalrun_runner.engine.protocol import Engine, Output, RequestRefused
from evalrun_runner.records.messages import EngineStats, Latencies
from evalrun_runner.records.results import ItemStatus, Outcome
from evalrun_runner.replica.work import ChunkWork, ItemWork


class Pump:
    """Pump that keeps the engine busy with the items of its chunks.

    ``backlog``: how many calls may wait inside the engine beyond those it batches, so that a slot that becomes free is
    filled in the same step. ``item_deadline``: seconds after which an item in the engine is given up as failed.
    """

    def __init__(self, engine: Engine, *, item_deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._deadline = item_deadline
        self._clock = clock
        self._limit = 2 * engine.max_num_seqs
        self._waiting: deque[tuple[ChunkWork, ItemWork]] = deque()
        self._running: dict[str, tuple[ChunkWork, ItemWork, int, float]] = {}
        self._items: dict[ItemWork, ChunkWork] = {}
        self._next_id = 0
        self._next_check = 0.0
        self.steps = 0
        self.tokens = 0
        self._answered = [0] * (len(REQUEST_SECONDS.buckets) + 1)
        self._answer_seconds = 0.0

    @property
    def engine_stats(self) -> EngineStats:
        """State and counters of the engine; thread-safe."""
        return self._engine.stats()

    @property
    def latencies(self) -> Latencies:
        """Latencies of answered calls; thread-safe."""
        return Latencies(tuple(self._answered), self._answer_seconds)

    @property
    def busy(self) -> bool:
        """Whether the engine holds calls."""
        return bool(self._running)

    @property
    def idle(self) -> bool:
        """Whether there is no work at all."""
        return not self._running and not self._waiting

    @property
    def waiting_items(self) -> int:
        """Number of items that the engine has not received yet."""
        return len(self._waiting)

    @property
    def running_items(self) -> int:
        """Number of items in the engine."""
        return len(self._items)

    def put(self, work: ChunkWork, item: ItemWork) -> None:
        """Queue an item."""
        self._waiting.append((work, item))

    def drop(self, lease: int) -> None:
        """Drop a lease's items, because another replica has committed its chunk or it is returned."""
        self._waiting = deque(entry for entry in self._waiting if entry[0].lease.id != lease)
        for item in [item for item, work in self._items.items() if work.lease.id == lease]:
            self._abort(item)

    def turn(self) -> list[tuple[ChunkWork, int]]:
        """Feed, step once, and return the rows that ended in it, each with its chunk."""
        ended: list[tuple[ChunkWork, int]] = []
        while self._waiting and len(self._running) < self._limit:
            ended += self._feed(*self._waiting.popleft())
        if self._running:
            for call_id, output in self._engine.step():
                ended += self._collect(call_id, output)
            self.steps += 1
            ended += self._give_up_late()
        return ended

    def _feed(self, work: ChunkWork, item: ItemWork) -> list[tuple[ChunkWork, int]]:
        item.started = self._clock()
        self._items[item] = work
        for number, call in enumerate(item.plan.calls):
            call_id = str(self._next_id)
            self._next_id += 1
            try:
                self._engine.add(call_id, call)
            except RequestRefused as error:
                self._abort(item)
                work.settle(item.row, Outcome(ItemStatus.FAILED, error=f"RefusedByEngine: {error}"))
                return [(work, item.row)]
            self._running[call_id] = (work, item, number, item.started)
        return self._finish(work, item) if item.complete else []

    def _collect(self, call_id: str, output: Output) -> list[tuple[ChunkWork, int]]:
        entry = self._running.pop(call_id, None)
        if entry is None:
            return []
        work, item, number, started = entry
        item.outputs[number] = output
        item.seconds[number] = seconds = self._clock() - started
        self._answered[bisect_left(REQUEST_SECONDS.buckets, seconds)] += 1
        self._answer_seconds += seconds
        self.tokens += output.prompt_tokens + output.output_tokens
        return self._finish(work, item) if item.complete else []

    def _finish(self, work: ChunkWork, item: ItemWork) -> list[tuple[ChunkWork, int]]:
        del self._items[item]
        work.settle(item.row, item.outcome())
        return [(work, item.row)]

    def _give_up_late(self) -> list[tuple[ChunkWork, int]]:
        now = self._clock()
        if now < self._next_check:
            return []
        self._next_check = now + min(1.0, self._deadline / 10)
        late = [(item, work) for item, work in self._items.items() if now - item.started > self._deadline]
        for item, work in late:
            self._abort(item)
            error = f"DeadlineExceeded: no answer within {self._deadline:g} s in the engine"
            work.settle(item.row, Outcome(ItemStatus.FAILED, error=error))
        return [(work, item.row) for item, work in late]

    def _abort(self, item: ItemWork) -> None:
        calls = [call_id for call_id, entry in self._running.items() if entry[1] is item]
        for call_id in calls:
            del self._running[call_id]
        self._items.pop(item, None)
        self._engine.abort(calls)
