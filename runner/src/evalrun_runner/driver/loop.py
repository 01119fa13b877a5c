"""The dispatch loop, one turn after the other: planned chunks to the dispatcher, its orders to the replicas.

Nothing in a turn waits but the fleet's ``poll`` and, while there is no fleet, the cancellation's ``wait``; the time is
the injected clock's. So a fleet, a planning and a clock that are simulated play a run as fast as Python can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalrun_api import Phase, Reason
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.exchange import POLL_SECONDS, Exchange
from evalrun_runner.driver.flush import Flush
from evalrun_runner.driver.reporter import Crew
from evalrun_runner.errors import RunFailed, Superseded
from evalrun_runner.planning.planning import Planned
from evalrun_runner.records.plan import Chunk


class PlanSource(Protocol):
    """Source of planned chunks, used while replicas already work."""

    def take(self) -> Sequence[Planned]:
        """Return what was planned since the last call, without waiting. Raises what stopped the planning."""

    @property
    def done(self) -> bool:
        """Whether all chunks were taken and none will come."""


@dataclass
class Loop:
    """One driver's dispatching, in one thread: nothing here is touched by another one."""

    exchange: Exchange
    planning: PlanSource
    cancellation: Cancellation
    checks: Sequence[Callable[[], None]] = ()
    """Called in every turn. Each raises what ends the run from outside: another driver leads, the cluster is gone."""
    _flush: Flush | None = None
    """Flush in progress, once the run ends early."""

    def run(self) -> None:
        """Step until every chunk is committed. Raises what ``step`` raises.

        May be called again after ``reopen``: no replica was told to leave.
        """
        try:
            while self.step():
                pass
        finally:
            # Whoever looks from here on sees the end, the last commits included.
            self._show()

    def step(self) -> bool:
        """Take one turn; return whether there is more to do.

        Raises:
            RunFailed: The run cannot reach its end; what was complete is committed.
            Interrupted: It was asked to stop; what was complete is committed.
            Superseded: Another driver leads, and nothing that this one does counts any more.
        """
        if self._flush is not None:
            self._flush.step()
            return True
        if self.exchange.dispatcher.finished:
            return False
        if self.cancellation.requested:
            self._flush = Flush(self.exchange, None)
            return True
        try:
            self._turn()
        except Superseded:
            raise
        except RunFailed as failure:
            # What is complete is worth keeping, whatever ends the run.
            self._flush = Flush(self.exchange, failure)
        return True

    def reopen(self, chunks: Iterable[Chunk]) -> None:
        """Run chunks again whose parts were set aside, with the replicas that are there."""
        for chunk in chunks:
            self.exchange.dispatcher.reopen(chunk)
            self.exchange.reporter.telemetry.reopened(chunk.id)
        self.exchange.ensure_fleet()
        self.exchange.wake()

    def end_fleet(self) -> None:
        """End all replicas, and show that none are left."""
        if self.exchange.fleet is not None:
            self.exchange.end()
            finished = self.exchange.dispatcher.finished
            self.show_busy(Phase.FINISHING if finished else self._phase, "the replicas have ended")

    def show_busy(self, phase: Phase, note: str) -> None:
        """Show what the driver does while nothing is dispatched."""
        exchange = self.exchange
        exchange.reporter.show_busy(exchange.dispatcher, exchange.clock(), phase=phase, note=note)

    def _turn(self) -> None:
        # 1. Take in what was planned. The first chunk that has to be run starts the fleet.
        self._plan()
        if self.exchange.fleet is None:
            self.cancellation.wait(POLL_SECONDS)
        else:
            # 2. Take in what the replicas did, and answer each with an order.
            self.exchange.answer()
            # 3. Replace those that left, once their pause is over.
            self.exchange.replace()
            # 4. Kill those that are silent or hang.
            self.exchange.kill()
        # 5. Decide whether the run goes on.
        self._judge()
        # 6. Show how far it is.
        if self.exchange.reporter.is_due(self.exchange.clock()):
            self._show()

    def _plan(self) -> None:
        for planned in self.planning.take():
            self._add(planned)
        if self.planning.done:
            self.exchange.dispatcher.planning_done()

    def _add(self, planned: Planned) -> None:
        reporter = self.exchange.reporter
        self.exchange.dispatcher.add_chunks(planned.chunks, planned.committed, planned.places)
        reporter.telemetry.kept(planned.scores)
        for note in planned.notes:
            reporter.log(note)
        if planned.set_aside:
            reporter.log(f"{planned.set_aside} damaged parts were set aside under corrupt/; their chunks are redone")
        if self.exchange.dispatcher.any_open:
            self.exchange.ensure_fleet()

    def _judge(self) -> None:
        dispatcher = self.exchange.dispatcher
        if dispatcher.fatal is not None:
            raise RunFailed(dispatcher.fatal, reason=Reason.REPLICAS_FAILED)
        for check in self.checks:
            check()
        if dispatcher.hopeless is not None:
            raise RunFailed(dispatcher.hopeless, reason=Reason.TOO_MANY_FAILED_ITEMS)

    @property
    def _phase(self) -> Phase:
        # A run whose replicas were all lost waits for others, but it has not begun anew.
        return Phase.RUNNING if self.exchange.was_ready else Phase.STARTING

    def _show(self) -> None:
        exchange = self.exchange
        exchange.reporter.show(
            exchange.dispatcher,
            exchange.clock(),
            phase=self._phase,
            crew=Crew(len(exchange.ready), exchange.size, exchange.wanted, exchange.stages),
        )
