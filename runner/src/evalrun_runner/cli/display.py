"""Output for people while a run goes on: a live bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from evalrun_api import RunConfig, RunProgress
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.progress import StatusLines, View, duration, line_of
from evalrun_runner.serving.endpoint import Endpoint, progress_of

_BAR, _NARROW_BAR = 40, 10
"""Length of the bar on a wide terminal and on a usual one."""
_WIDE, _NARROWEST = 120, 60
"""Columns of a wide terminal, and of the narrowest one with a bar."""


class Display:
    """``Watcher`` that shows the run on stderr and, optionally, serves it on a port."""

    def __init__(self, config: RunConfig, *, port: int | None, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = self._console.is_terminal
        self._progress = Progress(*_columns(self._console.width), console=self._console, disable=not self._live)
        self._bar: TaskID | None = None
        self._lines = StatusLines(self.log)
        self._view: View | None = None
        self._items: ProgressSnapshot | None = None
        """The last one of any view: what comes after the last item does not concern items."""
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
        self._view, self._items = view, view.progress or self._items
        if self._endpoint is not None:
            self._endpoint.update(view)
        if self._live:
            self._draw(view)
        else:
            self._lines.show(view)

    def progress(self) -> RunProgress:
        """Return how far the run is."""
        return progress_of(self._view, self._items)

    def _draw(self, view: View) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("", total=None)
        items = self._items
        self._progress.update(
            self._bar,
            description=line_of(view, items),
            completed=0 if items is None else items.answered,
            total=items.planned if items is not None and items.planning_done else None,
        )


class ElapsedColumn(ProgressColumn):
    """Time since the start, which goes on while a run with all its answers finishes."""

    def render(self, task: Task) -> Text:
        """See ``ProgressColumn``."""
        return Text(duration(task.get_time() - (task.start_time or task.get_time())))


def _columns(width: int) -> list[ProgressColumn]:
    """Return the columns of the bar's line: its text is broken between words, and no number is cut."""
    bar = BarColumn(bar_width=_BAR if width >= _WIDE else _NARROW_BAR)
    return [
        ElapsedColumn(table_column=Column(no_wrap=True)),
        *([bar] if width >= _NARROWEST else []),
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
    ]
