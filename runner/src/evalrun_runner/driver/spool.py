"""Rows of verified parts, from the pass that reads them to the end of the run.

The pass runs while the replicas wait, since a damaged part is redone by them; scores and samples are made once
they have left. In between, the rows lie in a temporary file, compressed: memory holds one entry per chunk, however many
items.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from types import TracebackType
from typing import IO, Any, Self

from evalrun_runner.errors import RunFailed
from evalrun_runner.ledger.parts import Part
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import Answer, ItemCounts, ItemResult, ItemStatus, Outcome, Response

IN_MEMORY_BYTES = 16 * 1024 * 1024
"""Up to this size there is no file."""

_FIELDS = attrgetter(*(field.name for field in fields(Response)))
_Responses = tuple[tuple[tuple[Any, ...], ...], ...]
_Row = tuple[int, str, str, str | None, str | None, _Responses, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class _Entry:
    place: int
    length: int
    counts: ItemCounts


class RowSpool:
    """Rows by chunk. Not safe to use from several threads, but for ``pack``."""

    def __init__(self, *, samples: bool, file: IO[bytes] | None = None) -> None:
        """Open an empty spool.

        Args:
            samples: Keep all of a row, as samples need it; else what scores are made of.
            file: Where the rows go; by default a temporary file that is in memory as long as it is small.
        """
        self._samples = samples
        self._entries: dict[tuple[str, int], _Entry] = {}
        self._end = 0
        self._file: IO[bytes] = file or tempfile.SpooledTemporaryFile(  # noqa: SIM115  (closed on exit)
            IN_MEMORY_BYTES, prefix="evalrun-rows-"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A file that could not take its last bytes tries again as it is closed, and says again what was said before.
        with contextlib.suppress(OSError):
            self._file.close()

    def pack(self, part: Part) -> bytes:
        """Encode a part's rows for ``add``."""
        # Tuples of plain values: pickling the rows themselves takes three times as long.
        rows = [_to_plain(row) for row in part.rows] if self._samples else [_to_scores(row) for row in part.rows]
        return zlib.compress(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL), level=1)

    def add(self, chunk: Chunk, counts: ItemCounts, packed: bytes) -> None:
        """Keep what ``pack`` made of a chunk's part.

        Raises:
            RunFailed: The folder for temporary files is full.
        """
        with _disk_errors():
            self._file.seek(self._end)
            self._file.write(packed)
            # Whatever does not fit is found out here, and not when the rows are read.
            self._file.flush()
        self._entries[chunk.id] = _Entry(self._end, len(packed), counts)
        self._end += len(packed)

    def counts(self, chunk: Chunk) -> ItemCounts | None:
        """Return how the items of a chunk ended; None if its part was not added."""
        entry = self._entries.get(chunk.id)
        return None if entry is None else entry.counts

    def rows(self, chunk: Chunk) -> Sequence[ItemResult]:
        """Return the rows of a chunk that was added.

        Raises:
            RunFailed: The temporary file cannot be read.
        """
        entry = self._entries[chunk.id]
        with _disk_errors():
            self._file.seek(entry.place)
            packed = self._file.read(entry.length)
        rows: list[_Row] = pickle.loads(zlib.decompress(packed))  # noqa: S301 (ours)
        return tuple(_from_plain(row) for row in rows)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Raise ``RunFailed`` for what the disk under the temporary file refuses."""
    try:
        yield
    except OSError as error:
        raise RunFailed(
            f"{tempfile.gettempdir()}: no room for the scores of the run's items ({error.strerror or error}). Make "
            "room there, or set TMPDIR to another folder, and start the run again: what is committed is kept"
        ) from error


def _to_scores(row: ItemResult) -> _Row:
    outcome = row.outcome
    return row.doc_id, "", outcome.status.value, outcome.error, outcome.answer, (), row.scores, None, row.executions


def _to_plain(row: ItemResult) -> _Row:
    responses = tuple(tuple(map(_FIELDS, request)) for request in row.outcome.responses)
    return (
        row.doc_id,
        row.item_hash,
        row.outcome.status.value,
        row.outcome.error,
        row.outcome.answer,
        responses,
        row.scores,
        row.filtered,
        row.executions,
    )


def _from_plain(row: _Row) -> ItemResult:
    doc_id, item_hash, status, error, answer, responses, scores, filtered, executions = row
    restored = tuple(tuple(Response(*one) for one in of) for of in responses)
    outcome = Outcome(ItemStatus(status), restored, error, None if answer is None else Answer(answer))
    return ItemResult(doc_id, item_hash, outcome, scores, filtered, executions=executions)
