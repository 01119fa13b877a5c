"""Assembly of a report: what the documents say, and what is read of the items. A section that fails is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from evalrun_api.wire.outputs import TimelinePoint
from evalrun_runner.errors import EvalRunError, InputError, counted, first_line
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.report.collect import ReportDocuments, collect
from evalrun_runner.report.content import BaselineComparison, ItemList, Ranking, ReportContent, ScoreLine
from evalrun_runner.report.details import ItemDetails
from evalrun_runner.report.hardest import hardest
from evalrun_runner.report.pace import pace_of
from evalrun_runner.report.readings import ItemReadings, MainScore, main_scores, read_items
from evalrun_runner.report.text import one_line
from evalrun_runner.statistics.proportions import wilson
from evalrun_runner.store.base import ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReportSources:
    """What a report is made from."""

    documents: ReportDocuments
    store: ObjectStore
    """The run's output."""
    timeline: Sequence[TimelinePoint] = ()
    baseline: ObjectStore | None = None
    """Output of the run to compare with."""
    also: Sequence[ObjectStore] = ()
    """Outputs of more runs, for the order of all of them."""


def assemble(sources: ReportSources, log: Callable[[str], None]) -> ReportContent:
    """Collect all of a report.

    Args:
        sources: What it is made from.
        log: Receives why a section is left out.
    """
    content = collect(sources.documents)
    mains = main_scores(content.scores)
    readings = _try("what its items show", lambda: read_items(sources.store, mains), log)
    lists: list[ItemList] = []
    if readings is not None:
        content = replace(
            content,
            scores=_with_intervals(content.scores, mains, readings),
            failures=readings.failures,
            samples=_samples(readings, content),
        )
        if lacking := _lacking(sources.documents, readings):
            log(f"warning: {lacking}")
            content = replace(content, warnings=(lacking, *content.warnings))
    if sources.baseline is not None:
        comparison, changed = _against(sources.baseline, sources.store, log)
        content = replace(content, comparison=comparison)
        lists.extend(changed)
    if sources.also:
        ranked = _try("the order of the runs", lambda: _rankings(sources), log)
        content = replace(content, rankings=ranked or ())
    if readings is not None:
        details = ItemDetails(Ledger(sources.store))
        worst = _try("the hardest items", lambda: hardest(readings, mains, details), log)
        lists.extend([] if worst is None else [worst])
    return replace(content, item_lists=tuple(lists), pace=pace_of(sources.timeline, readings))


def _against(
    baseline: ObjectStore, store: ObjectStore, log: Callable[[str], None]
) -> tuple[BaselineComparison, tuple[ItemList, ...]]:
    from evalrun_runner.comparing.evalrun_output import EvalRunOutput
    from evalrun_runner.report.versus import against

    try:
        return against(EvalRunOutput(baseline, "the baseline"), EvalRunOutput(store, "this run"))
    except (EvalRunError, ValueError) as error:
        if not isinstance(error, InputError):
            log(f"warning: the report has no comparison: {first_line(error)}")
        return BaselineComparison(baseline.uri, baseline.uri, (), [one_line(f"No comparison: {error}", 500)]), ()


def _rankings(sources: ReportSources) -> tuple[Ranking, ...]:
    from evalrun_runner.comparing.evalrun_output import EvalRunOutput
    from evalrun_runner.comparing.opening import labels_of
    from evalrun_runner.report.ranking import rankings

    stores = [sources.store, *([] if sources.baseline is None else [sources.baseline]), *sources.also]
    stores = list({store.uri: store for store in stores}.values())
    labels = labels_of([store.uri for store in stores])
    if len(stores) < 2:
        return ()
    return rankings([EvalRunOutput(store, label) for store, label in zip(stores, labels, strict=True)])


def _with_intervals(
    lines: Sequence[ScoreLine], mains: Mapping[str, tuple[MainScore, bool]], readings: ItemReadings
) -> tuple[ScoreLine, ...]:
    """Add Wilson's interval to scores of 0 and 1 that have none: those of runs before intervals were recorded."""

    def with_interval(line: ScoreLine) -> ScoreLine:
        is_main = mains.get(line.task, (None, False))[0] == (line.metric, line.filter)
        if line.low is not None or line.value is None or not line.n or not is_main or line.task not in readings.binary:
            return line
        found = wilson(line.value * line.n, line.n)
        return replace(line, low=found.low, high=found.high, method=found.method.value)

    return tuple(map(with_interval, lines))


def _samples(readings: ItemReadings, content: ReportContent) -> tuple[str, ...]:
    if readings.complete:
        return tuple(content.samples)
    return (
        *content.samples,
        f"Times, tokens, errors and hardest items are of {readings.read:,} items, drawn evenly over the run: "
        "it has too many to read all. Scores and verdicts are of all items.",
    )


def _lacking(documents: ReportDocuments, readings: ItemReadings) -> str | None:
    """Say that there are fewer items than the results are made of."""
    account = documents.results.evalrun.counts
    scored = account.ok + account.failed + account.quarantined
    if not readings.complete or readings.read >= scored:
        return None
    return (
        f"Parts are missing from the output: {readings.read:,} of {counted(scored)} are there. Scores and verdicts are "
        "of all items; errors, times, hardest and changed items are of those that are there."
    )


def _try(what: str, make: Callable[[], T], log: Callable[[str], None]) -> T | None:
    try:
        return make()
    except Exception as error:  # noqa: BLE001  a task's own code may have put anything into a score
        log(f"warning: the report does not show {what}: {type(error).__name__}: {first_line(error)}")
        return None
