"""What follows a run's completion: verdicts are recorded, and samples that are asked for later are written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from evalrun_api import Reason, RunConfig, RunResult, Work
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver import finish
from evalrun_runner.driver.baselines import check_baselines
from evalrun_runner.driver.gate_checks import check_gates, scores_there
from evalrun_runner.driver.preflight import Preflight, load_tasks
from evalrun_runner.driver.progress import Watcher
from evalrun_runner.driver.record import read_record
from evalrun_runner.driver.reporting import first_baseline, write_report
from evalrun_runner.driver.results import read_results, succeeded
from evalrun_runner.driver.spool import RowSpool
from evalrun_runner.driver.verdicts import kept_verdicts, record_verdicts
from evalrun_runner.errors import LedgerCorrupt, StoreError, default_reason
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.plan import Chunk
from evalrun_runner.store.base import ObjectStore


def completed_run(setting: Preflight, watcher: Watcher) -> RunResult | None:
    """Return the result of a run that another driver has completed, its gates judged as they are asked now.

    Args:
        setting: The run's surroundings.
        watcher: Sees what is done.

    Returns:
        None if the run is not complete.
    """
    if not setting.ledger.is_complete():
        return None
    watcher.log("this run is complete: nothing is redone")
    results = read_results(setting.store)
    _check_other_gates(setting, results)
    if setting.config.spec.output.samples:
        _write_missing_samples(setting, results, watcher)
    counts = results.evalrun.counts
    if counts.skipped and setting.config.spec.policy.stop_early is None:
        watcher.log(
            f"it stopped early: {results.evalrun.stopped}. To evaluate the rest, give another output, and this one as "
            "spec.resumeFrom"
        )
    work = Work(kept=counts.planned - counts.skipped)
    baseline = first_baseline(setting.config)
    with suppress(LedgerCorrupt):
        # A finished run keeps its verdicts, also where a later version would judge otherwise.
        if (kept := kept_verdicts(setting.store, setting.config.spec.gates)) is not None:
            result = succeeded(setting.config, results, work, setting.store, kept)
            write_report(setting.store, result, baseline, watcher.log, only_if_missing=True)
            return result
    result = judged(setting.config, results, work, setting.store, watcher.log)
    # Without gates nothing was judged anew.
    write_report(setting.store, result, baseline, watcher.log, only_if_missing=not setting.config.spec.gates)
    return result


def judged(
    config: RunConfig, results: Results, work: Work, store: ObjectStore, log: Callable[[str], None]
) -> RunResult:
    """Judge the gates of a complete run and record the verdicts. That these cannot be written ends no run."""
    result = succeeded(config, results, work, store)
    try:
        record_verdicts(store, config.spec.gates, result.gates)
    except (StoreError, LedgerCorrupt) as error:
        log(f"warning: the verdicts of the gates are not recorded: {error}")
    return result


def _check_other_gates(setting: Preflight, results: Results) -> None:
    """Refuse gates that were not asked of the run when it began, and that none of its scores can answer.

    Raises:
        InputError: There are such gates, or baselines that cannot be compared with.
    """
    spec, record = setting.config.spec, read_record(setting.store)
    if record is not None and record.spec.gates != spec.gates:
        check_gates(spec.gates, spec.benchmarks, scores_there(results))
        check_baselines(setting.config)


def _write_missing_samples(setting: Preflight, results: Results, watcher: Watcher) -> None:
    """Write the samples that are not there, of the manifest and the parts.

    Raises:
        InputError: The tasks cannot be loaded any more.
        LedgerCorrupt: A part or a manifest is damaged.
    """
    missing = [task for task in results.evalrun.tasks if not setting.store.exists(layout.samples(task))]
    if not missing:
        return
    watcher.log(f"the samples of {len(missing)} tasks are written, of the manifest and the parts that are there")
    with default_reason(Reason.TASK_INVALID):
        benchmarks = load_tasks(setting.config.spec, setting.suites, allow_code=setting.config.allow_code)
    wanted = replace(benchmarks, leaves=tuple(leaf for leaf in benchmarks.leaves if leaf.name in missing))
    stop = setting.ledger.recorded_stop()
    plan = {
        leaf.name: tuple(
            chunk for chunk in _chunks(leaf.name, setting.ledger) if stop is None or stop.counts_in(*chunk.id)
        )
        for leaf in wanted.leaves
    }
    with RowSpool(samples=True) as spool:
        verified = finish.verify(plan, setting.ledger, spool)
        if damaged := verified.damaged:
            first = layout.part(*damaged[0].id)
            raise LedgerCorrupt(
                f"{setting.store.uri}: the samples cannot be written, because {len(damaged)} parts are damaged, the "
                f"first is {first}. Remove COMPLETE and start the run again: damaged parts are redone"
            )
        run = finish.VerifiedRun(wanted, plan, spool, verified.counts)
        finish.write_samples(run, setting.ledger, setting.store, watcher.log)


def _chunks(task: str, ledger: Ledger) -> tuple[Chunk, ...]:
    chunks = ledger.planned_chunks(task)
    if not chunks:
        raise LedgerCorrupt(
            f"the manifest of task {task} is not complete, though the run is; its samples cannot be made"
        )
    return chunks
