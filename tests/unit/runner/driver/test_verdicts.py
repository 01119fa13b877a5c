"""Verdicts stay beside the results: every other judgement is added, the same one is not repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalrun_api import Gate, GateResult, Verdict
from evalrun_runner.driver.gates import JudgedRun, judge
from evalrun_runner.driver.verdicts import kept_verdicts, last_verdicts, record_verdicts
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger import layout
from evalrun_runner.store.memory import MemoryStore
from support.outputs import make_results

RESULTS = make_results({"results": {"t": {"acc,none": 0.5, "sample_len": 4}}})


class NoItems:
    """Items of a run whose gates judge the bare scores."""

    def leaf(self, task: str, metric: str, filter_name: str) -> None:
        raise AssertionError(f"items of {task} are read for {metric},{filter_name}")


def asked(**bounds: float) -> Gate:
    return Gate.model_validate({"task": "t", "metric": "acc", "rule": "point", **bounds})


def record(store: MemoryStore, *gates: Gate) -> tuple[GateResult, ...]:
    verdicts = judge(gates, JudgedRun(RESULTS, NoItems()), [])
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
        {"task": "t", "metric": "acc", "min": 0.6, "rule": "point"},
        {"task": "t", "metric": "acc", "max": 0.6, "rule": "point"},
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


def test_verdicts_on_the_same_gates_stand_unless_a_baseline_was_missing() -> None:
    store = MemoryStore()
    assert kept_verdicts(store, [asked(min=0.6)]) is None
    verdicts = record(store, asked(min=0.6))
    assert kept_verdicts(store, [asked(min=0.6)]) == verdicts
    assert kept_verdicts(store, [asked(min=0.4)]) is None
    against = Gate.model_validate(
        {"task": "t", "metric": "acc", "baseline": {"uri": "s3://bucket/x/"}, "maxRegression": 0.1}
    )
    record(store, against)
    assert kept_verdicts(store, [against]) is None


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
