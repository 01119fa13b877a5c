"""Gates: a bound on one score; incomplete evidence never passes."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import Gate, GateResult, Reason, Verdict
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver.gates import Baseline, judge
from evalrun_runner.errors import OtherFormat
from support.outputs import make_results

PASSED, FAILED, INCONCLUSIVE = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE


def results(value: Any = 0.5, *, failed: int = 0, quarantined: int = 0, lower: bool = False) -> Results:
    """A results.json with the task ``t`` and the group ``g`` of ``t`` and ``u``."""
    return make_results(
        {
            "results": {
                "t": {"alias": "t", "acc,none": value, "acc_stderr,none": 0.1, "sample_len": 10},
                "u": {"acc,none": 0.9},
                "g": {"acc,none": 0.7},
            },
            "group_subtasks": {"g": ["h"], "h": ["t", "u"], "t": [], "u": []},
            "higher_is_better": {"t": {"acc": not lower}},
            "evalrun": {
                "tasks": {"t": {"ok": 10 - failed, "failed": failed, "quarantined": quarantined}, "u": {"ok": 10}},
            },
        }
    )


def verdict(gate: dict[str, Any], now: Results, baseline: Baseline = None) -> GateResult:
    made = Gate.model_validate({"task": "t", "metric": "acc", **gate})
    (result,) = judge([made], now, [baseline])
    return result


AGAINST: dict[str, Any] = {"baseline": {"uri": "s3://bucket/x/"}, "maxRegression": 0.05}


@pytest.mark.parametrize(
    ("gate", "value", "expected"),
    [
        ({"min": 0.5}, 0.5, PASSED),
        ({"min": 0.5}, 0.4999, FAILED),
        ({"max": 0.5}, 0.5, PASSED),
        ({"max": 0.5}, 0.5001, FAILED),
        ({"min": 0.4, "max": 0.6}, 0.5, PASSED),
        ({"min": 0.4, "max": 0.6}, 0.3, FAILED),
        ({"min": 0.4, "max": 0.6}, 0.7, FAILED),
        ({"min": 0}, 0, PASSED),
        ({"min": 0.1}, float("nan"), INCONCLUSIVE),
        ({"min": 0.1}, "N/A", INCONCLUSIVE),
        ({"min": 0.1}, None, INCONCLUSIVE),
        ({"min": 0.1, "filter": "strict"}, 0.5, INCONCLUSIVE),
        ({"min": 0.1, "metric": "f1"}, 0.5, INCONCLUSIVE),
        ({"min": 0.1, "task": "nobody"}, 0.5, INCONCLUSIVE),
    ],
)
def test_bounds(gate: dict[str, Any], value: object, expected: Verdict) -> None:
    assert verdict(gate, results(value)).verdict is expected


@pytest.mark.parametrize(
    ("before", "value", "lower", "expected"),
    [
        (0.50, 0.46, False, PASSED),
        (0.50, 0.44, False, FAILED),
        (0.50, 0.90, False, PASSED),
        (0.50, 0.54, True, PASSED),
        (0.50, 0.56, True, FAILED),
        (0.50, 0.10, True, PASSED),
        (float("nan"), 0.5, False, INCONCLUSIVE),
        (None, 0.5, False, INCONCLUSIVE),
        (0.50, float("nan"), False, INCONCLUSIVE),
    ],
)
def test_against_a_baseline(before: object, value: float, lower: bool, expected: Verdict) -> None:
    result = verdict(AGAINST, results(value, lower=lower), results(before, lower=lower))
    assert result.verdict is expected
    if isinstance(before, float) and expected is not INCONCLUSIVE:
        assert result.value == pytest.approx(value - before)


def test_a_baseline_and_a_bound_must_both_hold() -> None:
    gate = {**AGAINST, "min": 0.6}
    assert verdict(gate, results(0.5), results(0.5)).verdict is FAILED
    assert verdict(gate, results(0.6), results(0.6)).verdict is PASSED
    assert verdict(gate, results(0.6), results(0.8)).verdict is FAILED


@pytest.mark.parametrize("lost", [{"failed": 1}, {"quarantined": 2}])
def test_lost_items_here_or_in_the_baseline_make_a_gate_inconclusive(lost: dict[str, Any]) -> None:
    for gate in ({"min": 0.1}, {"max": 0.1}, AGAINST):
        result = verdict(gate, results(0.5, **lost), results(0.5))
        assert (result.verdict, result.reason) == (INCONCLUSIVE, Reason.INCONCLUSIVE)
        assert f"{sum(lost.values())} items of t have no score" in result.message
    result = verdict(AGAINST, results(0.5), results(0.5, **lost))
    assert (result.verdict, result.reason) == (INCONCLUSIVE, Reason.INCONCLUSIVE)
    assert "in the baseline" in result.message


def test_a_group_lacks_the_items_that_its_tasks_lack() -> None:
    assert verdict({"task": "g", "min": 0.7}, results()).verdict is PASSED
    assert verdict({"task": "g", "min": 0.7}, results(failed=1)).verdict is INCONCLUSIVE
    assert verdict({"task": "u", "min": 0.7}, results(failed=1)).verdict is PASSED


def test_reasons_name_the_alternatives() -> None:
    missing = verdict({"metric": "f1", "min": 0.1}, results())
    assert (missing.reason, missing.message) == (
        Reason.SCORE_MISSING,
        "there is no score f1,none of t; there is: acc,none",
    )
    assert verdict({"task": "nobody", "min": 0}, results()).message.endswith("there is: no task nobody")
    below = verdict({"min": 0.75}, results(0.5))
    assert (below.reason, below.message, below.value) == (
        Reason.GATE_FAILED,
        "0.5 is below the least allowed, 0.75",
        0.5,
    )
    worse = verdict(AGAINST, results(0.4), results(0.5))
    assert worse.message == "0.4 against 0.5: a loss of 0.1, more than 0.05"
    assert verdict(AGAINST, results(0.4), None).reason is Reason.BASELINE_MISSING


def test_gates_keep_their_order_and_baselines_their_gate() -> None:
    gates = [
        Gate.model_validate({"task": task, "metric": "acc", **rest})
        for task, rest in [("u", {"min": 1}), ("t", AGAINST)]
    ]
    verdicts = [one.verdict for one in judge(gates, results(0.5), [None, results(0.5)])]
    assert verdicts == [FAILED, PASSED]
    assert [one.verdict for one in judge(gates, results(0.5), [])] == [FAILED, INCONCLUSIVE]


def test_baseline_that_cannot_be_read_says_why() -> None:
    found = verdict(AGAINST, results(0.5), OtherFormat("s3://bucket/x/plan.json is of format version 2"))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, Reason.BASELINE_MISSING)
    assert found.message == "the baseline cannot be read: s3://bucket/x/plan.json is of format version 2"
