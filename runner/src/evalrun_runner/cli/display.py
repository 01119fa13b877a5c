"""Output for people: a live bar on a terminal, otherwise a line every ten seconds, and tables at the end."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from evalrun_api import RunConfig, RunResult
from evalrun_runner.driver.progress import StatusLines, View, rates_of
from evalrun_runner.serving.endpoint import Endpoint


class Display:
    """``Watcher`` that shows the run on stderr and, optionally, serves it on a port."""

    def __init__(self, config: RunConfig, *, port: int | None) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._bar: TaskID | None = None
        self._lines = StatusLines(self.log)
        self._endpoint = None if port is None else Endpoint(config, port)

    def __enter__(self) -> Display:
        if self._endpoint is not None:
            self.log(f"progress and metrics on {self._endpoint.start()}")
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._endpoint is not None:
            self._endpoint.stop()

    def log(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, view: View) -> None:
        """Show the newest view of the run."""
        if self._endpoint is not None:
            self._endpoint.update(view)
        if self._live:
            self._draw(view)
        else:
            self._lines.show(view)

    def _draw(self, view: View) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task(view.phase.value, total=None, rates="")
        progress = view.progress
        total = progress.planned if progress is not None and progress.planning_done else None
        done = progress.counts.total if progress is not None else 0
        description = f"{view.phase.value}{f' ({view.note})' if view.note else ''}"
        self._progress.update(self._bar, description=description, completed=done, total=total, rates=rates_of(view))


def print_results(result: RunResult) -> None:
    """Print the scores, the gates, the counts of items, and the location of the results."""
    # Without a terminal, use a width that fits long names.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    if result.scores:
        console.print(_scores(result))
    if result.gates:
        console.print(_gates(result))
    counts = result.counts
    account = (
        f"planned {counts.planned:,} = {counts.ok:,} ok + {counts.failed:,} failed + {counts.quarantined:,} quarantined"
    )
    # What was reused is of interest after a run, and says nothing to whoever only reads its results.
    work = "" if result.work is None else f"; {result.work.kept:,} kept from before, {result.work.redone:,} redone"
    print(account + work)
    for warning in result.warnings:
        print(f"warning: {warning.line}")
    if result.engine == "mock":
        print("engine: mock, which makes its answers up: these scores say nothing of a model")
    print(f"results: {result.results_uri}")


def _scores(result: RunResult) -> Table:
    table = Table("task", "filter", "metric", title=None)
    for heading in ("value", "stderr", "n"):
        table.add_column(heading, justify="right")
    for score in result.scores:
        value = "-" if score.value is None else f"{score.value:.4f}"
        stderr = "-" if score.stderr is None else f"± {score.stderr:.4f}"
        table.add_row(score.task, score.filter, score.metric, value, stderr, f"{score.n:,}")
    return table


def _gates(result: RunResult) -> Table:
    compared = any(gate.baseline is not None for gate in result.gates)
    table = Table("gate", "verdict", title=None)
    for heading in ("score", *(["difference"] if compared else []), "n"):
        table.add_column(heading, justify="right")
    table.add_column("why")
    for gate in result.gates:
        name = f"{gate.task} {gate.metric},{gate.filter}"
        difference = "-" if gate.difference is None else f"{gate.difference:+.4f}"
        table.add_row(
            name,
            gate.verdict.value,
            "-" if gate.score is None else f"{gate.score:.4f}",
            *([difference] if compared else []),
            "-" if gate.n is None else f"{gate.n:,}",
            gate.message,
        )
    return table
