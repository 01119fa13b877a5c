"""Stop a run once its verdicts are decided: looks at complete prefixes, recorded before any work is cancelled.

1. A look is due when every chunk of its prefix (``look_schedule``) has ended, not when so many items have.
2. A thread judges the prefix, while replicas go on: what they finish meanwhile does not count if the run stops.
3. The decision is created in the ledger as ``stopped.json``. Only then the dispatcher skips what lies beyond it.

A driver that dies before 3 has decided nothing: the next one looks again at the same items and finds the same. One that
dies after it leaves the record, which the next one reads before it plans. Nothing is lost or counted twice: parts
beyond the prefix stay in the ledger, where a run that resumes from this one finds them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from evalrun_api.wire.outputs import StopCause, StopRecord
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.driver.look_schedule import LookSchedule
from evalrun_runner.records.plan import Chunk


@dataclass(frozen=True, slots=True)
class StopFound:
    """What decides that a run stops."""

    cause: StopCause
    asked: tuple[Mapping[str, object], ...] = ()
    """Gates as they were asked."""
    gates: tuple[Mapping[str, object], ...] = ()
    """Their verdicts."""


@dataclass(frozen=True, slots=True)
class DamagedPrefix:
    """Chunks of a prefix whose parts are damaged or missing: they have to be run again."""

    chunks: tuple[Chunk, ...]


class PrefixJudge(Protocol):
    """Judge of a part of a run. Reads the ledger; called in a thread of its own, one call at a time."""

    @property
    def looks(self) -> int:
        """Number of looks; none is taken at the last one, where the run ends anyhow."""

    def look(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """Judge a look; None: the run goes on."""

    def check(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """Check whether the rest can change a verdict; ``look`` is the last one within the prefix, 0 for none."""


class StopLedger(Protocol):
    """What an early stop needs of the ledger."""

    def recorded_stop(self) -> StopRecord | None:
        """Read which part of the plan the run is made of; None: all of it."""

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        """Record that the run stops early, and return the record that counts: the first one."""

    def set_aside(self, chunk: Chunk, epoch: int) -> bool:
        """Move a damaged part to ``corrupt/``."""


Submit = Callable[[Callable[[], "StopRecord | DamagedPrefix | None"]], "Future[StopRecord | DamagedPrefix | None]"]
"""Runs a call elsewhere: in a thread, or in a test at once."""


def in_thread() -> Submit:
    """Return how calls are run in one thread, which is started with the first of them."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="look")
    return executor.submit


@dataclass
class EarlyStopping:
    """Early stop of one driver. All but the judge and the ledger is touched by the loop's thread only."""

    dispatcher: Dispatcher
    ledger: StopLedger
    judge: PrefixJudge | None
    """None: the run does not stop, unless an earlier driver has decided so."""
    epoch: int
    log: Callable[[str], None]
    reopen: Callable[[tuple[Chunk, ...]], None]
    """Lets replicas run chunks again whose parts were set aside."""
    clock: Callable[[], float] = time.monotonic
    submit: Submit = field(default_factory=in_thread)
    """Runs a look beside the loop."""
    _schedule: LookSchedule | None = None
    _running: Future[StopRecord | DamagedPrefix | None] | None = None
    _looked: int = 0
    """Last look that was taken."""
    _checked: int = 0
    """Last position of which was checked what the rest can change."""
    _stopped: bool = False

    def begin(self) -> StopRecord | None:
        """Stop at once where an earlier driver has decided so; return its record."""
        record = self.ledger.recorded_stop()
        if record is not None:
            self._apply(record)
        return record

    def step(self) -> None:
        """Take in what a look has found, and begin the next one that is due. Never waits."""
        judge = self.judge
        if self._stopped or judge is None or not self.dispatcher.all_planned:
            return
        if self._running is not None:
            if not self._running.done():
                return
            self._take(self._running)
        if not self._stopped and not self.dispatcher.finished:
            self._begin_next(judge)

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way, for which ``settle`` would wait."""
        return self._running is not None and not self._running.done()

    def settle(self) -> StopRecord | None:
        """Wait for a look that is under way, once the loop has ended, and return what the run is made of.

        Returns:
            The record; None if the run is made of the whole plan.
        """
        if self._running is not None and not self._stopped:
            self._take(self._running)
        return self.begin()

    def _begin_next(self, judge: PrefixJudge) -> None:
        schedule = self._schedule or LookSchedule(self.dispatcher.chunks(), judge.looks)
        self._schedule = schedule
        position = schedule.advance(self.dispatcher.has_ended)
        look = min(schedule.newest_look(position), judge.looks - 1)
        if look > self._looked:
            # One after the other, also where several are due: whichever driver looks, and when, finds the same.
            self._looked += 1
            self._run(schedule, schedule.position_of(self._looked), self._looked, judge.look)
        elif position < schedule.end and schedule.check_due(position, self._checked):
            self._checked = position
            self._run(schedule, position, look, judge.check)

    def _run(
        self,
        schedule: LookSchedule,
        position: int,
        look: int,
        judge: Callable[[Mapping[str, int], int], StopFound | DamagedPrefix | None],
    ) -> None:
        prefix = schedule.prefix(position)
        evaluated, planned = schedule.items(position), schedule.items(schedule.end)

        def call() -> StopRecord | DamagedPrefix | None:
            found = judge(prefix, look)
            if isinstance(found, DamagedPrefix):
                for chunk in found.chunks:
                    self.ledger.set_aside(chunk, self.epoch)
            if not isinstance(found, StopFound):
                return found
            record = StopRecord(
                cause=found.cause,
                look=look,
                looks=0 if self.judge is None else self.judge.looks,
                chunks=dict(prefix),
                evaluated=evaluated,
                planned=planned,
                asked=[dict(gate) for gate in found.asked],
                gates=[dict(gate) for gate in found.gates],
                epoch=self.epoch,
            )
            return self.ledger.record_stop(self.epoch, record)

        self._running = self.submit(call)

    def _take(self, running: Future[StopRecord | DamagedPrefix | None]) -> None:
        self._running = None
        found = running.result()
        if isinstance(found, DamagedPrefix):
            self.log(f"{len(found.chunks)} damaged parts were set aside under corrupt/; their chunks are redone")
            self._looked = self._checked = 0
            if self._schedule is not None:
                self._schedule.rewind()
            # Whatever runs again already is not to be begun anew: its lease would never end.
            self.reopen(tuple(chunk for chunk in found.chunks if self.dispatcher.has_ended(chunk.id)))
        elif found is not None:
            self._apply(found)

    def _apply(self, record: StopRecord) -> None:
        if not self._stopped:
            self._stopped = True
            self.dispatcher.stop_after(record.chunks, self.clock())
            self.log(f"the run stops early: {record.message}")
