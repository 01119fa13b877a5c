"""The result of a run: ``results.json`` and the spec's gates to a RunResult."""

from __future__ import annotations

from collections.abc import Sequence

from evalrun_api import Counts as CountsResult
from evalrun_api import (
    Failure,
    Gate,
    Phase,
    Reason,
    RunConfig,
    RunLocation,
    RunResult,
    Score,
    Verdict,
    Work,
)
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver.gates import Baseline, judge
from evalrun_runner.driver.record import read_record
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, StoreError
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.identity import check_format
from evalrun_runner.records.results import ItemCounts
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store


def check_baselines(config: RunConfig) -> None:
    """Read what the gates compare with, as far as it is there. Raises ``InputError`` and the errors of the store."""
    for number, location in enumerate(config.baselines):
        if location is not None:
            _baseline(location, number)


def succeeded(config: RunConfig, results: Results, work: Work) -> RunResult:
    """Make the result of a run that is complete, its gates judged against their baselines.

    A run that is complete stays so: a gate whose baseline can no longer be read says why.
    """

    def read(number: int, location: RunLocation | None) -> Baseline:
        try:
            return None if location is None else _baseline(location, number)
        except (InputError, StoreError, LedgerCorrupt) as error:
            return error

    baselines = [read(number, location) for number, location in enumerate(config.baselines)]
    return _result(results, config.spec.gates, baselines, work, config.results.uri)


def too_many_failed(config: RunConfig, total: ItemCounts, examples: Sequence[str], work: Work) -> RunResult:
    """Make the result of a run with more items without a score than its policy allows."""
    cap = config.spec.policy.max_failed_items
    message = (
        f"{total.failed} failed and {total.quarantined} quarantined items are more than spec.policy.maxFailedItems "
        f"({cap}) allows; all other results are kept in {config.results.uri}. {'; '.join(examples)}"
    )
    return RunResult(
        phase=Phase.FAILED,
        counts=CountsResult(planned=total.total, ok=total.ok, failed=total.failed, quarantined=total.quarantined),
        work=work,
        results_uri=config.results.uri,
        failure=Failure(reason=Reason.TOO_MANY_FAILED_ITEMS, message=message),
    )


def read_result(location: RunLocation) -> RunResult:
    """Read a finished run back from its output alone; gates with a baseline are not judged again.

    Raises:
        ObjectMissing: The run is not finished.
        LedgerCorrupt: An object of it is damaged.
    """
    store = open_store(store_spec(location))
    results = read_results(store)
    record = read_record(store)
    if record is None:
        raise LedgerCorrupt(f"{location.uri} has COMPLETE but no run.json; the folder was changed by another hand")
    gates = [gate for gate in record.spec.gates if gate.baseline is None]
    work = Work(kept=results.evalrun.counts.planned)
    return _result(results, gates, [], work, location.uri)


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


def scores_in(results: Results) -> tuple[Score, ...]:
    """List every score, tasks in the order of the results."""
    scores = []
    for task, entry in results.results.items():
        higher_is_better = results.higher_is_better.get(task, {})
        size = entry.get("sample_len")
        for name, value in entry.items():
            metric, comma, filter_name = name.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            scores.append(
                Score(
                    task=task,
                    metric=metric,
                    filter=filter_name,
                    value=_number(value),
                    stderr=_number(entry.get(f"{metric}_stderr,{filter_name}")),
                    n=size if isinstance(size, int) else 0,
                    lower_is_better=True if higher_is_better.get(metric) is False else None,
                )
            )
    return tuple(scores)


def _result(results: Results, gates: Sequence[Gate], baselines: Sequence[Baseline], work: Work, uri: str) -> RunResult:
    verdicts = judge(gates, results, baselines)
    return RunResult(
        phase=Phase.SUCCEEDED,
        engine=results.evalrun.engine,
        counts=CountsResult.model_validate(results.evalrun.counts.as_written()),
        work=work,
        verdict=Verdict.overall(gate.verdict for gate in verdicts),
        gates=verdicts,
        scores=scores_in(results),
        warnings=tuple(results.evalrun.warnings),
        results_uri=uri,
    )


def _baseline(location: RunLocation, number: int) -> Results | None:
    store = open_store(store_spec(location))
    try:
        check_format(store)
        return Results.read(Ledger(store).completed_results())
    except ObjectMissing:
        return None
    except ValueError as error:
        raise InputError(f"spec.gates[{number}].baseline: {location.uri} is no EvalRun's output: {error}") from error


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  NaN
        return None
    return float(value)
