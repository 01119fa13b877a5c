"""Completed chunks to parts: score, encode, write."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from evalrun_runner.benchmarks.running_scores import tally
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, RunFailed
from evalrun_runner.ledger.ledger import CommitOutcome, Ledger
from evalrun_runner.ledger.parts import Writer, count
from evalrun_runner.records.messages import Committed
from evalrun_runner.records.results import ItemResult
from evalrun_runner.replica.scoring import ScoringProcess
from evalrun_runner.replica.work import ChunkWork


class Committer:
    """One thread that scores and commits, so that neither holds up the engine."""

    def __init__(
        self,
        ledger: Ledger,
        scoring: ScoringProcess,
        *,
        writer: Writer,
        on_commit: Callable[[Committed], None],
        on_failure: Callable[[EvalRunError], None],
    ) -> None:
        self._ledger = ledger
        self._scoring = scoring
        self._writer = writer
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[ChunkWork | None] = queue.SimpleQueue()
        # Two counters, each written by one thread: a sum that both wrote would need a lock.
        self._taken = 0
        self._committed = 0
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        """Start the thread, and with it the scoring process, which belongs to it alone."""
        self._thread.start()

    @property
    def pending(self) -> int:
        """Chunks that are complete and not yet in the store."""
        return self._taken - self._committed

    def put(self, work: ChunkWork) -> None:
        """Take a completed chunk."""
        self._taken += 1
        self._queue.put(work)

    def close(self, grace: float) -> None:
        """Commit what is pending, within ``grace`` seconds, then stop."""
        self._queue.put(None)
        self._thread.join(grace)

    def _run(self) -> None:
        try:
            self._scoring.start()
            while (work := self._queue.get()) is not None:
                committed = self._commit(work)
                self._committed += 1
                self._on_commit(committed)
        except EvalRunError as error:
            self._on_failure(error)
        except Exception as error:  # noqa: BLE001  a thread that died in silence would leave its chunks leased for ever
            self._on_failure(RunFailed(f"{self._writer.replica}: committing failed: {type(error).__name__}: {error}"))
        finally:
            self._scoring.close()

    def _commit(self, work: ChunkWork) -> Committed:
        rows = self._rows(work)
        try:
            outcome = self._ledger.commit_part(work.lease.chunk, rows, self._writer)
        except LedgerCorrupt:
            # Another writer's part is there and damaged. Only the driver may set it aside: it verifies every part in
            # the end, finds this one, and has the chunk done again.
            outcome = CommitOutcome(won=False, counts=count(rows))
        new = [result for row, result in enumerate(rows) if row not in work.carried]
        responses = [response for row in new for request in row.outcome.responses for response in request]
        return Committed(
            lease=work.lease.id,
            chunk=work.lease.chunk.id,
            counts=outcome.counts,
            won=outcome.won,
            prompt_tokens=sum(response.prompt_tokens for response in responses),
            output_tokens=sum(response.output_tokens for response in responses),
            seconds_to_commit=time.monotonic() - work.last_item_at,
            scores=tally(rows),
        )

    def _rows(self, work: ChunkWork) -> list[ItemResult]:
        """The part's rows; those of an earlier run are not scored again."""
        new = [row for row in range(len(work.items)) if row not in work.carried]
        items, outcomes = [work.items[row] for row in new], [work.outcomes[row] for row in new]
        scored = dict(zip(new, self._scoring.score(work.lease.chunk.task, items, outcomes), strict=True))
        return [work.carried[row] if row in work.carried else scored[row] for row in range(len(work.items))]
