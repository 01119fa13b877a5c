"""The simulation's ledger over the project's own ``Ledger``: Parquet parts, checksums and epochs as in production."""

from __future__ import annotations

import json
from collections.abc import Iterator

from evalrun_api.wire.outputs import StopRecord
from evalrun_runner.errors import LedgerCorrupt, Superseded
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer, encode_part
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, Outcome
from evalrun_runner.store.memory import MemoryStore
from support.simulation_world import ChunkId, Part, item_hash


class RealLedger:
    """``Ledger(MemoryStore())`` behind the simulation's protocol."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(self.store)
        self._chunks: dict[ChunkId, Chunk] = {}
        self._writers = 0

    def claim_epoch(self) -> int:
        """Claim the next epoch."""
        return self.ledger.claim_epoch()

    def highest_epoch(self) -> int:
        """The highest claimed epoch."""
        return self.ledger.highest_epoch()

    def commit(self, chunk: Chunk, part: Part) -> Part | None:
        """Commit rows that end as the part says; an unsound part is cut short as it is written."""
        self._chunks[chunk.id] = chunk
        self._writers += 1
        writer = Writer(replica=f"writer{self._writers}", engine="mock")
        statuses = (
            *[ItemStatus.OK] * part.counts.ok,
            *[ItemStatus.FAILED] * part.counts.failed,
            *[ItemStatus.QUARANTINED] * part.counts.quarantined,
        )
        rows = [
            ItemResult(doc_id=row, item_hash=item_hash(chunk.id, row), outcome=Outcome(status))
            for row, status in enumerate(statuses)
        ]
        if not part.sound:
            data = encode_part(chunk, rows, writer)
            if self.store.create(layout.part(*chunk.id), data[: len(data) // 2]):
                return None
        try:
            outcome = self.ledger.commit_part(chunk, rows, writer)
        except LedgerCorrupt:
            return Part(part.counts, chunk.digest, sound=False)
        return None if outcome.won else Part(outcome.counts, chunk.digest)

    def parts(self) -> Iterator[tuple[ChunkId, Part]]:
        """Every part, read and verified."""
        for chunk_id in self.ledger.committed_parts():
            chunk = self._chunks[chunk_id]
            try:
                yield chunk_id, Part(self.ledger.read_part(chunk).counts, chunk.digest)
            except LedgerCorrupt:
                yield chunk_id, Part(ItemCounts(), chunk.digest, sound=False)

    def set_aside(self, chunk: ChunkId) -> None:
        """Set a damaged part aside, as the highest epoch."""
        self.ledger.set_aside(self._chunks[chunk], self.highest_epoch())

    def recorded_stop(self) -> StopRecord | None:
        """The record of the early stop."""
        return self.ledger.recorded_stop()

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        """Record an early stop, unless another driver leads."""
        return self.ledger.record_stop(epoch, record)

    def complete(self, epoch: int) -> bool:
        """Create COMPLETE; a driver that was overtaken since it looked does not."""
        if self.ledger.is_complete():
            return False
        try:
            self.ledger.write_results(epoch, b"{}")
            self.ledger.complete(epoch)
        except Superseded:
            return False
        return True

    def completed_by(self) -> int | None:
        """The epoch that completed the run, if any."""
        if not self.ledger.is_complete():
            return None
        return int(json.loads(self.store.get(layout.COMPLETE))["epoch"])
