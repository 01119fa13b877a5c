"""Ledgers of every format: an older one is read, a newer one is refused by name, and no run mixes two."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evalrun_runner.errors import InputError, LedgerCorrupt, OtherFormat
from evalrun_runner.ledger.formats import check_readable, check_resumable
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import decode_part, encode_part
from evalrun_runner.ledger.sealed import INT, Column, SealedFile, write_sealed
from evalrun_runner.store.directory import DirectoryStore
from support.builders import read_items

GOLDEN = Path(__file__).parent / "golden" / "format-1"
"""The output of a run of the mock engine, made by EvalRun before anything had a format version."""


def sealed(version: object) -> bytes:
    return write_sealed("part", {"formatVersion": version}, [Column("n", INT, [1])], 1)


@pytest.mark.parametrize(("task", "items"), [("sums", 5), ("letters", 4)])
def test_manifest_and_parts_of_the_first_format_are_read(task: str, items: int) -> None:
    ledger = Ledger(DirectoryStore(GOLDEN))
    index = ledger.task_index(task)
    assert index is not None
    assert index.items == items
    (chunk,) = ledger.read_chunks(task, 0)
    planned, part = read_items(ledger, chunk), ledger.read_part(chunk)
    assert [item.hash for item in planned] == [row.item_hash for row in part.rows]
    assert part.counts.ok == items
    # What this version writes of the same rows is read to the same.
    assert decode_part(encode_part(chunk, part.rows, part.writer), chunk) == part


def test_what_is_written_says_its_format_version(tmp_path: Path) -> None:
    ledger = Ledger(DirectoryStore(GOLDEN))
    (chunk,) = ledger.read_chunks("sums", 0)
    part = ledger.read_part(chunk)
    file = SealedFile(encode_part(chunk, part.rows, part.writer), "part", "x")
    assert (file.meta["formatVersion"], file.meta["schema"]) == (1, 1)


def test_a_part_of_a_newer_format_is_refused_by_name_and_is_not_damaged(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    store = DirectoryStore(tmp_path / "run")
    ledger = Ledger(store)
    (chunk,) = ledger.read_chunks("sums", 0)
    store.put("parts/sums/00000000.parquet", sealed(2))
    with pytest.raises(OtherFormat, match=r"parts/sums/00000000\.parquet is of format version 2; .* up to 1"):
        ledger.read_part(chunk)
    with pytest.raises(OtherFormat, match="use that one, or give another output"):
        ledger.set_aside(chunk, 1)
    assert store.exists("parts/sums/00000000.parquet"), "it was not set aside"


@pytest.mark.parametrize("version", [0, "2", None, 1.5])
def test_a_format_version_that_is_no_number_is_damage(version: object) -> None:
    with pytest.raises(LedgerCorrupt, match="x is damaged: formatVersion"):
        SealedFile(sealed(version), "part", "x")


def test_older_formats_are_read_and_newer_ones_are_not() -> None:
    check_readable(1, "x", ours=2)
    check_readable(2, "x", ours=2)
    with pytest.raises(OtherFormat, match="x is of format version 3; this EvalRun reads versions up to 2"):
        check_readable(3, "x", ours=2)


def test_a_run_goes_on_in_its_own_format_alone() -> None:
    check_resumable(2, "x", "Do this", ours=2)
    with pytest.raises(InputError, match=r"x holds a run of format version 1; .* version 2 .*Do this\. `evalrun res"):
        check_resumable(1, "x", "Do this", ours=2)
    with pytest.raises(OtherFormat, match="x is of format version 3"):
        check_resumable(3, "x", "Do this", ours=2)


def test_the_chunks_of_a_golden_ledger_are_not_another_plans() -> None:
    ledger = Ledger(DirectoryStore(GOLDEN))
    (chunk,) = ledger.read_chunks("sums", 0)
    with pytest.raises(LedgerCorrupt, match="another plan"):
        ledger.read_part(replace(chunk, digest="0" * 64))
    assert json.loads((GOLDEN / "plan.json").read_text()).keys() == {"identity", "sizing"}
