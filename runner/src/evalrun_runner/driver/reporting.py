"""The report of a run, made at its end and whenever it is asked for. A report that cannot be made fails no run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evalrun_api import RunConfig, RunLocation, RunResult
from evalrun_runner.driver.record import read_record
from evalrun_runner.driver.results import read_result, read_results
from evalrun_runner.driver.timeline import read_timeline
from evalrun_runner.errors import LedgerCorrupt, first_line
from evalrun_runner.ledger import layout
from evalrun_runner.report.assemble import ReportSources, assemble
from evalrun_runner.report.collect import ReportDocuments
from evalrun_runner.report.content import ReportContent
from evalrun_runner.report.write import render
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store


def write_report(
    store: ObjectStore,
    result: RunResult,
    baseline: RunLocation | None,
    log: Callable[[str], None],
    *,
    only_if_missing: bool = False,
) -> None:
    """Write ``report.html`` and ``report.md`` beside the results of a run that is complete.

    Args:
        store: The run's output.
        result: Its scores and verdicts.
        baseline: The run to compare with.
        log: Receives a warning if the report cannot be made.
        only_if_missing: Leave a report that is there as it is.
    """
    try:
        if only_if_missing and store.exists(layout.REPORT_HTML):
            return
        made = render(_content(store, result, baseline, log), log)
        store.put(layout.REPORT_HTML, made.html)
        store.put(layout.REPORT_MARKDOWN, made.markdown)
    # The scores are complete and in the store: nothing that happens here may take them away.
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {first_line(error)}"
        log(f"warning: there is no report: {reason}; hint: `evalrun report {store.uri}` makes it from the results")


def first_baseline(config: RunConfig) -> RunLocation | None:
    """Return the run that the first gate with a baseline compares with; None without such a gate."""
    return next((location for location in config.baselines if location is not None), None)


def read_report(
    location: RunLocation,
    baseline: RunLocation | None,
    log: Callable[[str], None],
    also: Sequence[RunLocation] = (),
) -> ReportContent:
    """Read a finished run back and collect what its report holds.

    Args:
        location: The run's output.
        baseline: The run to compare with.
        log: Receives why a section of the report is left out.
        also: More runs, for the order of all of them.

    Raises:
        InputError: There is no run, or it is not finished.
        LedgerCorrupt: An object of it is damaged.
    """
    result = read_result(location)
    return _content(open_store(store_spec(location)), result, baseline, log, also)


def _content(
    store: ObjectStore,
    result: RunResult,
    baseline: RunLocation | None,
    log: Callable[[str], None],
    also: Sequence[RunLocation] = (),
) -> ReportContent:
    record = read_record(store)
    if record is None:
        raise LedgerCorrupt(f"{store.uri} has COMPLETE but no run.json; the folder was changed by another hand")
    documents = ReportDocuments(result, read_results(store), record)
    other = None if baseline is None else open_store(store_spec(baseline))
    more = [open_store(store_spec(one)) for one in also]
    return assemble(ReportSources(documents, store, read_timeline(store), other, more), log)
