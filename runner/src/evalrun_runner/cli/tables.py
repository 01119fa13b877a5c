"""Tables of a result, for people: a name may be broken into lines, a number never."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from evalrun_api import RunResult, Score, ScoreInterval
from evalrun_api.wire.outputs import IntervalRecord

_FILE_WIDTH = 160
"""Columns where the output is no terminal: enough for long names."""
_GATES_WIDTH = 80
"""Columns that a table of gates needs for its numbers and for words of its names and reasons."""


def print_results(result: RunResult, strata: Sequence[IntervalRecord] = ()) -> None:
    """Print the scores, the gates, the counts of items, and the location of the results.

    Args:
        result: The result of a run.
        strata: Scores of strata and tags.
    """
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)
    if result.scores:
        console.print(scores_table(result, console))
    if strata:
        console.print(strata_table(strata))
    if result.gates:
        console.print(gates_table(result, console))
    counts = result.counts
    account = (
        f"planned {counts.planned:,} = {counts.ok:,} ok + {counts.failed:,} failed + {counts.quarantined:,} quarantined"
    )
    if counts.skipped:
        account += f" + {counts.skipped:,} skipped"
    if counts.answers is not None and (odd := counts.answers.odd):
        account += f"; answers: {odd}"
    # What was reused is of interest after a run, and says nothing to whoever only reads its results.
    work = "" if result.work is None else f"; {result.work.kept:,} kept from before, {result.work.redone:,} redone"
    print(account + work)
    if result.stopped is not None:
        print(f"stopped early: {result.stopped}")
    for warning in result.warnings:
        print(f"warning: {warning.line}")
    if result.engine == "mock":
        print("engine: mock, which makes its answers up: these scores say nothing of a model")
    print(f"results: {result.results_uri}")


def scores_table(result: RunResult, console: Console) -> Table:
    """Return the scores as a table, with few columns where the console is too narrow for all."""
    table = Table()
    for heading in ("task", "filter", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "95% interval", "stderr", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in result.scores:
        value, stderr, n = _numbers(score)
        table.add_row(score.task, score.filter, score.metric, value, _interval(score.interval), stderr, n)
    return table if _fits(table, console) else _narrow_scores(result)


def strata_table(strata: Sequence[IntervalRecord]) -> Table:
    """Return the scores of strata and tags as a table."""
    table = Table()
    for heading in ("task", "metric", "items"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", "95% interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in strata:
        name = f"{one.metric},{one.filter}"
        table.add_row(one.task, name, one.stratum, f"{one.value:.4f}", _interval(one.interval), f"{one.n:,}")
    return table


def gates_table(result: RunResult, console: Console) -> Table:
    """Return the gates as a table, with few columns where the console is too narrow for all but the explanation."""
    compared = any(gate.baseline is not None for gate in result.gates)
    headings = ("score", *(["difference"] if compared else []), "n")
    table, narrow = Table(), Table(box=None, pad_edge=False)
    table.add_column("gate", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for heading in ("gate", "verdict"):
        narrow.add_column(heading, overflow="fold", ratio=1)
    for gate in result.gates:
        name = f"{gate.task} {gate.metric},{gate.filter}"
        numbers = [
            "-" if gate.score is None else f"{gate.score:.4f}",
            *([] if not compared else ["-" if gate.difference is None else f"{gate.difference:+.4f}"]),
            "-" if gate.n is None else f"{gate.n:,}",
        ]
        verdict = f"{gate.verdict.value}, advisory" if gate.advisory else gate.verdict.value
        table.add_row(name, verdict, *numbers, gate.message)
        said = [f"{heading} {number}" for heading, number in zip(headings, numbers, strict=True) if number != "-"]
        narrow.add_row(name, "\n".join([verdict, *said, *([gate.message] if gate.message else [])]))
    return table if console.width >= _GATES_WIDTH else narrow


def _fits(table: Table, console: Console) -> bool:
    return Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width


def _narrow_scores(result: RunResult) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("score", overflow="fold")
    for heading in ("value", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in result.scores:
        value, stderr, n = _numbers(score)
        shown = stderr if score.interval is None else _interval(score.interval)
        table.add_row(f"{score.task}\n  {score.metric},{score.filter}", f"{value} {shown}", n)
    return table


def _numbers(score: Score) -> tuple[str, str, str]:
    value = "-" if score.value is None else f"{score.value:.4f}"
    stderr = "-" if score.stderr is None else f"± {score.stderr:.4f}"
    return value, stderr, f"{score.n:,}"


def _interval(interval: ScoreInterval | None) -> str:
    return "-" if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]"
