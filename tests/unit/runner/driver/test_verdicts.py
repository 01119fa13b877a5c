"""Verdicts stay beside the results: every other judgement is added, the same one is not repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalrun_api import Gate, GateResult, Verdict
from evalrun_runner.driver.gates import judge
from evalrun_runner.driver.verdicts import last_verdicts, record_verdicts
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger import layout
from evalrun_runner.store.memory import MemoryStore
from support.outputs import make_results

RESULTS = make_results({"results": {"t": {"acc,none": 0.5, "sample_len": 4}}})


def asked(**bounds: float) -> Gate:
    return Gate.model_validate({"task": "t", "metric": "acc", **bounds})


def record(store: MemoryStore, *gates: Gate) -> tuple[GateResult, ...]:
    verdicts = judge(gates, RESULTS, [])
    record_verdicts(store, gates, verdicts)
    return verdicts


def judgements(store: MemoryStore) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(store.get(layout.GATES))["judgements"]
    return found


def test_verdicts_are_read_back_as_they_were_given() -> None:
    store = MemoryStore()
    assert last_verdicts(store) is None
    verdicts = record(store, asked(min=0.6), asked(max=0.6))
    assert last_verdicts(store) == verdicts
    (one,) = judgements(store)
    assert one["asked"] == [
        {"task": "t", "metric": "acc", "min": 0.6},
        {"task": "t", "metric": "acc", "max": 0.6},
    ]
    assert one["verdict"] == Verdict.FAILED
    assert one["at"].endswith("+00:00")


def test_other_gates_are_added_and_the_same_ones_are_not_repeated() -> None:
    store = MemoryStore()
    record(store, asked(min=0.6))
    first = store.get(layout.GATES)
    record(store, asked(min=0.6))
    assert store.get(layout.GATES) == first
    record(store, asked(min=0.4))
    assert [one["verdict"] for one in judgements(store)] == [Verdict.FAILED, Verdict.PASSED]


def test_runs_without_gates_leave_no_verdicts() -> None:
    store = MemoryStore()
    record(store)
    assert not store.exists(layout.GATES)


@pytest.mark.parametrize("text", ["{", "{}", '{"judgements": [{"at": "x", "asked": [], "gates": [{"task": 1}]}]}'])
def test_damaged_verdicts_are_named(text: str) -> None:
    store = MemoryStore()
    store.put(layout.GATES, text.encode())
    with pytest.raises(LedgerCorrupt, match=r"gates\.json is damaged"):
        last_verdicts(store)
