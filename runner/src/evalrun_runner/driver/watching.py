"""What a driver tells those who watch it: a terminal, a log, a scrape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from evalrun_api import Phase
from evalrun_runner.dispatch.progress import ProgressSnapshot


@dataclass(frozen=True, slots=True)
class View:
    """The run at one moment."""

    phase: Phase
    note: str = ""
    """What it is busy with, for people."""
    progress: ProgressSnapshot | None = None
    replicas_ready: int = 0
    replicas_wanted: int = 0
    degraded: str | None = None
    commit_seconds: tuple[float, ...] = field(default=())
    """Seconds from the end of a chunk's last item to its part in the store, of the chunks since the last view."""


class Watcher(Protocol):
    """Told of every change, at least once a second while the run goes on."""

    def show(self, view: View) -> None:
        """The run as it is now."""

    def log(self, line: str) -> None:
        """Something happened that a person would want to know."""
