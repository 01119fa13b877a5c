"""A run from its RunConfig to its RunResult: preflight, plan and dispatch, finish."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from evalrun_api import Phase, Reason, RunConfig, RunResult, Work
from evalrun_api.wire.outputs import RunRecord
from evalrun_runner.benchmarks.aggregate import running_metrics
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.driver import finish
from evalrun_runner.driver.host import Host
from evalrun_runner.driver.leadership import Leadership
from evalrun_runner.driver.loop import Loop
from evalrun_runner.driver.preflight import Setting, chat_template, load_tasks, prepare
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.driver.record import begin_attempt, end_attempt, first_record, read_record, sizing, write_record
from evalrun_runner.driver.results import check_baselines, read_results, succeeded, too_many_failed
from evalrun_runner.driver.telemetry import RunTelemetry
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, StoreError, blaming
from evalrun_runner.fleet.ray_fleet import RayFleet, RaySettings
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.identity import Plan, check_may_resume, claim_plan, read_plan
from evalrun_runner.planning.planning import Planning
from evalrun_runner.planning.resume import EarlierRun
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import Counts
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store
from evalrun_runner.store.patient import PatientStore


@dataclass(frozen=True)
class Options:
    """What is no part of the run itself. ``ray_address`` None starts a Ray of this process's own."""

    stop: threading.Event
    ray_address: str | None = None
    policy: DispatchPolicy = field(default_factory=DispatchPolicy)
    store_patience: float = 600.0
    """Seconds for which the store may refuse in mid-run before the run fails."""
    item_deadline: float = 1800.0
    """Seconds in the engine after which an item is given up as failed."""
    gentle: threading.Event = field(default_factory=threading.Event)
    """Set while ``stop`` is looked at; whoever sets ``stop`` otherwise has to interrupt the run himself."""
    host: Host = field(default_factory=Host)


REPAIRS = 3
"""Rounds of setting damaged parts aside and doing them again."""


def run(config: RunConfig, options: Options, watcher: Watcher) -> RunResult:
    """Take a run to its end, from wherever an earlier driver left it.

    Raises ``EvalRunError``: ``InputError`` before anything was asked of a model, ``RunFailed``, ``Interrupted``.
    """
    watcher.show(View(Phase.STARTING, "checking the store and the model"))
    # What else can be wrong there (a suite, a secret, an address) says so itself.
    with blaming(Reason.MODEL_INVALID):
        setting = prepare(config)
    store = open_store(setting.store)
    with blaming(Reason.PLAN_MISMATCH):
        if (plan := read_plan(store)) is not None:
            check_may_resume(plan, setting.identity, config.results.uri)
    if (result := _completed(setting, store, watcher)) is not None:
        return result
    watcher.show(View(Phase.STARTING, "loading the tasks"))
    with blaming(Reason.TASK_INVALID):
        benchmarks = load_tasks(setting)
        chat = chat_template(setting)
    check_baselines(config)
    with blaming(Reason.PLAN_MISMATCH):
        earlier = _earlier_run(setting, options)
        # From here on the output is this plan's; all that can be found wrong with the input was found before.
        chunks = sizing(config.gpus_per_replica) if earlier is None else earlier.sizing
        plan = claim_plan(store, Plan(setting.identity, chunks))
    driver = _Run(setting, plan, benchmarks, chat, earlier, options, watcher)
    # It has claimed its epoch: whoever completes the run from now on is seen, whoever did before is looked for here.
    if (result := _completed(setting, store, watcher)) is not None:
        return result
    options.host.preflight_passed()
    return driver.go()


def _completed(setting: Setting, store: ObjectStore, watcher: Watcher) -> RunResult | None:
    """The result of a run that another driver has completed."""
    if not setting.ledger.is_complete():
        return None
    watcher.log("this run is complete: nothing is redone")
    results = read_results(store)
    return succeeded(setting.config, results, Work(kept=results.evalrun.counts.planned))


def _earlier_run(setting: Setting, options: Options) -> EarlierRun | None:
    location = setting.config.resume_from
    if location is None:
        return None
    return EarlierRun(location, setting.identity, setting.ledger, options.store_patience)


class _Run:
    """One driver process's part in a run."""

    def __init__(  # noqa: PLR0913, PLR0917 (what a run is made of)
        self,
        setting: Setting,
        plan: Plan,
        benchmarks: LoadedBenchmarks,
        chat: ChatTemplate | None,
        earlier: EarlierRun | None,
        options: Options,
        watcher: Watcher,
    ) -> None:
        self._setting = setting
        self._config = setting.config
        self._leaving = threading.Event()
        self._store = PatientStore(open_store(setting.store), options.store_patience, self._leaving)
        self._ledger = Ledger(self._store)
        self._benchmarks = benchmarks
        self._earlier = earlier
        self._options = options
        self._watcher = watcher
        self._epoch = self._ledger.claim_epoch()
        self._leadership = Leadership(setting.ledger, self._epoch)
        policy = replace(options.policy, max_failed_items=self._config.spec.policy.max_failed_items)
        self._telemetry = RunTelemetry({leaf.name: running_metrics(leaf) for leaf in benchmarks.leaves})
        self._dispatcher = Dispatcher(policy, self._telemetry.committed)
        self._loop = Loop(
            dispatcher=self._dispatcher,
            planning=Planning(benchmarks, chat, self._ledger, self._epoch, plan.sizing, earlier),
            leadership=self._leadership,
            wanted=self._config.spec.replicas.count if options.ray_address is None else 0,
            start_fleet=self._fleet,
            watcher=watcher,
            stop=options.stop,
            trouble=lambda: self._store.trouble,
            check=options.host.check,
            telemetry=self._telemetry,
            store_stats=lambda: self._store.stats,
        )

    def go(self) -> RunResult:
        """Dispatch until every chunk is committed and sound, then finish."""
        record = read_record(self._store) or first_record(self._setting, self._benchmarks)
        resumed_from = None if self._earlier is None else self._earlier.uri
        record = begin_attempt(record, self._setting, self._epoch, resumed_from)
        write_record(self._store, record)
        outcome: str | None = None
        try:
            try:
                plan, verified = self._dispatch()
            finally:
                self._free()
            result = self._finish(plan, verified)
            outcome = result.phase.value
        except EvalRunError as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._close_record(end_attempt(record, outcome, self._loop.facts), outcome)
        return result

    def _dispatch(self) -> tuple[finish.PlanOf, finish.Verified]:
        """Until every planned item has an end in a sound part."""
        self._leadership.start()
        self._loop.planning.start()
        with self._gently():
            self._loop.run()
        plan = self._plan()
        for _ in range(REPAIRS):
            self._loop.show_busy(Phase.FINISHING, "reading all parts back")
            verified = finish.verify(plan, self._ledger)
            if not verified.damaged:
                return plan, verified
            self._redo(verified.damaged)
            self._loop.ensure_fleet()
            with self._gently():
                self._loop.run()
        raise LedgerCorrupt(
            f"{self._config.results.uri}: {len(verified.damaged)} parts are damaged again each time they are redone, "
            f"the first is {layout.part(*verified.damaged[0].id)}; the store does not keep what it is given"
        )

    @contextmanager
    def _gently(self) -> Iterator[None]:
        """Within, a request to stop sets ``stop`` and is left to the loop, which flushes; elsewhere it interrupts."""
        self._options.gentle.set()
        try:
            yield
        finally:
            self._options.gentle.clear()

    def _redo(self, damaged: Sequence[Chunk]) -> None:
        self._watcher.log(f"{len(damaged)} damaged parts are set aside and their chunks redone")
        for chunk in damaged:
            self._ledger.set_aside(chunk, self._epoch)
            self._dispatcher.reopen(chunk)
            self._telemetry.reopened(chunk.id)

    def _fleet(self) -> RayFleet:
        self._options.host.wait_for_ray()
        return self._start_fleet()

    def _start_fleet(self) -> RayFleet:
        config, engine, model = self._config, self._setting.engine, self._setting.model
        count, local = config.spec.replicas.count, self._options.ray_address is None
        if isinstance(engine, VllmSettings) and local:
            # In a cluster each has a pod of its own, and nothing to share.
            engine = replace(engine, replicas_per_host=count)
        settings = ReplicaSettings(
            store=self._setting.store,
            engine=engine,
            model=None if model is None else model.source,
            cache_dir=config.model.cache_dir,
            recipes={leaf.name: leaf.recipe for leaf in self._benchmarks.leaves},
            seed=config.spec.seed,
            fast=self._setting.fast,
            item_deadline=self._options.item_deadline,
            carried=config.resume_from is not None,
            store_patience=self._options.store_patience,
        )
        ray_settings = RaySettings(address=self._options.ray_address, gpus_per_replica=config.gpus_per_replica)
        kind = "mock" if config.spec.engine.mock is not None else "vLLM"
        self._watcher.log(f"starting {count} {kind} replicas{'' if config.gpus_per_replica else ' on CPU'}")
        return RayFleet(count, settings, ray_settings, writer=f"e{self._epoch}")

    def _free(self) -> None:
        """End the replicas first: nothing may wait for a store while they hold GPUs."""
        self._leaving.set()
        self._loop.end_fleet()
        self._loop.planning.stop()
        self._leadership.stop()
        self._leaving.clear()

    def _close_record(self, record: RunRecord, outcome: str | None) -> None:
        # Without patience: a run that ends because its store is away does not wait for it once more.
        store = open_store(self._setting.store)
        try:
            if self._setting.ledger.highest_epoch() == self._epoch:
                write_record(store, record)
        except StoreError as error:
            self._watcher.log(f"run.json does not say how this attempt ended ({outcome}): {error}")

    def _finish(self, plan: finish.PlanOf, verified: finish.Verified) -> RunResult:
        self._loop.show_busy(Phase.FINISHING, "aggregating")
        progress = self._dispatcher.progress(0.0)
        carried = 0 if self._earlier is None else self._earlier.carried
        work = Work(kept=progress.kept + carried, redone=progress.redone)
        total = sum(verified.counts.values(), Counts())
        if total.failed + total.quarantined > self._config.spec.policy.max_failed_items:
            return too_many_failed(self._config, total, verified.examples, work)
        results = finish.make_results(self._config, self._benchmarks, plan, self._ledger, verified.counts)
        if self._config.spec.output.samples:
            finish.write_samples(self._benchmarks, plan, self._ledger, self._store)
        self._ledger.write_results(self._epoch, results.write())
        self._ledger.complete(self._epoch)
        return succeeded(self._config, results, work)

    def _plan(self) -> finish.PlanOf:
        chunks: dict[str, list[Chunk]] = {leaf.name: [] for leaf in self._benchmarks.leaves}
        for chunk in self._dispatcher.chunks():
            chunks[chunk.task].append(chunk)
        return {task: tuple(of_task) for task, of_task in chunks.items()}
