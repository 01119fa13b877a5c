"""Replica as the driver sees it: ``load``, then ``exchange`` until done. Does not depend on Ray.

Threads and queues only: what happens is told to ``ReplicaState``, and the actions that it returns are carried out.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from evalrun_runner.errors import EvalRunError, RunFailed
from evalrun_runner.machine import hardware
from evalrun_runner.records.messages import Lease, Order, Report, Telemetry
from evalrun_runner.replica.committing import Committer
from evalrun_runner.replica.intake import Intake
from evalrun_runner.replica.loading import EngineLoader, LoadedEngine
from evalrun_runner.replica.pump import Pump
from evalrun_runner.replica.state import (
    ChunkCommitted,
    ChunkDropped,
    ChunkOpened,
    CommitChunk,
    DrainRequested,
    DropChunk,
    EngineLoaded,
    EngineStopped,
    Event,
    ItemsEnded,
    OpenChunk,
    OrderReceived,
    ReplicaFailed,
    ReplicaState,
    RunItems,
    StopEngine,
    Vitals,
)
from evalrun_runner.replica.work import ChunkWork
from evalrun_runner.store.patient import PatientStore


class Replica:
    """Replica that runs leases on one engine.

    Its threads: the *caller* (``load``, then one ``exchange`` at a time), whoever calls ``drain``, *engine*, *intake*,
    and *commit*, which is the committer's own. The note under each field says who may touch it.
    """

    def __init__(
        self,
        name: str,
        state: ReplicaState,
        *,
        loader: EngineLoader,
        committer: Committer,
        store: PatientStore,
    ) -> None:
        self.name = name
        """Read by any thread; never written again."""
        self._changed = threading.Condition()
        """Guards the next three; notified after every event."""
        self._state = state
        """Any thread, under the lock."""
        self._works: dict[int, ChunkWork] = {}
        """Opened chunks by lease. Any thread, under the lock; what is in a work is the thread's that has it: intake's,
        then the engine's, then the committer's."""
        self._jobs: list[Callable[[Pump], None]] = []
        """Jobs for the engine's thread with its pump. Any thread, under the lock."""
        self._leases: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        """Leases to open; None ends the intake. Any thread puts, the intake's thread gets."""
        self._pump: Pump | None = None
        """Written once by the engine's thread, which alone drives it; any thread reads its counters."""
        self._facts: dict[str, object] = {}
        """Written by the engine's thread before the engine is loaded, read by the caller's after."""
        self._loader = loader
        """The caller's thread prepares, the engine's loads."""
        self._committer = committer
        """Any thread puts; the caller's starts it, the engine's closes it."""
        self._store = store
        """Any thread: guards itself."""

    def load(self) -> dict[str, object]:
        """Bring the model and load the engine; returns facts for the provenance. Raises ``EvalRunError``.

        Sets the environment of this process: nothing may have imported torch before.
        """
        self._loader.prepare()
        self._committer.start(lambda committed: self._tell(ChunkCommitted(committed)), self._fail)
        self._start(self._run_engine, "engine")
        with self._changed:
            self._changed.wait_for(lambda: self._state.loaded or self._state.failure is not None)
            if self._state.failure is not None:
                raise self._state.failure
            slots = self._state.max_num_seqs
        return {"pid": os.getpid(), "maxNumSeqs": slots, "hardware": hardware(), **self._facts}

    def exchange(self, order: Order, wait: float) -> Report:
        """Take an order; answer when there is something to say, at the latest after ``wait`` seconds."""
        with self._changed:
            self._handle(OrderReceived(order, wait))
            while not self._state.due(now := time.monotonic()):
                self._changed.wait(self._state.due_at - now)
            if self._state.failure is not None:
                raise self._state.failure
            return self._state.report(self._vitals())

    def drain(self) -> None:
        """Take nothing more, and commit what is complete within some 20 s; the next report returns the rest."""
        with self._changed:
            self._handle(DrainRequested())
            self._changed.wait_for(lambda: self._state.stopped, self._state.policy.leave_s)

    def _vitals(self) -> Vitals:
        pump = self._pump
        if pump is None:
            return Vitals(degraded=self._store.trouble, telemetry=Telemetry(store=self._store.stats))
        telemetry = Telemetry(pump.engine_stats, self._store.stats, pump.latencies)
        return Vitals(pump.tokens, pump.steps, pump.busy, self._store.trouble, telemetry)

    # -- events to actions -------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        with self._changed:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        """Let the state decide, and carry its actions out. The lock is held: actions keep their order."""
        for action in self._state.handle(event, time.monotonic()):
            match action:
                case OpenChunk(lease):
                    self._leases.put(lease)
                case RunItems(lease, rows):
                    self._run_items(self._works[lease], rows)
                case DropChunk(lease):
                    self._works.pop(lease, None)
                    self._drop(lease)
                case CommitChunk(lease):
                    self._committer.put(self._works.pop(lease))
                case StopEngine():
                    self._leases.put(None)
        self._changed.notify_all()

    def _run_items(self, work: ChunkWork, rows: tuple[int, ...]) -> None:
        def job(pump: Pump) -> None:
            for item in work.take(rows):
                pump.put(work, item)

        self._jobs.append(job)

    def _drop(self, lease: int) -> None:
        def job(pump: Pump) -> None:
            pump.drop(lease)
            self._tell(ChunkDropped(lease))

        self._jobs.append(job)

    def _fail(self, error: EvalRunError) -> None:
        self._tell(ReplicaFailed(error))

    # -- threads -----------------------------------------------------------------------------------------------------

    def _start(self, body: Callable[[], None], name: str) -> None:
        """Start a thread whose death is always reported."""

        def run() -> None:
            try:
                body()
            except EvalRunError as error:
                self._fail(error)
            except Exception as error:
                # An engine that broke cannot be used again; an actor that lived on would be asked for ever.
                if self._state.loaded:
                    logging.getLogger(__name__).critical("replica %s: the engine died", self.name, exc_info=error)
                    os._exit(1)
                self._fail(RunFailed(f"replica {self.name}: the engine could not be loaded: {error}"))

        threading.Thread(target=run, name=name, daemon=True).start()

    def _run_engine(self) -> None:
        loaded = self._loader.load()
        pump = self._pump = loaded.pump
        self._facts |= loaded.facts
        self._start(lambda: self._run_intake(loaded.intake), "intake")
        self._tell(EngineLoaded(loaded.engine.max_num_seqs))
        while (jobs := self._next_jobs(pump)) is not None:
            for job in jobs:
                job(pump)
            if ended := pump.turn():
                self._tell(ItemsEnded(tuple((work.lease.id, row) for work, row in ended)))
        self._stop(loaded)

    def _next_jobs(self, pump: Pump) -> list[Callable[[Pump], None]] | None:
        """Take over the pending jobs, sleeping while there are none; None means to leave."""
        with self._changed:
            if pump.idle:
                self._changed.wait_for(lambda: self._jobs or self._state.leaving)
            jobs, self._jobs = self._jobs, []
            return None if self._state.leaving else jobs

    def _stop(self, loaded: LoadedEngine) -> None:
        self._committer.close(self._state.policy.flush_s)
        self._store.stop_waiting()
        loaded.engine.close()
        self._tell(EngineStopped())

    def _run_intake(self, intake: Intake) -> None:
        while (lease := self._leases.get()) is not None:
            work = intake.open(lease)
            with self._changed:
                self._works[lease.id] = work
                self._handle(ChunkOpened(lease.id, tuple(item.row for item in work.ready)))
