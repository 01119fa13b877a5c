"""Intake of leases: the order in which the engine gets a chunk's items."""

from __future__ import annotations

from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.segments import plan_task
from evalrun_runner.records.messages import Lease
from evalrun_runner.replica.intake import Intake
from evalrun_runner.store.memory import MemoryStore
from support.builders import likelihood, make_item


def test_the_engine_gets_the_longest_items_of_a_chunk_first() -> None:
    ledger = Ledger(MemoryStore())
    items = [make_item(likelihood("x" * length, " y"), doc_id=row) for row, length in enumerate((3, 9, 1, 9))]
    (segment,) = plan_task("t", items, ledger, ChunkSizing())
    planner = RequestPlanner(TextCodec(ByteTokenizer()), max_model_len=100, fast=False, seed=1)
    work = Intake(ledger, planner).open(Lease(1, segment.chunks[0]))
    assert [item.row for item in work.ready] == [1, 3, 0, 2]
    assert [item.row for item in work.take((0, 1))] == [1, 0]
