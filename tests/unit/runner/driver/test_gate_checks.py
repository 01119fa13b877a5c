"""Gates that no score of the run could ever answer are refused before the run."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import Benchmark, Gate
from evalrun_runner.benchmarks.possible_scores import PossibleScores
from evalrun_runner.driver.gate_checks import check_gates
from evalrun_runner.errors import InputError

POSSIBLE = {
    "capitals": PossibleScores(("acc,none", "acc_norm,none"), ("none",)),
    "sums": PossibleScores(("exact_match,last",), ("last",)),
    "votes": PossibleScores(("exact_match,first", "exact_match,most"), ("first", "most")),
    "code": PossibleScores(("pass_at_k,plain",), ("plain",), others=True),
    "open": PossibleScores((), ("a", "b"), others=True),
    "all": PossibleScores(("acc,none",), ("none", "last"), is_group=True),
    "bare": PossibleScores((), ("none",), is_group=True),
    "grp": PossibleScores(
        (), ("last",), is_group=True, lacking=("none of its tasks has acc,none; they have exact_match,last",)
    ),
}
BENCHMARKS = (
    Benchmark(task="capitals"),
    Benchmark(task="sums", name="nightly"),
    Benchmark(task="a_tag", name="tagged"),
    Benchmark(task="votes", name="code"),
)


def check(**gate: Any) -> None:
    check_gates([Gate.model_validate({"min": 0.1, **gate})], BENCHMARKS, POSSIBLE)


@pytest.mark.parametrize(
    "gate",
    [
        {"task": "capitals", "metric": "acc"},
        {"task": "capitals", "metric": "acc", "filter": "none"},
        {"task": "sums", "metric": "exact_match"},
        {"task": "nightly", "metric": "exact_match"},
        {"task": "votes", "metric": "exact_match", "filter": "most"},
        {"task": "all", "metric": "acc"},
        {"task": "open", "metric": "known_by_scoring", "filter": "b"},
    ],
    ids=str,
)
def test_gates_that_can_be_answered_are_let_through(gate: dict[str, Any]) -> None:
    check(**gate)


def test_metrics_that_only_scoring_shows_are_let_through() -> None:
    benchmarks = (Benchmark(task="code"),)
    gate = Gate.model_validate({"task": "code", "metric": "pass@10", "min": 0.1})
    check_gates([gate], benchmarks, POSSIBLE)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            {"task": "capital", "metric": "acc"},
            "spec.gates[0].task: the run has no task, group or benchmark 'capital'; did you mean capitals? there is: "
            "capitals, sums, votes, code, open, all",
        ),
        (
            {"task": "capitals", "metric": "accuracy"},
            "spec.gates[0].metric: 'capitals' has no metric 'accuracy'; did you mean acc or acc_norm? its "
            "scores: acc,none, acc_norm,none",
        ),
        (
            {"task": "sums", "metric": "exact_match", "filter": "lats"},
            "spec.gates[0].filter: 'sums' has no filter 'lats'; did you mean last? its filters: last",
        ),
        (
            {"task": "votes", "metric": "exact_match"},
            "spec.gates[0].filter: needed, because 'exact_match' of 'votes' has several filters: first, most",
        ),
        (
            {"task": "open", "metric": "any"},
            "spec.gates[0].filter: needed, because 'open' has several filters: a, b",
        ),
        (
            {"task": "all", "metric": "acc", "filter": "last"},
            "spec.gates[0].filter: 'acc' of 'all' has no filter 'last'; its filters: none",
        ),
        (
            {"task": "bare", "metric": "acc"},
            "spec.gates[0].task: the group 'bare' has no score of its own; gate on one of its tasks",
        ),
        (
            {"task": "grp", "metric": "acc"},
            "spec.gates[0].metric: group grp: none of its tasks has acc,none; they have exact_match,last",
        ),
        (
            {"task": "tagged", "metric": "acc"},
            "spec.gates[0].task: 'tagged' runs 'a_tag', which has no score of its own, only its tasks have; there is: ",
        ),
        (
            {"task": "code", "metric": "acc"},
            "spec.gates[0].task: 'code' is a task, and the name of the benchmark that runs 'votes'; give that "
            "benchmark another name",
        ),
    ],
    ids=str,
)
def test_gates_that_no_score_answers_are_refused_with_what_there_is(gate: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        check(**gate)
    assert str(refused.value).startswith(message)


def test_every_wrong_gate_is_named_at_once() -> None:
    gates = [
        Gate.model_validate({"task": task, "metric": metric, "min": 0.1})
        for task, metric in [("capitals", "acc"), ("capitols", "acc"), ("capitals", "ac")]
    ]
    with pytest.raises(InputError) as refused:
        check_gates(gates, BENCHMARKS, POSSIBLE)
    first, second = str(refused.value).splitlines()
    assert first.startswith("spec.gates[1].task: ")
    assert second.startswith("spec.gates[2].metric: ")
