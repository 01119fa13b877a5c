"""Runs that gates compare with: read before the run, where one that is of no use is refused, and again at its end."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api import Gate, Reason, RunConfig, RunLocation, RunWarning
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver.gate_items import OutputItems
from evalrun_runner.driver.gates import Baseline, JudgedRun, lost_items
from evalrun_runner.driver.scores import keys_of, meant_filter, meant_task, score_of
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, StoreError, listed
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.unfinished import why_unfinished
from evalrun_runner.planning.identity import check_format
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store


def check_baselines(config: RunConfig) -> tuple[RunWarning, ...]:
    """Read what the gates compare with, and check that each has the score that its gate is about.

    In a later attempt a baseline that has gone since the first one does not end the run: it has its parts already.

    Returns:
        What will keep a gate from being judged, though the run itself is right.

    Raises:
        InputError: A baseline is not there, is not finished, or has no such score.
        StoreError: A baseline cannot be read.
    """
    warnings: list[RunWarning] = []
    for number, (gate, location) in enumerate(zip(config.spec.gates, config.baselines, strict=False)):
        if location is None:
            continue
        field = f"spec.gates[{number}].baseline"
        try:
            warnings.extend(_check(gate, location, field, config))
        except InputError as error:
            if config.attempt == 1:
                raise
            warnings.append(RunWarning(about=field, message=str(error)[:1024]))
    return tuple(warnings)


def read_baselines(config: RunConfig) -> list[Baseline]:
    """Read what each gate compares with; one that cannot be read any more is the reason why."""
    opened: dict[RunLocation, Baseline] = {}

    def read(number: int, location: RunLocation) -> Baseline:
        try:
            results, store = _open(location, f"spec.gates[{number}].baseline")
        except (InputError, StoreError, LedgerCorrupt) as error:
            return error
        return JudgedRun(results, OutputItems(store, results))

    for number, location in enumerate(config.baselines):
        if location is not None and location not in opened:
            opened[location] = read(number, location)
    return [None if location is None else opened[location] for location in config.baselines]


def _check(gate: Gate, location: RunLocation, field: str, config: RunConfig) -> Iterator[RunWarning]:
    results, _ = _open(location, field)
    task = meant_task(gate.task, results.results, config.spec.benchmarks)
    keys = keys_of(results, task)
    filter_name = meant_filter(gate, keys)
    score = None if filter_name is None else score_of(results, task, gate.metric, filter_name)
    if score is None:
        wanted = gate.metric if gate.filter is None else f"{gate.metric},{gate.filter}"
        there = (
            f"of {task} it has: {', '.join(keys)}" if keys else f"it has scores of: {listed(list(results.results), 20)}"
        )
        what = f"{field}: {location.uri} has no score {wanted} of {task}; {there}"
        raise InputError(what, reason=Reason.BASELINE_MISSING)
    if score.value is None:
        what = f"{field}: the score {score.metric},{score.filter} of {task} in {location.uri} has no value"
        raise InputError(what, reason=Reason.BASELINE_MISSING)
    if lost := lost_items(results, score):
        message = f"{lost} items of {task} have no score in {location.uri}: the gate will be Inconclusive"
        yield RunWarning(about=field, message=message[:1024])


def _open(location: RunLocation, field: str) -> tuple[Results, ObjectStore]:
    """Open the output of a run that a gate compares with, and read its results.

    Raises:
        InputError: There are none, or they are not a run's.
        StoreError: They cannot be read.
        LedgerCorrupt: They are damaged.
    """
    store = open_store(store_spec(location))
    try:
        check_format(store)
        results = Results.read(Ledger(store).completed_results())
    except ObjectMissing as error:
        what = f"{field}: {location.uri} {why_unfinished(store)}; give the output of a finished run"
        raise InputError(what, reason=Reason.BASELINE_MISSING) from error
    except ValueError as error:
        what = f"{field}: {location.uri} is no EvalRun's output: {error}"
        raise InputError(what, reason=Reason.BASELINE_MISSING) from error
    if results.evalrun.stopped is not None:
        what = (
            f"{field}: {location.uri} is no baseline, because it stopped early ({results.evalrun.stopped}): its scores "
            "decided which items it has\nhint: evaluate the rest: the same run with another output, with this one as "
            "spec.resumeFrom, and without policy.stopEarly; then name that run"
        )
        raise InputError(what, reason=Reason.BASELINE_MISSING)
    return results, store
