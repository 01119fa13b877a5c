"""Rows of verified parts on their way from the pass over the parts to scores and samples."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable

import pytest

from evalrun_runner.driver.spool import IN_MEMORY_BYTES, RowSpool
from evalrun_runner.errors import RunFailed
from evalrun_runner.ledger.parts import Part, Writer
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, Outcome, Response

ANSWERED = Outcome(ItemStatus.OK, ((Response((-1.5, True), "stop", 1, 1), Response("\ud800", "length", 2, 3)),))
ROWS = (
    ItemResult(3, "ab", ANSWERED, '{"none":{"acc":1}}', '{"none":["x"]}'),
    ItemResult(4, "cd", Outcome(ItemStatus.FAILED, error="too long")),
)


def part(number: int, rows: Iterable[ItemResult] = ROWS) -> Part:
    rows = tuple(rows)
    return Part(Chunk("t", number, 0, 0, len(rows), 1.0, "digest"), rows, Writer("r", "mock"))


def add(spool: RowSpool, one: Part) -> None:
    spool.add(one.chunk, one.counts, spool.pack(one))


def test_rows_come_back_exactly_and_in_any_order() -> None:
    with RowSpool(samples=True) as spool:
        one, two = part(1), part(2, ROWS[:1])
        add(spool, two)
        add(spool, one)
        assert (spool.rows(one.chunk), spool.rows(two.chunk)) == (ROWS, ROWS[:1])
        assert spool.counts(one.chunk) == ItemCounts(ok=1, failed=1)
        assert spool.counts(part(3).chunk) is None
        add(spool, part(3))
        assert spool.rows(one.chunk) == spool.rows(part(3).chunk) == ROWS


def test_without_samples_only_what_scores_are_made_of_is_kept() -> None:
    with RowSpool(samples=False) as spool:
        add(spool, part(1))
        ok, failed = spool.rows(part(1).chunk)
    assert ok == ItemResult(3, "", Outcome(ItemStatus.OK), '{"none":{"acc":1}}')
    assert failed == ItemResult(4, "", Outcome(ItemStatus.FAILED, error="too long"))


def test_more_than_fits_in_memory_comes_back_too() -> None:
    with RowSpool(samples=True) as spool:
        add(spool, part(1))
        spool.add(part(2).chunk, ItemCounts(), bytes(IN_MEMORY_BYTES))
        add(spool, part(3))
        assert spool.rows(part(1).chunk) == spool.rows(part(3).chunk) == ROWS


def test_a_full_folder_for_temporary_files_says_what_to_do() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    message = r"no room for the scores .*No space left.*TMPDIR.*is committed is kept"
    with RowSpool(samples=True, file=Full()) as spool, pytest.raises(RunFailed, match=message):
        add(spool, part(1))


def test_disk_that_is_full_is_named_once_however_the_bytes_are_buffered() -> None:
    """``/dev/full`` takes what fits a buffer and refuses it as the buffer is written, again as the file is closed."""
    said = pytest.raises(RunFailed, match=r"no room for the scores.*set TMPDIR")
    with said, open("/dev/full", "r+b") as full, RowSpool(samples=True, file=full) as spool:
        add(spool, part(1))
