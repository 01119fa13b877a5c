"""What the dispatch loop reports to observers: lines as things happen, and a view of the run a few times a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from evalrun_api import Phase
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.driver.telemetry import RunTelemetry
from evalrun_runner.records.messages import StoreStats

VIEW_SECONDS = 0.25
WAITING = "waiting for replicas"
"""The note of a run without any replica: no capacity, or all were preempted. It waits."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Replicas of a run at one moment."""

    ready: int
    """Replicas that have loaded the model."""
    size: int
    """Replicas that were started and have not left, ready or not."""
    wanted: int
    """Replicas that are started again when they leave."""
    stages: tuple[str, ...] = ()
    """What each one that is not ready does, in words for people."""


@dataclass
class Reporter:
    """Builder of views of a run from the dispatcher and the telemetry. No decision depends on it."""

    watcher: Watcher
    telemetry: RunTelemetry = field(default_factory=RunTelemetry)
    """The dispatcher reports commits to it, the loop everything else."""
    store_stats: Callable[[], StoreStats] = StoreStats
    """Read the driver's own calls to the store."""
    trouble: Callable[[], str | None] = lambda: None
    """Say why the driver's own calls to the store wait, if they do."""
    view_seconds: float = VIEW_SECONDS
    """Seconds between two views; infinity for none but those that are asked for."""
    _next_view: float = 0.0

    def log(self, line: str) -> None:
        """Report an event that matters to people."""
        self.watcher.log(line)

    def is_due(self, now: float) -> bool:
        """Return whether it is time for the next view."""
        return now >= self._next_view

    def show(self, dispatcher: Dispatcher, now: float, *, phase: Phase, crew: Crew) -> None:
        """Show a run that dispatches.

        Args:
            dispatcher: Whose progress is shown.
            now: Seconds on the loop's clock.
            phase: Starting until a replica was ready for the first time, Running from then on.
            crew: Its replicas.
        """
        self._next_view = now + self.view_seconds
        progress = dispatcher.progress(now)
        troubles = (one.degraded for one in progress.replicas.values() if one.degraded)
        self.watcher.show(
            View(
                phase=phase,
                note="" if crew.ready or dispatcher.finished else "loading the model" if crew.size else WAITING,
                progress=progress,
                replicas_ready=crew.ready,
                replicas_wanted=max(crew.wanted, crew.size),
                stages=crew.stages,
                degraded=self.trouble() or next(troubles, None),
                telemetry=self.telemetry.snapshot(now, self.store_stats(), progress.replicas),
            )
        )

    def show_busy(self, dispatcher: Dispatcher, now: float, *, phase: Phase, note: str) -> None:
        """Show a run that does something else than dispatching: ``note`` says what."""
        replicas = dispatcher.progress(now).replicas
        telemetry = self.telemetry.snapshot(now, self.store_stats(), replicas)
        self.watcher.show(View(phase, note, telemetry=telemetry))
