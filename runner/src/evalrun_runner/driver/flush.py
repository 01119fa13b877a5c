"""The early end of a run: every replica is told to commit what is complete and to leave."""

from __future__ import annotations

from evalrun_runner.driver.exchange import Exchange
from evalrun_runner.errors import Interrupted, RunFailed
from evalrun_runner.fleet.protocol import Answered, Departed, Joined, Refused
from evalrun_runner.records.messages import Order

FLUSH_SECONDS = 30.0
"""Maximum time for replicas to commit what is complete, in seconds."""


class Flush:
    """One early end. A replica is told in the answer to its next report, and has left with the report after that."""

    def __init__(self, exchange: Exchange, cause: RunFailed | None) -> None:
        """Begin to flush.

        Args:
            exchange: The conversation with the replicas.
            cause: What the run ends with; None: it was asked to stop.
        """
        self._exchange = exchange
        self._cause = cause
        self._deadline = exchange.clock() + FLUSH_SECONDS
        self._staying = exchange.working
        self._told: set[str] = set()

    def step(self) -> None:
        """Take one turn. Raises what the run ends with, once all have left or the time is over."""
        if not self._staying or self._exchange.clock() >= self._deadline:
            total = self._exchange.dispatcher.counts.total
            raise self._cause or Interrupted(
                f"stopped; {total:,} items are committed. The same command goes on from there"
            )
        for event in self._exchange.poll():
            match event:
                case Answered(replica, report):
                    self._exchange.report(replica, report)
                    if replica in self._told or report.leaving:
                        self._staying.discard(replica)
                    else:
                        self._exchange.send(replica, Order(done=True), 0.0)
                        self._told.add(replica)
                case Departed(replica) | Refused(replica):
                    self._staying.discard(replica)
                case Joined():
                    pass  # it holds nothing, and is given nothing
