"""A run from its RunConfig to its RunResult: preflight, plan and dispatch, finish. ``assembly`` composes the parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalrun_api import Phase, Reason, RunConfig, RunResult, Work
from evalrun_api.wire.outputs import RunRecord, StopRecord
from evalrun_runner.benchmarks.lm_eval_keys import HowMade, lm_eval_keys
from evalrun_runner.driver import finish
from evalrun_runner.driver.assembly import Adapters, DriverOptions, DriverParts, PreparedRun, build_driver
from evalrun_runner.driver.baselines import check_baselines
from evalrun_runner.driver.checks import check_benchmarks
from evalrun_runner.driver.completed import completed_run, judged
from evalrun_runner.driver.gate_sizes import check_sizes
from evalrun_runner.driver.opening import open_run
from evalrun_runner.driver.preflight import Preflight, chat_template, load_tasks
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.driver.record import (
    begin_attempt,
    end_attempt,
    first_record,
    now,
    read_record,
    sizing,
    write_record,
)
from evalrun_runner.driver.recorded_answers import check_answers
from evalrun_runner.driver.reporting import first_baseline, write_report
from evalrun_runner.driver.results import too_many_failed
from evalrun_runner.driver.spool import RowSpool
from evalrun_runner.driver.timeline import Timeline
from evalrun_runner.driver.wishes import check_settings_of_cluster
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, StoreError, default_reason
from evalrun_runner.ledger import layout
from evalrun_runner.planning.identity import Plan, claim_plan
from evalrun_runner.planning.ordering import check_order, in_order
from evalrun_runner.planning.resume import EarlierRun
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts

REPAIRS = 3
"""Rounds of setting damaged parts aside and doing them again."""


def run(config: RunConfig, options: DriverOptions, watcher: Watcher, adapters: Adapters) -> RunResult:
    """Take a run to its end, from wherever an earlier driver left it.

    Args:
        config: The run.
        options: Settings of this driver process.
        watcher: Sees how far the run is.
        adapters: The doors to replicas, store and model.

    Raises:
        InputError: Something in the run is wrong; nothing was asked of a model yet.
        RunFailed: The run cannot reach its end; what is committed stays.
        Interrupted: It was asked to stop; what is committed stays.
    """
    setting, _ = open_run(config, watcher, adapters.preflight)
    if (result := completed_run(setting, watcher)) is not None:
        return result
    watcher.show(View(Phase.STARTING, "loading the tasks"))
    with default_reason(Reason.TASK_INVALID):
        benchmarks = load_tasks(config.spec, setting.suites, allow_code=config.allow_code)
        if setting.recorded is not None:
            check_answers(setting.recorded, config.spec, benchmarks)
        moment = now()
        # The checks ask no more of a template than what it does with text: any moment will do.
        warnings = check_benchmarks(setting, benchmarks, chat_template(setting, moment))
    if not options.in_cluster:
        warnings = (*check_settings_of_cluster(config.spec), *warnings)
    # What may keep a gate from being judged is no warning of the scores, which depend on no gate.
    for warning in (*check_baselines(config), *check_sizes(config.spec.gates, config.spec.benchmarks, benchmarks)):
        watcher.log(f"warning: {warning.line}")
    with default_reason(Reason.PLAN_MISMATCH):
        earlier = _earlier_run(setting, options)
        adapters.probe(setting.store)
        # From here on the output is this plan's; all that can be found wrong with the input was found before.
        chunks = (
            sizing(config.gpus_per_replica, recorded=setting.recorded is not None)
            if earlier is None
            else earlier.sizing
        )
        if earlier is None:
            chunks = in_order(chunks, config.spec)
        clock = (None if earlier is None else earlier.clock) or moment
        plan = claim_plan(setting.store, Plan(setting.identity, chunks, created=moment, clock=clock))
        check_order(plan.sizing, config.spec, setting.store.uri if earlier is None else earlier.uri)
        chat = chat_template(setting, plan.clock)
    prepared = PreparedRun(setting, plan, benchmarks, chat, earlier, warnings)
    for warning in warnings:
        watcher.log(f"warning: {warning.line}")
    timeline = Timeline(watcher, plan.created)
    driver = build_driver(prepared, options, timeline, adapters)
    # It has claimed its epoch: whoever completes the run from now on is seen, whoever did before is looked for here.
    if (result := completed_run(setting, watcher)) is not None:
        return result
    options.host.preflight_passed()
    with RowSpool(samples=config.spec.output.samples) as spool:
        result = _Run(driver, options, timeline, spool).go()
    # Last, as run.json says by now how the run ended.
    if result.phase is Phase.SUCCEEDED:
        watcher.show(View(Phase.FINISHING, "making the report"))
        write_report(setting.store, result, first_baseline(config), watcher.log)
    return result


def _earlier_run(setting: Preflight, options: DriverOptions) -> EarlierRun | None:
    location = setting.config.resume_from
    if location is None:
        return None
    return EarlierRun(location, setting.identity, setting.ledger, options.store_patience)


class _Run:
    """One driver process's part in a run."""

    def __init__(self, driver: DriverParts, options: DriverOptions, timeline: Timeline, spool: RowSpool) -> None:
        self._driver = driver
        self._loop = driver.loop
        self._ledger = driver.ledger
        self._setting = driver.prepared.setting
        self._config = driver.prepared.setting.config
        self._benchmarks = driver.prepared.benchmarks
        self._earlier = driver.prepared.earlier
        self._options = options
        self._watcher = self._timeline = timeline
        self._spool = spool
        self._stop: StopRecord | None = None
        """Which part of the plan the run is made of; None: all of it."""

    def go(self) -> RunResult:
        """Dispatch until every chunk is committed and sound, then finish."""
        prepared = self._driver.prepared
        record = read_record(self._driver.store) or first_record(
            self._setting, prepared.plan, self._benchmarks, prepared.warnings
        )
        resumed_from = None if self._earlier is None else self._earlier.uri
        record = begin_attempt(record, self._setting, self._driver.epoch, resumed_from)
        write_record(self._driver.store, record)
        outcome: str | None = None
        try:
            try:
                plan, verified = self._dispatch()
            finally:
                self._free()
            warnings = (*prepared.warnings, *self._driver.planning.warnings)
            record = record.model_copy(update={"warnings": list(warnings)})
            result = self._finish(plan, verified, record)
            outcome = result.phase.value + (f": {result.failure.message}" if result.failure is not None else "")
        except EvalRunError as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._close_record(end_attempt(record, outcome, self._loop.exchange.facts), outcome)
        return result

    def _dispatch(self) -> tuple[finish.PlanOf, finish.Verified]:
        """Dispatch until every planned item has an end in a sound part."""
        self._driver.leadership.start()
        self._driver.planning.start()
        self._driver.notes.start()
        with self._options.cancellation.graceful():
            self._loop.run()
        self._stop = self._driver.stopping.settle()
        plan = self._plan()
        for _ in range(REPAIRS):
            self._loop.show_busy(Phase.FINISHING, "reading all parts back")
            verified = finish.verify(plan, self._ledger, self._spool)
            if not verified.damaged:
                return plan, verified
            self._redo(verified.damaged)
            with self._options.cancellation.graceful():
                self._loop.run()
        raise LedgerCorrupt(
            f"{self._config.results.uri}: {len(verified.damaged)} parts are damaged again each time they are redone, "
            f"the first is {layout.part(*verified.damaged[0].id)}; the store does not keep what it is given"
        )

    def _redo(self, damaged: Sequence[Chunk]) -> None:
        self._watcher.log(f"{len(damaged)} damaged parts are set aside and their chunks redone")
        for chunk in damaged:
            self._ledger.set_aside(chunk, self._driver.epoch)
        self._loop.reopen(damaged)

    def _free(self) -> None:
        """End the replicas first: nothing may wait for a store while they hold GPUs."""
        self._driver.leaving.set()
        self._loop.end_fleet()
        self._driver.notes.stop()
        self._driver.planning.stop()
        self._driver.leadership.stop()
        self._driver.leaving.clear()

    def _close_record(self, record: RunRecord, outcome: str | None) -> None:
        # Without patience: a run that ends because its store is unavailable does not wait for it again.
        try:
            if self._setting.ledger.highest_epoch() == self._driver.epoch:
                write_record(self._setting.store, record)
                self._timeline.write(self._setting.store)
        except StoreError as error:
            self._watcher.log(f"run.json does not say how this attempt ended ({outcome}): {error}")

    def _finish(self, plan: finish.PlanOf, verified: finish.Verified, record: RunRecord) -> RunResult:
        self._loop.show_busy(Phase.FINISHING, "aggregating")
        progress = self._driver.dispatcher.progress(0.0)
        carried = 0 if self._earlier is None else self._earlier.carried
        work = Work(kept=progress.kept + carried, redone=progress.redone)
        total = sum(verified.counts.values(), ItemCounts())
        if total.failed + total.quarantined > self._config.spec.policy.max_failed_items:
            return too_many_failed(self._config, total, verified.examples, work)
        drawn = self._driver.prepared.plan.sizing.order is not None
        run = finish.VerifiedRun(
            self._benchmarks, plan, self._spool, verified.counts, self._skipped(), self._stop, drawn
        )
        hashes: Mapping[str, str] = {}
        if self._config.spec.output.samples:
            hashes = finish.write_samples(run, self._ledger, self._driver.store, self._watcher.log)
        warnings = record.warnings
        results = finish.make_results(
            self._config, run, lm_eval_keys(self._how_made(record, hashes)), warnings, self._setting.answered_by
        )
        for warning in results.evalrun.warnings[len(warnings) :]:
            self._watcher.log(f"warning: {warning.line}")
        self._ledger.write_results(self._driver.epoch, results.write())
        self._ledger.complete(self._driver.epoch)
        return judged(self._config, results, work, self._driver.store, self._watcher.log)

    def _how_made(self, record: RunRecord, task_hashes: Mapping[str, str]) -> HowMade:
        prepared = self._driver.prepared
        return HowMade(
            self._config.spec,
            record,
            prepared.plan.identity.versions,
            None if prepared.chat is None else self._setting.tokenizer.chat_template,
            task_hashes,
        )

    def _skipped(self) -> dict[str, int]:
        """Count the items of each leaf task beyond an early stop."""
        skipped: dict[str, int] = {}
        for chunk in self._driver.dispatcher.chunks():
            if not self._driver.dispatcher.counts_in(chunk.id):
                skipped[chunk.task] = skipped.get(chunk.task, 0) + chunk.items
        return skipped

    def _plan(self) -> finish.PlanOf:
        chunks: dict[str, list[Chunk]] = {leaf.name: [] for leaf in self._benchmarks.leaves}
        for chunk in self._driver.dispatcher.chunks():
            if self._driver.dispatcher.counts_in(chunk.id):
                chunks[chunk.task].append(chunk)
        return {task: tuple(of_task) for task, of_task in chunks.items()}
