"""Ledger of a run: which driver leads, what is planned, committed and complete.

The ledger depends only on atomic creation: an object is created completely or not at all, and of two creators exactly
one wins (``store.base``). Parts are epoch-neutral: a part for the same manifest is valid whoever made it, and the first
one wins. Only the driver with the highest epoch sets damaged objects aside, writes results and completes the run, and
it checks its epoch immediately before each of these. A superseded driver can therefore do damage only between check and
act; the results then differ from the digest in ``COMPLETE`` and are never accepted as the run's.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evalrun_api import Reason
from evalrun_api.wire.outputs import CompletionMark, StopRecord
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, StoreUnavailable, Superseded
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.manifest import (
    OpenSegment,
    Segment,
    TaskIndex,
    decode_chunks,
    decode_index,
    decode_segment,
    encode_index,
    encode_segment,
)
from evalrun_runner.ledger.parts import Part, Writer, count, decode_part, encode_part
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemCounts, ItemResult
from evalrun_runner.store.base import ObjectStore

_COMMIT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class CommitOutcome:
    """Outcome of a commit."""

    won: bool
    """Whether this writer's part is the one in the store."""
    counts: ItemCounts
    """Counts of the part in the store."""


class Ledger:
    """All objects of a run. Thread-safe. Every call may raise the errors of the store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    # Epochs: which driver leads

    def claim_epoch(self) -> int:
        """Claim the next free epoch for this driver process, which leads until another claims a higher one."""
        # The nonce makes the bytes unique, so that another driver's claim cannot be mistaken for a retry of this one.
        who = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        claim = json.dumps({**who, "nonce": secrets.token_hex(16)}).encode()
        number = self.highest_epoch() + 1
        while not self._store.create(layout.epoch(number), claim):
            number += 1
        return number

    def highest_epoch(self) -> int:
        """Return the highest claimed epoch; 0 if there is none."""
        names = (key.removeprefix(layout.EPOCHS) for key in self._store.list(layout.EPOCHS))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def assert_leading(self, epoch: int) -> None:
        """Check that no other driver has claimed a higher epoch.

        Raises:
            Superseded: Another driver has.
        """
        highest = self.highest_epoch()
        if highest > epoch:
            raise Superseded(
                f"another driver took over the run in {self._store.uri} (epoch {highest}, ours is {epoch}). "
                "This one leaves; what it committed stays and counts"
            )

    # Model: what the parts are made with

    def claim_model(self, digest: str) -> None:
        """Record the digest of the model's content as the run's, before the model answers any request.

        Raises:
            InputError: The run was begun with another model.
            LedgerCorrupt: The record is damaged.
        """
        if self._store.create(layout.MODEL, json.dumps({"digest": digest}).encode()):
            return
        if (first := self.claimed_model()) != digest:
            raise InputError(
                f"{self._store.uri}: the model is not the one that this run was begun with.\n"
                f"  begun with {first}\n"
                f"  found now  {digest}\n"
                "Bring back the model that was meant, or give another output",
                reason=Reason.MODEL_INVALID,
            )

    def claimed_model(self) -> str | None:
        """Return the digest of the model that the parts are made with, None before a replica has loaded it.

        Raises:
            LedgerCorrupt: The record is damaged.
        """
        try:
            return str(json.loads(self._store.get(layout.MODEL))["digest"])
        except ObjectMissing:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerCorrupt(
                f"{self._store.uri}{layout.MODEL} is damaged ({error!r}). Put a sound copy of it back, or give another "
                "output"
            ) from error

    # Manifest: what is planned

    def write_segment(self, items: Sequence[Item], chunks: Sequence[Chunk]) -> None:
        """Make a segment durable, after which its chunks may be leased. An existing segment must be equal.

        Raises:
            InputError: There is another plan's segment.
            LedgerCorrupt: There is a damaged segment.
        """
        task, number = chunks[0].task, chunks[0].segment
        key = layout.segment(task, number)
        if not self._store.create(key, encode_segment(items, chunks)):
            # Compare the content: another version of the Parquet library may write different bytes for the same plan.
            there = decode_chunks(self._store.get(key), self._where(key))
            if there != tuple(chunks):
                raise InputError(self._another_plan(f"segment {number} of task {task}"), reason=Reason.PLAN_MISMATCH)

    def read_segment(self, task: str, number: int) -> Segment:
        """Read a whole segment.

        Raises:
            ObjectMissing: The segment does not exist.
            LedgerCorrupt: The segment is damaged.
        """
        key = layout.segment(task, number)
        return decode_segment(self._store.get(key), self._where(key))

    def read_chunks(self, task: str, number: int) -> tuple[Chunk, ...]:
        """Read the chunks of a segment without its items.

        Raises:
            ObjectMissing: The segment does not exist.
            LedgerCorrupt: The segment is damaged.
        """
        key = layout.segment(task, number)
        return decode_chunks(self._store.get(key), self._where(key))

    def open_segment(self, task: str, number: int) -> OpenSegment:
        """Open a segment to read its chunks one by one. Raises ``ObjectMissing``, ``LedgerCorrupt``."""
        key = layout.segment(task, number)
        return OpenSegment(self._store.get(key), self._where(key))

    def segment_bytes(self, task: str, number: int) -> bytes:
        """Read a segment's raw bytes, for several calls of ``manifest.decode_chunk``.

        Raises:
            ObjectMissing: The segment does not exist.
        """
        return self._store.get(layout.segment(task, number))

    def write_task_index(self, index: TaskIndex) -> None:
        """Record that a leaf task's manifest is complete.

        Raises:
            InputError: There is another plan's index.
            LedgerCorrupt: There is a damaged index.
        """
        key = layout.task_index(index.task)
        if not self._store.create(key, encode_index(index)):
            there = decode_index(self._store.get(key), self._where(key))
            if there != index:
                what = f"task {index.task}: {there.items} items, this plan {index.items}"
                raise InputError(self._another_plan(what), reason=Reason.PLAN_MISMATCH)

    def task_index(self, task: str) -> TaskIndex | None:
        """Read the index of a leaf task, None while its manifest is not complete.

        Raises:
            LedgerCorrupt: The index is damaged.
        """
        key = layout.task_index(task)
        try:
            return decode_index(self._store.get(key), self._where(key))
        except ObjectMissing:
            return None

    def planned_chunks(self, task: str) -> tuple[Chunk, ...]:
        """Read every planned chunk of a leaf task in order, without the items; none while its manifest is incomplete.

        Raises:
            LedgerCorrupt: The index or a segment is damaged.
        """
        index = self.task_index(task)
        segments = range(0 if index is None else index.segments)
        return tuple(chunk for number in segments for chunk in self.read_chunks(task, number))

    # Parts: what is committed

    def commit_part(self, chunk: Chunk, rows: Sequence[ItemResult], writer: Writer) -> CommitOutcome:
        """Commit a chunk atomically; if another writer was first, its part counts.

        Raises:
            LedgerCorrupt: The other writer's part is damaged; the driver must set it aside before another commit.
        """
        data = encode_part(chunk, rows, writer)
        for _ in range(_COMMIT_ATTEMPTS):
            if self._store.create(layout.part(*chunk.id), data):
                return CommitOutcome(won=True, counts=count(rows))
            try:
                return CommitOutcome(won=False, counts=self.read_part(chunk).counts)
            except ObjectMissing:
                continue  # the other part was damaged and has just been set aside
        raise StoreUnavailable(f"{self._where(layout.part(*chunk.id))} comes and goes: {_COMMIT_ATTEMPTS} tries. Retry")

    def read_part(self, chunk: Chunk) -> Part:
        """Read and verify a committed part.

        Raises:
            ObjectMissing: The chunk is not committed.
            LedgerCorrupt: The part is damaged, or was made for other items.
        """
        key = layout.part(*chunk.id)
        return decode_part(self._store.get(key), chunk, self._where(key))

    def carry(self, part: Part) -> None:
        """Store an earlier run's part beside the run, so that whoever runs the chunk reuses its ok items."""
        self._store.put(layout.carried(*part.chunk.id), encode_part(part.chunk, part.rows, part.writer))

    def carried_part(self, chunk: Chunk) -> Part | None:
        """Read the part that ``carry`` stored for a chunk, None if there is none.

        Raises:
            LedgerCorrupt: The part is damaged.
        """
        key = layout.carried(*chunk.id)
        try:
            return decode_part(self._store.get(key), chunk, self._where(key))
        except ObjectMissing:
            return None

    def committed_parts(self) -> Iterator[tuple[str, int]]:
        """List the (task, number) of every committed chunk, without reading or verifying the parts."""
        for key in self._store.list(layout.PARTS):
            parsed = layout.parse_part(key)
            if parsed is not None:
                yield parsed

    def counted_parts(self) -> list[tuple[str, int]]:
        """List the (task, number) of every committed chunk that the run is made of, sorted.

        What a run that stopped early had finished beyond its stop is not a part of it.

        Raises:
            LedgerCorrupt: The record of the stop is damaged.
        """
        stop = self.recorded_stop()
        return sorted(part for part in self.committed_parts() if stop is None or stop.counts_in(*part))

    def set_aside(self, chunk: Chunk, epoch: int) -> bool:
        """Move a damaged part to ``corrupt/``, so that the chunk can run again.

        Returns:
            Whether the part was moved; False if it is sound or missing.

        Raises:
            Superseded: Another driver has taken over.
        """
        # Read again: a driver that paused after it saw the damage must not remove a sound part that was made since.
        try:
            self.read_part(chunk)
        except ObjectMissing:
            return False
        except LedgerCorrupt:
            self._move_aside(layout.part(*chunk.id), epoch)
            return True
        return False

    def set_segment_aside(self, task: str, number: int, epoch: int) -> bool:
        """Move a damaged segment to ``corrupt/``, so that it can be written again.

        Returns:
            Whether the segment was moved; False if it is sound or missing.

        Raises:
            Superseded: Another driver has taken over.
        """
        try:
            self.read_segment(task, number)
        except ObjectMissing:
            return False
        except LedgerCorrupt:
            self._move_aside(layout.segment(task, number), epoch)
            return True
        return False

    # Early stop: which part of the plan the run is made of

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        """Record that the run stops early, and return the record that counts: the first one.

        Raises:
            Superseded: Another driver has taken over.
            LedgerCorrupt: Another record is there, and damaged.
        """
        self.assert_leading(epoch)
        if self._store.create(layout.STOPPED, record.write()):
            return record
        return self.recorded_stop() or record

    def recorded_stop(self) -> StopRecord | None:
        """Read which part of the plan the run is made of; None: all of it.

        Raises:
            LedgerCorrupt: The record is damaged.
        """
        try:
            return StopRecord.read(self._store.get(layout.STOPPED))
        except ObjectMissing:
            return None
        except ValueError as error:
            raise LedgerCorrupt(
                f"{self._where(layout.STOPPED)} is damaged ({error}). Put a sound copy of it back, or remove it: the "
                "run then evaluates the rest"
            ) from error

    # The end

    def write_results(self, epoch: int, results: bytes) -> None:
        """Write ``results.json``, a function of the plan and the parts only, so that all drivers write the same.

        Raises:
            Superseded: Another driver has taken over, or completed the run with other results.
        """
        self.assert_leading(epoch)
        if self.is_complete():
            if self._completed_sha256() != hashlib.sha256(results).hexdigest():
                raise Superseded(
                    f"another driver completed the run in {self._store.uri} with other results; those count"
                )
            return
        self._store.put(layout.RESULTS, results)

    def complete(self, epoch: int) -> None:
        """Create ``COMPLETE`` for the results in the store.

        Raises:
            Superseded: There is a higher epoch, or another driver completed the run with other results.
        """
        sha256 = hashlib.sha256(self._store.get(layout.RESULTS)).hexdigest()
        self.assert_leading(epoch)
        mark = CompletionMark(epoch=epoch, results_sha256=sha256).write()
        if not self._store.create(layout.COMPLETE, mark) and self._completed_sha256() != sha256:
            raise Superseded(f"another driver completed the run in {self._store.uri} with other results; those count")

    def is_complete(self) -> bool:
        """Return whether the run is finished."""
        return self._store.exists(layout.COMPLETE)

    def completed_results(self) -> bytes:
        """Read ``results.json`` of a finished run.

        Raises:
            ObjectMissing: The run is not finished.
            LedgerCorrupt: The results or ``COMPLETE`` are damaged.
        """
        expected = self._completed_sha256()
        try:
            results = self._store.get(layout.RESULTS)
        except ObjectMissing as error:
            raise LedgerCorrupt(
                f"{self._where(layout.RESULTS)} is not there, though the run is complete. Remove COMPLETE and start "
                "the run again: the parts are kept and the results are made from them"
            ) from error
        found = hashlib.sha256(results).hexdigest()
        if found != expected:
            raise LedgerCorrupt(
                f"{self._where(layout.RESULTS)} has the sha256 {found}; the run was completed with {expected}. "
                "Remove COMPLETE and start the run again: the parts are kept and the results are made from them"
            )
        return results

    def _completed_sha256(self) -> str:
        try:
            return CompletionMark.read(self._store.get(layout.COMPLETE)).results_sha256
        except ValueError as error:
            raise LedgerCorrupt(
                f"{self._where(layout.COMPLETE)} is damaged ({error}). Remove it and start the run again: "
                "the parts are kept"
            ) from error

    def _move_aside(self, key: str, epoch: int) -> None:
        self.assert_leading(epoch)
        self._store.move(key, f"{layout.CORRUPT}{epoch:06d}/{key}")

    def _where(self, key: str) -> str:
        return f"{self._store.uri}{key}"

    def _another_plan(self, what: str) -> str:
        return (
            f"{self._store.uri} holds another plan ({what}): the model's templates, the tasks, their data, limits or "
            "the seed differ. Give another output, or start fresh beside the old one"
        )
