"""Committing of completed chunks as parts: score, encode, write."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from evalrun_runner.benchmarks.running_scores import tally
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, RunFailed
from evalrun_runner.ledger.ledger import CommitOutcome, Ledger
from evalrun_runner.ledger.parts import Writer, count
from evalrun_runner.records.messages import Committed
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, Outcome
from evalrun_runner.replica.work import ChunkWork


class Scoring(Protocol):
    """Scorer of chunks, used only by the committer's thread."""

    def start(self) -> None:
        """Prepare for the first chunk, while the engine loads. Raises ``RunFailed``."""

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Score items, and return one row per item. Raises ``RunFailed``, ``InputError``."""

    def close(self) -> None:
        """Free its resources."""


class Committer:
    """Thread that scores and commits, so that neither delays the engine."""

    def __init__(self, ledger: Ledger, scoring: Scoring, *, writer: Writer) -> None:
        self._ledger = ledger
        self._scoring = scoring
        self._writer = writer
        self._queue: queue.SimpleQueue[ChunkWork | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        """Written by ``start``, joined by ``close``."""

    def start(self, on_commit: Callable[[Committed], None], on_failure: Callable[[EvalRunError], None]) -> None:
        """Start the thread, and with it the scoring, which belongs to it alone. The callbacks run in that thread."""
        self._thread = threading.Thread(target=self._run, args=(on_commit, on_failure), name="commit", daemon=True)
        self._thread.start()

    def put(self, work: ChunkWork) -> None:
        """Queue a completed chunk; thread-safe."""
        self._queue.put(work)

    def close(self, grace: float) -> None:
        """Commit what is pending, within ``grace`` seconds, then stop."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(grace)

    def _run(self, on_commit: Callable[[Committed], None], on_failure: Callable[[EvalRunError], None]) -> None:
        try:
            self._scoring.start()
            while (work := self._queue.get()) is not None:
                on_commit(self._commit(work))
        except EvalRunError as error:
            on_failure(error)
        except Exception as error:  # noqa: BLE001  a thread that died in silence would leave its chunks leased for ever
            on_failure(RunFailed(f"{self._writer.replica}: committing failed: {type(error).__name__}: {error}"))
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
        """Score the part's rows, except those of an earlier run, which have scores already."""
        new = [row for row in range(len(work.items)) if row not in work.carried]
        items, outcomes = [work.items[row] for row in new], [work.outcomes[row] for row in new]
        scored = dict(zip(new, self._scoring.score(work.lease.chunk.task, items, outcomes), strict=True))
        return [work.carried[row] if row in work.carried else scored[row] for row in range(len(work.items))]
