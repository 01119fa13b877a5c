"""A replica as the driver sees it: ``load``, then ``exchange`` until done. Knows nothing of Ray."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalrun_api.status.conditions import Reason
from evalrun_runner.engine.mock import ByteTokenizer, MockEngine, MockSettings
from evalrun_runner.engine.protocol import Engine
from evalrun_runner.engine.requests import Forms
from evalrun_runner.engine.tokens import TextCodec, load_tokenizer
from evalrun_runner.engine.vllm import VllmEngine, VllmSettings, prepare_environment
from evalrun_runner.errors import EvalRunError, RunFailed, blaming
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.machine import hardware, usable_cpus
from evalrun_runner.models.types import ModelSource
from evalrun_runner.records.messages import Committed, Lease, Order, Report, Telemetry
from evalrun_runner.replica.committing import Committer
from evalrun_runner.replica.intake import Intake
from evalrun_runner.replica.model import bring_model
from evalrun_runner.replica.pump import Pump
from evalrun_runner.replica.scoring import ScoringProcess
from evalrun_runner.replica.work import ChunkWork, ItemWork
from evalrun_runner.store.open import StoreSpec, open_store
from evalrun_runner.store.patient import PatientStore

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe

SPOOL_CHUNKS = 8
"""Completed chunks that may wait for the store before the replica takes no more work."""
BACKLOG_ITEMS = 64
"""Items held beyond a full batch, so that the engine never waits for the driver: about one chunk."""
HUNGRY_ITEMS = 32
"""Wanted items that are worth a message of their own."""
FLUSH_SECONDS = 20.0
"""For committing what is complete when told to leave."""


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """Everything a replica needs; picklable."""

    store: StoreSpec
    engine: VllmSettings | MockSettings
    recipes: Mapping[str, TaskRecipe]
    seed: int
    model: ModelSource | None = None
    """What is brought to this machine for the engine; None: it is where the engine's settings say, or not needed."""
    cache_dir: str | None = None
    """Where to; None: this machine's own cache."""
    fast: bool = True
    """``numerics: fast``; False asks in lm-eval's own forms."""
    carried: bool = False
    """The run goes on from an earlier one: of some chunks a part of the items is there."""
    item_deadline: float = 1800.0
    """Seconds in the engine after which an item is given up."""
    store_patience: float = 600.0
    """Seconds for which the store may refuse before the run fails."""


@dataclass(slots=True)
class _Isolated:
    """An isolated chunk: its items go one by one, each only after the driver has heard of it."""

    work: ChunkWork
    item: ItemWork | None = None
    told: bool = False
    """The item's announcement is on its way."""
    heard: bool = False
    """An order came after it: the driver knows."""
    running: bool = False

    @property
    def may_start(self) -> bool:
        """Whether the item is to be given to the engine now."""
        return self.item is not None and self.heard and not self.running

    @property
    def ended(self) -> bool:
        """Whether the current item has its end, or there is none."""
        return self.item is None or self.item.row in self.work.outcomes

    def next(self) -> bool:
        """Go to the next item; False if there is none."""
        self.told = self.heard = self.running = False
        self.item = self.work.ready.pop(0) if self.work.ready else None
        return self.item is not None


@dataclass(slots=True)
class _State:
    """What the threads share, under one lock."""

    committed: list[Committed] = field(default_factory=list)
    opened: list[ChunkWork] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    to_open: int = 0
    isolated: _Isolated | None = None
    held: set[int] = field(default_factory=set)
    """Ids of the leases that were neither committed nor cancelled."""
    fed: bool = False
    """The last order brought leases: there may be more."""
    leaving: bool = False
    draining: bool = False
    """Its machine asks it to leave, not the driver."""
    failure: EvalRunError | None = None


class Replica:
    """Runs leases on one engine. ``name`` is recorded as the writer of its parts."""

    def __init__(self, name: str, settings: ReplicaSettings) -> None:
        self.name = name
        self._settings = settings
        self._state = _State()
        self._changed = threading.Condition()
        self._leases: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._stop_waiting = threading.Event()
        self._store = PatientStore(open_store(settings.store), settings.store_patience, self._stop_waiting)
        self._ledger = Ledger(self._store)
        self._loaded = threading.Event()
        self._left = threading.Event()
        self._pump: Pump | None = None
        self._max_num_seqs = 0
        self._facts: dict[str, object] = {}
        engine = "vllm" if isinstance(settings.engine, VllmSettings) else "mock"
        self._committer = Committer(
            self._ledger,
            ScoringProcess(settings.recipes),
            writer=Writer(name, engine),
            on_commit=self._on_commit,
            on_failure=self._fail,
        )

    def load(self) -> dict[str, object]:
        """Bring the model and load the engine; returns facts for the provenance. Raises ``EvalRunError``.

        Sets the environment of this process: nothing may have imported torch before.
        """
        if isinstance(self._settings.engine, VllmSettings):
            os.environ.update(prepare_environment(self._settings.engine, usable_cpus()))
        self._committer.start()
        threading.Thread(target=self._guard(self._engine_loop), name="engine", daemon=True).start()
        self._loaded.wait()
        if self._state.failure is not None:
            raise self._state.failure
        return {"pid": os.getpid(), "maxNumSeqs": self._max_num_seqs, "hardware": hardware(), **self._facts}

    def exchange(self, order: Order, wait: float) -> Report:
        """Take an order; answer when there is something to say, at the latest after ``wait`` seconds."""
        deadline = time.monotonic() + wait
        with self._changed:
            self._take(order)
            self._changed.wait_for(self._has_news, timeout=max(0.0, deadline - time.monotonic()))
            draining = self._state.draining
            # Where a drained replica could not commit, others will: what it held goes back either way.
            if self._state.failure is not None and not draining:
                raise self._state.failure
        if order.done or draining:
            self._left.wait(FLUSH_SECONDS + 5.0)
        with self._changed:
            # Only a report that has waited for what was being committed may be the last one.
            return self._report(last=draining)

    def drain(self) -> None:
        """Take nothing more, and commit what is complete within some 20 s; the next report gives back the rest."""
        with self._changed:
            self._state.draining = True
            self._leave()
        self._left.wait(FLUSH_SECONDS + 5.0)

    def _leave(self) -> None:
        self._state.leaving = True
        self._leases.put(None)
        self._changed.notify_all()

    def _take(self, order: Order) -> None:
        state = self._state
        state.held |= {lease.id for lease in order.leases}
        state.held -= set(order.cancel)
        if state.isolated is not None and state.isolated.told:
            state.isolated.heard = True
        state.fed = bool(order.leases)
        for lease in order.leases:
            state.to_open += lease.chunk.items
            self._leases.put(lease)
        state.cancelled.extend(order.cancel)
        if order.done:
            self._leave()
        self._changed.notify_all()

    def _has_news(self) -> bool:
        state = self._state
        untold = state.isolated is not None and state.isolated.item is not None and not state.isolated.told
        hungry = state.fed and self._wants() >= HUNGRY_ITEMS
        return bool(state.committed or state.failure or state.leaving or untold or hungry)

    def _wants(self) -> int:
        state, pump = self._state, self._pump
        if pump is None or state.leaving or state.isolated or self._committer.pending >= SPOOL_CHUNKS:
            return 0
        held = state.to_open + sum(len(work.ready) for work in state.opened) + pump.waiting_items + pump.running_items
        return max(0, self._max_num_seqs + BACKLOG_ITEMS - held)

    def _report(self, *, last: bool) -> Report:
        state, pump = self._state, self._pump
        committed, state.committed = tuple(state.committed), []
        isolated = state.isolated
        announced = None
        if isolated is not None and isolated.item is not None:
            announced = (isolated.work.lease.id, isolated.item.row)
            isolated.told = True
        return Report(
            committed=committed,
            returned=tuple(sorted(state.held)) if last else (),
            announced=announced,
            tokens=0 if pump is None else pump.tokens,
            steps=0 if pump is None else pump.steps,
            busy=pump is not None and pump.busy,
            wants=self._wants(),
            degraded=self._store.trouble,
            leaving=last,
            telemetry=self._telemetry(),
        )

    def _telemetry(self) -> Telemetry:
        if self._pump is None:
            return Telemetry(store=self._store.stats)
        return Telemetry(self._pump.engine_stats, self._store.stats, self._pump.latencies)

    def _on_commit(self, committed: Committed) -> None:
        with self._changed:
            self._state.committed.append(committed)
            self._state.held.discard(committed.lease)
            self._changed.notify_all()

    def _fail(self, error: EvalRunError) -> None:
        with self._changed:
            self._state.failure = error
            self._changed.notify_all()
        self._loaded.set()

    def _guard(self, loop: Callable[[], None]) -> Callable[[], None]:
        """A thread's body that never dies in silence."""

        def run() -> None:
            try:
                loop()
            except EvalRunError as error:
                self._fail(error)
            except Exception as error:
                # An engine that broke cannot be used again; an actor that lived on would be asked for ever.
                if self._loaded.is_set():
                    logging.getLogger(__name__).critical("replica %s: the engine died", self.name, exc_info=error)
                    os._exit(1)
                self._fail(RunFailed(f"replica {self.name}: the engine could not be loaded: {error}"))

        return run

    # The engine's thread ----------------------------------------------------------------------------------------

    def _engine_loop(self) -> None:
        engine, codec = self._make_engine()
        forms = Forms(codec, max_model_len=engine.max_model_len, fast=self._settings.fast, seed=self._settings.seed)
        self._pump = Pump(engine, item_deadline=self._settings.item_deadline)
        self._max_num_seqs = engine.max_num_seqs
        intake = Intake(self._ledger, forms, carried=self._settings.carried)
        threading.Thread(target=self._guard(lambda: self._intake_loop(intake)), name="intake", daemon=True).start()
        self._loaded.set()
        while not self._state.leaving:
            self._receive(self._pump)
            for work in self._pump.turn():
                self._completed(work)
        self._committer.close(FLUSH_SECONDS)
        self._stop_waiting.set()
        engine.close()
        self._left.set()
        with self._changed:
            self._changed.notify_all()

    def _make_engine(self) -> tuple[Engine, TextCodec]:
        match self._settings.engine:
            case VllmSettings() as settings:
                if self._settings.model is not None:
                    settings = replace(settings, model=self._bring(self._settings.model))
                with blaming(Reason.MODEL_INVALID):
                    engine = VllmEngine(settings)
                    self._facts["engineArgs"] = engine.arguments
                    return engine, TextCodec(load_tokenizer(settings.model))
            case MockSettings() as settings:
                return MockEngine(settings), TextCodec(ByteTokenizer())

    def _bring(self, source: ModelSource) -> Path:
        model = bring_model(source, self._settings.cache_dir)
        self._ledger.claim_model(model.digest)
        self._facts["modelDigest"] = model.digest
        return model.path

    def _receive(self, pump: Pump) -> None:
        """Take opened work and cancellations over; sleep while there is nothing to do."""
        with self._changed:
            self._advance_isolated()
            if pump.idle:
                self._changed.wait_for(self._has_work)
            state = self._state
            opened, state.opened = state.opened, []
            cancelled, state.cancelled = state.cancelled, []
            for work in opened:
                if work.lease.isolated and not work.complete:
                    state.isolated = _Isolated(work)
            if state.isolated is not None and state.isolated.work.lease.id in cancelled:
                state.isolated = None
            if state.isolated is not None and state.isolated.may_start:
                state.isolated.running = True
                assert state.isolated.item is not None
                pump.put(state.isolated.work, state.isolated.item)
            # Under the lock: items that were in neither place would be asked for a second time.
            for work in opened:
                if not work.lease.isolated:
                    for item in work.ready:
                        pump.put(work, item)
                    work.ready.clear()
        for work in opened:
            if work.complete:
                self._completed(work)
        for lease in cancelled:
            pump.drop(lease)

    def _advance_isolated(self) -> None:
        isolated = self._state.isolated
        if isolated is not None and isolated.ended:
            if not isolated.next():
                self._state.isolated = None
            self._changed.notify_all()

    def _has_work(self) -> bool:
        state = self._state
        isolated = state.isolated
        waiting = isolated is not None and (isolated.may_start or isolated.ended)
        return bool(state.opened or state.cancelled or state.leaving or waiting)

    def _completed(self, work: ChunkWork) -> None:
        self._committer.put(work)
        with self._changed:
            self._changed.notify_all()

    # The intake's thread ----------------------------------------------------------------------------------------

    def _intake_loop(self, intake: Intake) -> None:
        while (lease := self._leases.get()) is not None:
            work = intake.open(lease)
            with self._changed:
                self._state.to_open -= lease.chunk.items
                self._state.opened.append(work)
                self._changed.notify_all()
