"""The result of a run: ``results.json`` and the spec's gates to a RunResult."""

from __future__ import annotations

from collections.abc import Sequence

from evalrun_api import Counts as CountsResult
from evalrun_api import (
    EvalRunSpec,
    Failure,
    GateResult,
    Phase,
    Reason,
    RunConfig,
    RunLocation,
    RunResult,
    StopRule,
    Verdict,
    Work,
)
from evalrun_api.wire.outputs import IntervalRecord, Results, StopCause, StopRecord
from evalrun_runner.driver.accounts import run_account
from evalrun_runner.driver.baselines import read_baselines
from evalrun_runner.driver.gate_items import OutputItems
from evalrun_runner.driver.gates import JudgedRun, judge
from evalrun_runner.driver.look_levels import as_asked, at_look, recorded_verdicts
from evalrun_runner.driver.record import read_record
from evalrun_runner.driver.scores import scores_in
from evalrun_runner.driver.verdicts import last_verdicts
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.unfinished import why_unfinished
from evalrun_runner.planning.identity import check_format
from evalrun_runner.records.results import ItemCounts
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store


def succeeded(
    config: RunConfig,
    results: Results,
    work: Work,
    store: ObjectStore,
    verdicts: Sequence[GateResult] | None = None,
) -> RunResult:
    """Make the result of a run that is complete.

    A run that is complete stays so: a gate whose items or baseline can no longer be read says why.

    Args:
        config: The run.
        results: Its results.
        work: What attempts and resumption saved and cost.
        store: Its output, from which gates read its items.
        verdicts: Verdicts that stand already; None: the gates are judged.
    """
    if verdicts is None:
        verdicts = _judged(config, JudgedRun(results, OutputItems(store, results)), Ledger(store).recorded_stop())
    return _result(results, verdicts, work, config.results.uri)


def _judged(config: RunConfig, run: JudgedRun, stop: StopRecord | None) -> tuple[GateResult, ...]:
    """Judge the gates, of a run that stopped early or might have at the level of its last look."""
    spec, stop_early = config.spec, config.spec.policy.stop_early
    if stop is not None and (recorded := recorded_verdicts(stop, spec.gates)) is not None:
        return recorded
    look = looks = 0
    if stop is not None and stop.cause is not StopCause.WIDTH:
        look, looks = max(stop.look, 1), stop.looks
    elif stop is None and stop_early is not None and stop_early.rule is StopRule.GATES:
        look = looks = stop_early.looks
    if not looks:
        return judge(spec.gates, run, read_baselines(config), spec.benchmarks)
    verdicts = judge(at_look(spec.gates, look, looks), run, read_baselines(config), spec.benchmarks)
    return as_asked(verdicts, spec.gates, look, looks)


def too_many_failed(config: RunConfig, total: ItemCounts, examples: Sequence[str], work: Work) -> RunResult:
    """Make the result of a run with more items without a score than its policy allows."""
    cap = config.spec.policy.max_failed_items
    message = (
        f"{total.failed} failed and {total.quarantined} quarantined items are more than spec.policy.maxFailedItems "
        f"({cap}) allows; all other results are kept in {config.results.uri}. {'; '.join(examples)}"
    )
    return RunResult(
        phase=Phase.FAILED,
        counts=CountsResult.model_validate(run_account(total).as_written()),
        work=work,
        results_uri=config.results.uri,
        failure=Failure(reason=Reason.TOO_MANY_FAILED_ITEMS, message=message),
    )


def read_result(location: RunLocation) -> RunResult:
    """Read a finished run back from its output alone, with the last verdicts of its gates.

    Raises:
        InputError: There is no run, or it is not finished.
        LedgerCorrupt: An object of it is damaged.
    """
    store = open_store(store_spec(location))
    try:
        results = read_results(store)
    except ObjectMissing as error:
        raise InputError(f"{location.uri} {why_unfinished(store)}{_advice(store)}") from error
    record = read_record(store)
    if record is None:
        raise LedgerCorrupt(f"{location.uri} has COMPLETE but no run.json; the folder was changed by another hand")
    verdicts = last_verdicts(store)
    if verdicts is None:
        verdicts = _judged_now(record.spec, JudgedRun(results, OutputItems(store, results)))
    return _result(results, verdicts, None, location.uri)


def read_strata(location: RunLocation) -> tuple[IntervalRecord, ...]:
    """Read the scores of strata and tags of a finished run.

    Raises:
        InputError: The run is not finished.
        LedgerCorrupt: Its results are damaged.
    """
    results = read_results(open_store(store_spec(location)))
    return tuple(one for one in results.evalrun.intervals or () if one.stratum is not None)


def _judged_now(spec: EvalRunSpec, run: JudgedRun) -> tuple[GateResult, ...]:
    """Judge the gates of a run whose verdicts were not recorded, as far as that takes no other run."""
    message = "not judged: no verdict was recorded; the same `evalrun run` again compares with the baseline"
    return tuple(
        GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.BASELINE_MISSING, message=message)
        if gate.baseline is not None
        else judge([gate], run, [], spec.benchmarks)[0]
        for gate in spec.gates
    )


def _advice(store: ObjectStore) -> str:
    """Say how the last attempt of an unfinished run ended, and what to do."""
    again = "; run the same `evalrun run` again to finish it"
    try:
        record = read_record(store)
    except LedgerCorrupt:
        return again
    if record is None or not record.attempts:
        return again if store.exists(layout.PLAN) else "; give the output of a run"
    outcome = record.attempts[-1].outcome
    how = "its last attempt still goes on, or was killed" if outcome is None else f"its last attempt ended: {outcome}"
    return f"; {how.rstrip('.')}{again}"


def read_results(store: ObjectStore) -> Results:
    """Read the results of a finished run.

    Raises:
        ObjectMissing: The run is not finished.
        LedgerCorrupt: They are not what the run was completed with, or not in EvalRun's layout.
        OtherFormat: A newer EvalRun wrote them.
    """
    check_format(store)
    data = Ledger(store).completed_results()
    try:
        return Results.read(data)
    except ValueError as error:
        raise LedgerCorrupt(f"{store.uri}{layout.RESULTS} is not the results of a run: {error}") from error


def _result(results: Results, verdicts: Sequence[GateResult], work: Work | None, uri: str) -> RunResult:
    return RunResult(
        phase=Phase.SUCCEEDED,
        engine=results.evalrun.engine,
        counts=CountsResult.model_validate(results.evalrun.counts.as_written()),
        stopped=results.evalrun.stopped,
        work=work,
        verdict=Verdict.overall(gate.verdict for gate in verdicts if not gate.advisory),
        gates=tuple(verdicts),
        scores=scores_in(results),
        warnings=tuple(results.evalrun.warnings),
        results_uri=uri,
    )
