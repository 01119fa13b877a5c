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
MOST_STAGES = 4
"""Replicas of which a line says what they do before they are ready."""
LONGEST_SECONDS = 60.0
"""Interval between status lines that say nothing new, in seconds; it grows up to this."""


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
    stages: tuple[str, ...] = ()
    """What each replica that is not ready does, in words for people."""


class Watcher(Protocol):
    """Watcher of a run, which is called after every change, at least once a second during the run."""

    def show(self, view: View) -> None:
        """Show the newest view of the run."""

    def log(self, line: str) -> None:
        """Log an event that matters to people."""


class StatusLines:
    """Log of a run's views: a line per ten seconds while the run dispatches, fewer where nothing moves."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._started = clock()
        self._next = 0.0
        self._pause = LINE_SECONDS
        self._state: object = None
        """What the last line said, without its times."""

    def show(self, view: View) -> None:
        """Log the view, unless it only repeats progress and the last line is recent."""
        now = self._clock()
        if now < self._next and view.progress is not None:
            return
        state = _state_of(view)
        self._pause = LINE_SECONDS if state != self._state else min(LONGEST_SECONDS, self._pause * 2)
        self._state = state
        self._next = now + self._pause
        self._log(f"{duration(now - self._started)} {line_of(view)}")


def _state_of(view: View) -> object:
    progress = view.progress
    items = None if progress is None else (progress.answered, progress.counts, progress.planned)
    return view.phase, view.note, items, view.replicas_ready, view.replicas_wanted, view.degraded


def line_of(view: View, items: ProgressSnapshot | None = None) -> str:
    """Format a view as one line.

    Args:
        view: The view.
        items: The last known progress of items, for a view without one.
    """
    shown = view.progress or items
    if shown is None:
        return f"{view.phase.value}: {view.note}"
    note = f" ({view.note})" if view.note else ""
    rates = rates_of(view)
    return f"{view.phase.value}{note}: {items_of(shown)}{f', {rates}' if rates else ''}"


def items_of(progress: ProgressSnapshot) -> str:
    """Format how many items have an answer, and how many of these are committed."""
    committed = progress.counts.total
    less = f" ({committed:,} committed)" if committed != progress.answered else ""
    if progress.skipped:
        less += f", {progress.skipped:,} skipped"
    if progress.planning_done:
        return f"{progress.answered:,}/{progress.planned:,} items{less}"
    return f"{progress.answered:,} items{less}, {progress.planned:,} planned so far"


def rates_of(view: View) -> str:
    """Format the run's rates, number of replicas, and problems."""
    progress = view.progress
    if progress is None:
        return ""
    parts = []
    # Before the first answer and after the last one there is no rate: zeros would say that nothing happens.
    answering = not progress.planning_done or progress.answered < progress.planned - progress.skipped
    if answering and progress.items_per_s > 0:
        parts += [f"{_rate(progress.items_per_s)} items/s", f"{progress.tokens_per_s:,.0f} tokens/s"]
    if answering and progress.eta_s is not None:
        parts.append(f"ETA {duration(progress.eta_s)}")
    parts.append(f"replicas {view.replicas_ready}/{view.replicas_wanted}")
    parts.extend(view.stages[:MOST_STAGES])
    if len(view.stages) > MOST_STAGES:
        parts.append(f"{len(view.stages) - MOST_STAGES} more are not ready")
    lost = progress.counts.failed + progress.counts.quarantined
    if lost:
        parts.append(f"{lost} without a score")
    if view.degraded:
        parts.append(f"the store is in trouble: {view.degraded[:120]}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _rate(per_second: float) -> str:
    return f"{per_second:,.1f}" if per_second >= 1 else f"{per_second:.2g}"
