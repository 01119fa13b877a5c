"""Gates: a bound on one score; incomplete evidence never passes."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import Benchmark, Gate, GateResult, Reason, Verdict
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
        assert result.score == value
        assert result.value == result.difference == pytest.approx(value - before)


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
        "there is no score f1 of t; there is: acc,none",
    )
    assert verdict({"task": "nobody", "min": 0}, results()).message.endswith("there is: no score of nobody")
    below = verdict({"min": 0.75}, results(0.5))
    assert (below.reason, below.message, below.value) == (
        Reason.GATE_FAILED,
        "0.5 is below the least allowed, 0.75",
        0.5,
    )
    worse = verdict(AGAINST, results(0.4), results(0.5))
    assert worse.message == "0.4000 against 0.5000 (-0.1000, allowed -0.05)"
    lower = verdict(AGAINST, results(0.4, lower=True), results(0.5, lower=True))
    assert lower.message == "0.4000 against 0.5000 (-0.1000, allowed +0.05)"
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


@pytest.mark.parametrize(
    ("gate", "value", "expected"),
    [
        ({"min": 0.1 + 0.2}, 0.3, PASSED),
        ({"max": 0.3}, 0.1 + 0.2, PASSED),
        ({"min": 1e6}, 1e6 - 1e-4, PASSED),
        ({"min": 0.3}, 0.3 - 1e-6, FAILED),
        ({"min": 0}, -1e-6, FAILED),
    ],
)
def test_bounds_are_inclusive_whatever_the_rounding_of_floats(
    gate: dict[str, Any], value: float, expected: Verdict
) -> None:
    assert verdict(gate, results(value)).verdict is expected


@pytest.mark.parametrize(
    ("before", "value", "allowed", "expected"),
    [(0.9, 0.8, 0.1, PASSED), (0.3, 0.1 + 0.2, 0.0, PASSED), (0.1 + 0.2, 0.3, 0.0, PASSED), (0.9, 0.8, 0.0999, FAILED)],
)
def test_losses_are_compared_whatever_the_rounding_of_floats(
    before: float, value: float, allowed: float, expected: Verdict
) -> None:
    gate = {"baseline": {"uri": "s3://bucket/x/"}, "maxRegression": allowed}
    assert verdict(gate, results(value), results(before)).verdict is expected


def test_score_just_below_its_bound_is_shown_with_all_its_digits() -> None:
    assert verdict({"min": 0.3}, results(0.29999999)).message == "0.29999999 is below the least allowed, 0.3"


def filtered(*filters: str) -> Results:
    return make_results({"results": {"t": {f"acc,{name}": 0.5 for name in filters}}})


def test_gate_without_a_filter_takes_the_only_one_or_the_unfiltered_answers() -> None:
    only = verdict({"min": 0.1}, filtered("last"))
    assert (only.verdict, only.filter) == (PASSED, "last")
    assert verdict({"min": 0.1}, filtered("last", "none")).filter == "none"
    several = verdict({"min": 0.1}, filtered("first", "last"))
    assert (several.verdict, several.reason) == (INCONCLUSIVE, Reason.SCORE_MISSING)
    assert several.message == "the gate names no filter, and acc of t has several: first, last"
    assert verdict(AGAINST, filtered("last"), filtered("last", "none")).verdict is PASSED


def test_name_of_a_benchmark_stands_for_its_task_or_group() -> None:
    nightly = Benchmark(task="t", name="nightly")
    gate = Gate.model_validate({"task": "nightly", "metric": "acc", "min": 0.5})
    (result,) = judge([gate], results(), [], [nightly])
    assert (result.verdict, result.task, result.stands_for, result.n) == (PASSED, "nightly", "t", 10)
    (unknown,) = judge([gate], results(), [], [])
    assert (unknown.verdict, unknown.stands_for) == (INCONCLUSIVE, None)


def test_score_that_could_not_be_computed_says_why() -> None:
    lacking = {"task": "t", "metric": "f1", "filter": "none", "reason": "f1_score raised ValueError: multiclass"}
    now = make_results({"results": {"t": {"f1,none": None}}, "evalrun": {"unscored": [lacking]}})
    result = verdict({"metric": "f1", "min": 0.1}, now)
    assert (result.verdict, result.reason, result.score) == (INCONCLUSIVE, Reason.SCORE_MISSING, None)
    assert result.message == "f1,none of t has no value: f1_score raised ValueError: multiclass"


def test_items_lost_in_tasks_that_a_groups_score_is_not_made_of_do_not_matter() -> None:
    now = make_results(
        {
            "results": {"t": {"acc,none": 0.5}, "u": {"f1,none": 0.5}, "g": {"acc,none": 0.5, "f1,none": 0.5}},
            "group_subtasks": {"g": ["t", "u"]},
            "evalrun": {"tasks": {"t": {"ok": 10}, "u": {"ok": 9, "failed": 1}}},
        }
    )
    assert verdict({"task": "g", "min": 0.1}, now).verdict is PASSED
    assert verdict({"task": "g", "metric": "f1", "min": 0.1}, now).verdict is INCONCLUSIVE


def test_n_of_a_group_is_that_of_the_metric() -> None:
    entry = {"acc,none": 0.5, "f1,none": 0.5, "sample_len": 100, "sample_count": {"acc,none": 60, "f1,none": 40}}
    now = make_results({"results": {"g": entry}})
    assert verdict({"task": "g", "min": 0.1}, now).n == 60
    assert verdict({"task": "g", "metric": "f1", "min": 0.1}, now).n == 40
