"""A run from its RunConfig to its RunResult: preflight, plan and dispatch, finish."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from evalrun_api import Phase, RunConfig, RunResult, Work
from evalrun_runner import layout
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.cluster import RayFleet, RaySettings
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.driver import finish
from evalrun_runner.driver.identity import check_same_plan
from evalrun_runner.driver.leadership import Leadership
from evalrun_runner.driver.loop import Loop
from evalrun_runner.driver.outcome import succeeded, too_many_failed
from evalrun_runner.driver.planning import Planning
from evalrun_runner.driver.prepare import Setting, chat_template, load_tasks, prepare
from evalrun_runner.driver.provenance import attempt_record, first_record, identity_in, now, read_run
from evalrun_runner.driver.taking_over import EarlierRun
from evalrun_runner.driver.watching import View, Watcher
from evalrun_runner.engine.vllm import VllmSettings, has_gpu, prepare_environment
from evalrun_runner.errors import EvalRunError, StoreError
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.plan.chunks import ChunkSizing
from evalrun_runner.records import Chunk, Counts
from evalrun_runner.replica.replica import ReplicaSettings
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


def run(config: RunConfig, options: Options, watcher: Watcher) -> RunResult:
    """Take a run to its end, from wherever an earlier driver left it.

    Raises ``EvalRunError``: ``InputError`` before anything was asked of a model, ``RunFailed``, ``Interrupted``.
    """
    watcher.show(View(Phase.STARTING, "checking the store and the model"))
    setting = prepare(config, watcher)
    store = open_store(setting.store)
    earlier = read_run(store)
    if earlier is not None:
        check_same_plan(identity_in(earlier), setting.identity, config.results.uri)
    if setting.ledger.is_complete():
        watcher.log("this run is complete: nothing is redone")
        results = json.loads(setting.ledger.completed_results())
        return succeeded(config, results, Work(kept=results["evalrun"]["counts"]["planned"]))
    watcher.show(View(Phase.STARTING, "loading the tasks"))
    benchmarks = load_tasks(setting)
    return _Run(setting, store, benchmarks, options, watcher).go(earlier)


class _Run:
    """One driver process's part in a run."""

    def __init__(
        self, setting: Setting, store: ObjectStore, benchmarks: LoadedBenchmarks, options: Options, watcher: Watcher
    ) -> None:
        self._setting = setting
        self._config = setting.config
        self._store = PatientStore(store, options.store_patience, options.stop)
        self._ledger = Ledger(self._store)
        self._benchmarks = benchmarks
        self._options = options
        self._watcher = watcher
        self._epoch = self._ledger.claim_epoch()
        self._earlier: EarlierRun | None = None
        self._leadership = Leadership(setting.ledger, self._epoch)
        policy = self._config.spec.policy
        self._dispatcher = Dispatcher(_with_cap(options.policy, policy.max_failed_items))

    def go(self, earlier: dict[str, Any] | None) -> RunResult:
        """Dispatch until every chunk is committed and sound, then finish."""
        record = earlier or first_record(self._setting, self._benchmarks)
        self._earlier = taken = self._earlier_run()
        if taken is not None and earlier is None:
            record |= {"resumedFrom": taken.uri, "sizing": taken.sizing}
        attempt = attempt_record(self._setting, self._epoch)
        record["attempts"].append(attempt)
        self._write_record(record)
        sizing = ChunkSizing(**record["sizing"])
        planning = Planning(self._benchmarks, chat_template(self._setting), self._ledger, self._epoch, sizing, taken)
        loop = Loop(
            dispatcher=self._dispatcher,
            planning=planning,
            leadership=self._leadership,
            wanted=self._config.spec.replicas.count,
            start_fleet=self._start_fleet,
            watcher=self._watcher,
            stop=self._options.stop,
        )
        with self._closing(loop, attempt, record):
            self._leadership.start()
            planning.start()
            loop.run()
            plan = self._plan()
            while (verified := finish.verify(plan, self._ledger)).damaged:
                self._redo(verified.damaged)
                loop.ensure_fleet()
                loop.run()
        return self._finish(plan, verified)

    def _redo(self, damaged: Sequence[Chunk]) -> None:
        self._watcher.log(f"{len(damaged)} damaged parts are set aside and their chunks redone")
        for chunk in damaged:
            self._ledger.set_aside(chunk, self._epoch)
            self._dispatcher.reopen(chunk)

    def _earlier_run(self) -> EarlierRun | None:
        location = self._config.resume_from
        return None if location is None else EarlierRun(location, self._setting.identity, self._ledger)

    def _start_fleet(self) -> RayFleet:
        config, engine = self._config, self._setting.engine
        count, cpus = config.spec.replicas.count, os.cpu_count() or 1
        vllm = isinstance(engine, VllmSettings)
        settings = ReplicaSettings(
            store=self._setting.store,
            engine=engine,
            recipes={leaf.name: leaf.recipe for leaf in self._benchmarks.leaves},
            seed=config.spec.seed,
            fast=self._setting.fast,
            item_deadline=self._options.item_deadline,
            carried=config.resume_from is not None,
            store_patience=self._options.store_patience,
        )
        ray_settings = RaySettings(
            address=self._options.ray_address,
            gpus_per_replica=engine.tensor_parallel_size if isinstance(engine, VllmSettings) and has_gpu() else 0,
            environment=prepare_environment(engine, cpus) if isinstance(engine, VllmSettings) else {},
        )
        self._watcher.log(f"starting {count} {'vLLM' if vllm else 'mock'} replicas{'' if has_gpu() else ' on CPU'}")
        return RayFleet(count, settings, ray_settings, writer=f"e{self._epoch}")

    @contextmanager
    def _closing(self, loop: Loop, attempt: dict[str, Any], record: dict[str, Any]) -> Iterator[None]:
        """Free the replicas and write down how the attempt ended, however it did."""
        try:
            yield
            attempt["outcome"] = "Complete"
        except EvalRunError as error:
            attempt["outcome"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            loop.planning.stop()
            self._leadership.stop()
            if loop.fleet is not None:
                loop.fleet.shutdown()
            attempt["ended"] = now()
            attempt["replicas"] = loop.facts
            self._close_record(record, attempt)

    def _close_record(self, record: dict[str, Any], attempt: dict[str, Any]) -> None:
        try:
            if self._ledger.highest_epoch() == self._epoch:
                self._write_record(record)
        except StoreError as error:
            self._watcher.log(f"run.json does not say how this attempt ended ({attempt.get('outcome')}): {error}")

    def _write_record(self, record: dict[str, Any]) -> None:
        self._store.put(layout.RUN, json.dumps(record, indent=2, ensure_ascii=False, default=str).encode())

    def _finish(self, plan: finish.PlanOf, verified: finish.Verified) -> RunResult:
        self._watcher.show(View(Phase.FINISHING, "aggregating"))
        progress = self._dispatcher.progress(0.0)
        carried = 0 if self._earlier is None else self._earlier.carried
        work = Work(kept=progress.kept + carried, redone=progress.redone)
        if self._dispatcher.over_cap:
            return too_many_failed(self._config, sum(verified.counts.values(), Counts()), verified.examples, work)
        results = finish.make_results(self._config, self._benchmarks, plan, self._ledger, verified.counts)
        if self._config.spec.output.samples:
            finish.write_samples(self._benchmarks, plan, self._ledger, self._store)
        self._ledger.write_results(self._epoch, finish.encode_results(results))
        self._ledger.complete(self._epoch)
        return succeeded(self._config, results, work)

    def _plan(self) -> finish.PlanOf:
        chunks: dict[str, list[Chunk]] = {leaf.name: [] for leaf in self._benchmarks.leaves}
        for chunk in self._dispatcher.chunks():
            chunks[chunk.task].append(chunk)
        return {task: tuple(of_task) for task, of_task in chunks.items()}


def _with_cap(policy: DispatchPolicy, cap: int) -> DispatchPolicy:
    return replace(policy, max_failed_items=cap)
