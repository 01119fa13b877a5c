"""Views of a run for its watchers: a terminal, a log, a scrape."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from evalrun_api import Phase
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.telemetry import TelemetrySnapshot

LINE_SECONDS = 10.0
"""Minimum interval between status lines, in seconds."""


@dataclass(frozen=True, slots=True)
class View:
    """View of the run at one moment."""

    phase: Phase
    note: str = ""
    """Current activity in words for people."""
    progress: ProgressSnapshot | None = None
    replicas_ready: int = 0
    replicas_wanted: int = 0
    degraded: str | None = None
    telemetry: TelemetrySnapshot | None = None
    """Telemetry for metrics, in addition to ``progress``; None before the first chunk is planned."""


class Watcher(Protocol):
    """Watcher of a run, which is called after every change, at least once a second during the run."""

    def show(self, view: View) -> None:
        """Show the newest view of the run."""

    def log(self, line: str) -> None:
        """Log an event that matters to people."""


class StatusLines:
    """Log of a run's views, with at most one line per ten seconds while the run dispatches."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._next = 0.0

    def show(self, view: View) -> None:
        """Log the view, unless it only repeats progress and the last line is recent."""
        if time.monotonic() >= self._next or view.progress is None:
            self._next = time.monotonic() + LINE_SECONDS
            self._log(line_of(view))


def line_of(view: View) -> str:
    """Format a view as one line."""
    progress = view.progress
    if progress is None:
        return f"{view.phase.value}: {view.note}"
    more = "" if progress.planning_done else "+"
    note = f" ({view.note})" if view.note else ""
    return f"{view.phase.value}{note}: {progress.counts.total:,}/{progress.planned:,}{more} items, {rates_of(view)}"


def rates_of(view: View) -> str:
    """Format the run's rates, number of replicas, and problems."""
    progress = view.progress
    if progress is None:
        return ""
    parts = [f"{progress.items_per_s:,.1f} items/s", f"{progress.tokens_per_s:,.0f} tokens/s"]
    if progress.eta_s is not None:
        parts.append(f"ETA {_duration(progress.eta_s)}")
    parts.append(f"replicas {view.replicas_ready}/{view.replicas_wanted}")
    lost = progress.counts.failed + progress.counts.quarantined
    if lost:
        parts.append(f"{lost} without a score")
    if view.degraded:
        parts.append(f"the store is in trouble: {view.degraded[:120]}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
