"""Gates: what the items of a score prove about its bounds; incomplete evidence never passes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_api import Benchmark, Gate, GateResult, Reason, Verdict
from evalrun_runner.comparing.declared_clusters import cluster_numbers
from evalrun_runner.driver.gate_items import LeafItems
from evalrun_runner.driver.gates import Baseline, JudgedRun, judge
from evalrun_runner.errors import OtherFormat
from support.outputs import make_results

PASSED, FAILED, INCONCLUSIVE = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE
NONE = math.nan
"""An item without a score."""
AGAINST: dict[str, Any] = {"baseline": {"uri": "s3://bucket/x/"}, "maxRegression": 0.05}

Items = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class FakeItems:
    """Items of a run by ``task,metric,filter``."""

    values: Items
    first: int = 0
    """Number of the first document: runs have those items in common whose numbers are equal."""
    clusters: Sequence[str] | None = None
    cut: Sequence[int] = ()
    """Places of the items whose answers were cut in their thinking."""

    def leaf(self, task: str, metric: str, filter_name: str) -> LeafItems | None:
        values = self.values.get(f"{task},{metric},{filter_name}")
        if values is None:
            return None
        keys = np.arange(self.first, self.first + len(values), dtype=np.uint64)
        clusters = None if self.clusters is None else cluster_numbers(self.clusters)
        cut = np.isin(np.arange(len(values)), self.cut) if self.cut else None
        return LeafItems(task, np.array(values, dtype=np.float64), lambda: keys, None, clusters, cut)


def right(ok: int, of: int, missing: int = 0) -> list[float]:
    """Items of which so many are right, the first ones, and so many have no score, the last ones."""
    return [1.0] * ok + [0.0] * (of - ok - missing) + [NONE] * missing


def run(
    values: Sequence[float] | None = None,
    *,
    score: object = None,
    lower: bool = False,
    by_tasks: bool = False,
    first: int = 0,
    clusters: Sequence[str] | None = None,
    cut: Sequence[int] = (),
    other: Sequence[float] = (1.0, 1.0, 0.0, 1.0),
) -> JudgedRun:
    """A run with the task ``t``, and the group ``g`` of ``t`` and ``u``."""
    of_t = right(5, 10) if values is None else list(values)
    mean = float(np.nanmean(of_t)) if score is None else score
    tasks = [float(np.nanmean(of_t)), float(np.nanmean(other))]
    sizes = [1, 1] if by_tasks else [np.count_nonzero(~np.isnan(of_t)), len(other)]
    missing = int(np.isnan(of_t).sum())
    results = make_results(
        {
            "results": {
                "t": {"alias": "t", "acc,none": mean, "acc_stderr,none": 0.1, "sample_len": len(of_t) - missing},
                "u": {"acc,none": tasks[1], "sample_len": len(other)},
                "g": {"acc,none": float(np.average(tasks, weights=sizes)), "sample_len": len(of_t) + len(other)},
            },
            "group_subtasks": {"g": ["h"], "h": ["t", "u"], "t": [], "u": []},
            "higher_is_better": {"t": {"acc": not lower}},
            "evalrun": {
                "tasks": {
                    "t": {"ok": len(of_t) - missing, "failed": missing, "answers": {"truncated": len(cut)}},
                    "u": {"ok": len(other)},
                }
            },
        }
    )
    return JudgedRun(results, FakeItems({"t,acc,none": of_t, "u,acc,none": list(other)}, first, clusters, cut))


def verdict(gate: dict[str, Any], now: JudgedRun, baseline: Baseline = None) -> GateResult:
    made = Gate.model_validate({"task": "t", "metric": "acc", **gate})
    (result,) = judge([made], now, [baseline])
    return result


class TestBounds:
    """``min`` and ``max``, decided by Clopper and Pearson's one-sided bounds (Biometrika 26 (1934) 404)."""

    @pytest.mark.parametrize(
        ("ok", "expected", "bound"),
        [(49, PASSED, 0.90860), (48, INCONCLUSIVE, 0.87939), (38, FAILED, 0.85528)],
    )
    def test_minimum_of_fifty_items(self, ok: int, expected: Verdict, bound: float) -> None:
        result = verdict({"min": 0.9}, run(right(ok, 50)))
        assert result.verdict is expected
        assert result.interval is not None
        low, high = result.interval
        assert (high if expected is FAILED else low) == pytest.approx(bound, abs=5e-6)
        assert (result.method, result.confidence, result.value, result.n) == ("clopper-pearson", 0.95, ok / 50, 50)

    @pytest.mark.parametrize(("wrong", "expected"), [(49, FAILED), (12, FAILED), (2, INCONCLUSIVE), (1, PASSED)])
    def test_maximum_is_the_mirror_of_a_minimum(self, wrong: int, expected: Verdict) -> None:
        assert verdict({"max": 0.1}, run(right(wrong, 50))).verdict is expected

    def test_both_bounds_must_hold(self) -> None:
        gate = {"min": 0.4, "max": 0.6}
        assert verdict(gate, run(right(500, 1000))).verdict is PASSED
        assert verdict(gate, run(right(300, 1000))).verdict is FAILED
        assert verdict(gate, run(right(5, 10))).verdict is INCONCLUSIVE

    def test_scores_between_0_and_1_have_bounds_too(self) -> None:
        result = verdict({"min": 0.5}, run([0.7, 0.8] * 50))
        assert (result.verdict, result.method) == (PASSED, "plus-four-t")

    def test_higher_confidence_proves_less(self) -> None:
        assert verdict({"min": 0.9, "confidence": 0.5}, run(right(46, 50))).verdict is PASSED
        assert verdict({"min": 0.9, "confidence": 0.999}, run(right(49, 50))).verdict is INCONCLUSIVE

    def test_declared_clusters_count_and_not_their_items(self) -> None:
        values = [float(place // 10 != 0) for place in range(100)]
        alone = verdict({"min": 0.8}, run(values))
        together = verdict({"min": 0.8}, run(values, clusters=[str(place // 10) for place in range(100)]))
        assert (alone.verdict, together.verdict) == (PASSED, INCONCLUSIVE)
        assert together.method == "clopper-pearson-clustered"

    def test_point_rule_judges_the_bare_score(self) -> None:
        gate = {"min": 0.9, "rule": "point"}
        result = verdict(gate, run(right(48, 50)))
        assert (result.verdict, result.interval, result.confidence) == (PASSED, None, None)
        assert verdict(gate, run(right(44, 50))).verdict is FAILED

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
    def test_bare_scores_are_compared_whatever_the_rounding_of_floats(
        self, gate: dict[str, Any], value: float, expected: Verdict
    ) -> None:
        assert verdict({**gate, "rule": "point"}, run([value], score=value)).verdict is expected

    def test_score_just_below_its_bound_is_shown_with_all_its_digits(self) -> None:
        found = verdict({"min": 0.3, "rule": "point"}, run([0.29999999], score=0.29999999))
        assert found.message.startswith("0.29999999, min 0.3")

    @given(st.integers(1, 200), st.data(), st.floats(0, 1))
    def test_a_better_score_never_has_a_worse_verdict(self, n: int, data: st.DataObject, bound: float) -> None:
        ok = data.draw(st.integers(0, n - 1))
        order = [FAILED, INCONCLUSIVE, PASSED]
        found = [order.index(verdict({"min": bound}, run(right(one, n))).verdict) for one in (ok, ok + 1)]
        assert found == sorted(found)


class TestCutThinking:
    """Answers that never left their thinking count as lm-eval scores them, unless they could turn a gate."""

    @pytest.mark.parametrize(
        ("ok", "cut", "expected"),
        [
            (100, range(2), PASSED),
            (100, range(9), INCONCLUSIVE),
            (50, range(9), FAILED),
            (85, range(90, 100), INCONCLUSIVE),
            (40, range(40, 50), FAILED),
            (40, range(40, 95), INCONCLUSIVE),
        ],
    )
    def test_a_gate_stands_if_they_cannot_turn_it(self, ok: int, cut: range, expected: Verdict) -> None:
        assert verdict({"min": 0.9}, run(right(ok, 100), cut=cut)).verdict is expected

    def test_the_message_says_what_they_could_do(self) -> None:
        found = verdict({"min": 0.9}, run(right(100, 100), cut=range(20))).message
        assert "20 truncated answers that never left their thinking, or were cut after it, could turn it: " in found
        assert "Failed if all of them counted against the run, Passed if all counted for it" in found
        assert "could not turn it" in verdict({"min": 0.9}, run(right(100, 100), cut=range(2))).message

    @pytest.mark.parametrize(("gate", "expected"), [({"max": 0.1}, INCONCLUSIVE), ({"max": 0.5}, PASSED)])
    def test_a_maximum_is_turned_by_right_ones(self, gate: dict[str, Any], expected: Verdict) -> None:
        assert verdict(gate, run(right(0, 100), cut=range(10))).verdict is expected

    @pytest.mark.parametrize(
        ("bound", "cut", "expected"),
        [(0.7, range(9), PASSED), (0.75, range(9), INCONCLUSIVE), (0.95, range(81, 85), FAILED), (0.75, (), PASSED)],
    )
    def test_bare_scores_are_turned_too(self, bound: float, cut: Sequence[int], expected: Verdict) -> None:
        found = verdict({"min": bound, "rule": "point"}, run(right(80, 100), cut=cut))
        assert found.verdict is expected
        assert ("could turn it" in found.message) is (expected is INCONCLUSIVE)

    def test_a_regression_is_turned_from_both_sides(self) -> None:
        same = run(right(180, 200))
        assert verdict(AGAINST, run(right(180, 200)), same).verdict is PASSED
        assert verdict(AGAINST, run(right(180, 200), cut=range(30)), same).verdict is INCONCLUSIVE
        assert verdict(AGAINST, run(right(180, 200)), run(right(180, 200), cut=range(180, 200))).verdict is INCONCLUSIVE
        assert verdict(AGAINST, run(right(100, 200), cut=range(3)), same).verdict is FAILED

    @given(st.integers(0, 60), st.data())
    def test_more_cut_answers_never_settle_a_gate(self, ok: int, data: st.DataObject) -> None:
        places = data.draw(st.lists(st.integers(0, 59), unique=True))
        fewer = data.draw(st.integers(0, len(places)))
        gate = {"min": 0.5}
        few, many = (verdict(gate, run(right(ok, 60), cut=some)).verdict for some in (places[:fewer], places))
        assert many in (few, INCONCLUSIVE)

    @given(st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=40), st.data())
    def test_no_values_of_the_cut_answers_contradict_a_verdict(self, values: list[float], data: st.DataObject) -> None:
        cut = data.draw(st.lists(st.integers(0, len(values) - 1), unique=True, max_size=6))
        found = verdict({"min": 0.5}, run(values, cut=cut)).verdict
        truth = [data.draw(st.sampled_from([0.0, 1.0])) if place in cut else v for place, v in enumerate(values)]
        if found is not INCONCLUSIVE:
            assert verdict({"min": 0.5}, run(truth)).verdict is found


class TestBaselines:
    """Regressions, decided item by item: Tango's test (Statistics in Medicine 17 (1998) 891) with its guard."""

    @staticmethod
    def pair(both: int, lost: int, gained: int, neither: int) -> tuple[JudgedRun, JudgedRun]:
        now = [1.0] * both + [0.0] * lost + [1.0] * gained + [0.0] * neither
        before = [1.0] * both + [1.0] * lost + [0.0] * gained + [0.0] * neither
        return run(now), run(before)

    @pytest.mark.parametrize(
        ("items", "margin", "expected"),
        [(10, 0.01, INCONCLUSIVE), (300, 0.02, PASSED), (300, 0.005, INCONCLUSIVE), (1000, 0.0, INCONCLUSIVE)],
    )
    def test_no_changed_item(self, items: int, margin: float, expected: Verdict) -> None:
        now, before = self.pair(items, 0, 0, 0)
        result = verdict({**AGAINST, "maxRegression": margin}, now, before)
        z_squared = 1.6448536269514722**2
        assert result.verdict is expected
        assert result.interval is not None
        assert result.interval[0] == pytest.approx(-z_squared / (items + z_squared))

    def test_clear_gain_passes_and_clear_loss_fails(self) -> None:
        now, before = self.pair(400, 4, 40, 56)
        gained = verdict({**AGAINST, "maxRegression": 0.01}, now, before)
        assert (gained.verdict, gained.method) == (PASSED, "tango")
        assert gained.interval is not None
        assert gained.interval[0] == pytest.approx(0.05226, abs=5e-6)
        assert gained.value == gained.difference == pytest.approx(0.072)
        assert gained.baseline_score == pytest.approx(0.808)
        assert verdict({**AGAINST, "maxRegression": 0.01}, before, now).verdict is FAILED

    def test_rise_is_the_loss_where_less_is_better(self) -> None:
        now, before = self.pair(400, 4, 40, 56)
        for margin, expected in ((0.1, PASSED), (0.01, FAILED)):
            result = verdict({**AGAINST, "maxRegression": margin, "lowerIsBetter": True}, now, before)
            assert (result.verdict, result.lower_is_better) == (expected, True)

    def test_lm_evals_direction_is_the_default_and_the_gates_own_comes_before(self) -> None:
        now, before = run(right(300, 400), lower=True), run(right(200, 400), lower=True)
        assert verdict(AGAINST, now, before).verdict is FAILED
        assert verdict({**AGAINST, "lowerIsBetter": False}, now, before).verdict is PASSED

    def test_relative_loss_is_judged_by_the_interval(self) -> None:
        now, before = self.pair(880, 20, 20, 80)
        gate = {"baseline": AGAINST["baseline"]}
        assert verdict({**gate, "maxRelativeRegression": 0.05}, now, before).verdict is PASSED
        assert verdict({**gate, "maxRelativeRegression": 0.001}, now, before).verdict is INCONCLUSIVE
        lost, same = self.pair(600, 300, 0, 100)
        assert verdict({**gate, "maxRelativeRegression": 0.05}, lost, same).verdict is FAILED

    def test_absolute_and_relative_margin_must_both_hold(self) -> None:
        now, before = self.pair(88, 12, 0, 900)
        gate = {"baseline": AGAINST["baseline"], "maxRegression": 0.03}
        assert verdict(gate, now, before).verdict is PASSED
        assert verdict({**gate, "maxRelativeRegression": 0.001}, now, before).verdict is FAILED

    def test_a_baseline_and_a_bound_must_both_hold(self) -> None:
        now, before = self.pair(600, 0, 0, 400)
        assert verdict({**AGAINST, "min": 0.55}, now, before).verdict is PASSED
        assert verdict({**AGAINST, "min": 0.65}, now, before).verdict is FAILED

    def test_baseline_of_more_items_is_compared_on_the_common_ones(self) -> None:
        now, before = run(right(90, 100), first=50), run([1.0] * 50 + right(90, 100) + [0.0] * 50)
        assert verdict({**AGAINST, "maxRegression": 0.1}, now, before).verdict is PASSED

    def test_items_that_the_baseline_lacks_are_counted_and_named(self) -> None:
        result = verdict(AGAINST, run(right(90, 100), first=50), run(right(90, 100)))
        assert (result.verdict, result.reason) == (INCONCLUSIVE, Reason.INCONCLUSIVE)
        assert result.message.startswith("50 of 100 items of t are not in the baseline")

    def test_scores_that_are_not_0_or_1_are_compared_too(self) -> None:
        now, before = run([0.4, 0.6] * 200), run([0.5, 0.6] * 200)
        assert verdict({**AGAINST, "maxRegression": 0.1}, now, before).verdict is PASSED
        assert verdict({**AGAINST, "maxRegression": 0.01}, now, before).verdict is FAILED

    @pytest.mark.parametrize(
        ("before", "value", "allowed", "expected"),
        [
            (0.9, 0.8, 0.1, PASSED),
            (0.3, 0.1 + 0.2, 0.0, PASSED),
            (0.1 + 0.2, 0.3, 0.0, PASSED),
            (0.9, 0.8, 0.0999, FAILED),
        ],
    )
    def test_bare_losses_are_compared_whatever_the_rounding_of_floats(
        self, before: float, value: float, allowed: float, expected: Verdict
    ) -> None:
        gate = {"baseline": AGAINST["baseline"], "maxRegression": allowed, "rule": "point"}
        result = verdict(gate, run([value], score=value), run([before], score=before))
        assert result.verdict is expected
        assert result.difference == pytest.approx(value - before)

    def test_baseline_that_cannot_be_read_says_why(self) -> None:
        found = verdict(AGAINST, run(), OtherFormat("s3://bucket/x/plan.json is of format version 2"))
        assert (found.verdict, found.reason) == (INCONCLUSIVE, Reason.BASELINE_MISSING)
        assert found.message == "the baseline cannot be read: s3://bucket/x/plan.json is of format version 2"
        assert verdict(AGAINST, run(), None).reason is Reason.BASELINE_MISSING


class TestMissing:
    """Items without a score keep a gate undecided; what the extreme completions would give is said."""

    def test_both_completions_are_said(self) -> None:
        result = verdict({"min": 0.8}, run(right(95, 100, missing=5)))
        assert (result.verdict, result.reason) == (INCONCLUSIVE, Reason.INCONCLUSIVE)
        assert "5 items of t have no score: failed or quarantined" in result.message
        assert "Passed if all of them counted against the run, Passed if all counted for it" in result.message
        wide = verdict({"min": 0.8}, run(right(85, 100, missing=15)))
        assert "Inconclusive if all of them counted against the run, Passed if all counted for it" in wide.message

    def test_missing_items_here_or_in_the_baseline(self) -> None:
        whole, partial = run(right(300, 400)), run(right(300, 400, missing=1))
        for now, before in ((whole, partial), (partial, whole)):
            result = verdict(AGAINST, now, before)
            assert result.verdict is INCONCLUSIVE
            assert "1 item of t has no score here or in the baseline" in result.message
            assert "Passed if all of them counted against the run" in result.message

    def test_values_without_bounds_have_no_extreme_completion(self) -> None:
        values = [5.0, 6.0, 7.0] * 30
        assert verdict({"min": 1.0}, run(values)).verdict is PASSED
        assert verdict({"min": 1.0}, run([*values, NONE])).verdict is INCONCLUSIVE
        assert verdict(AGAINST, run([*values, NONE]), run([*values, 5.0])).verdict is INCONCLUSIVE

    def test_a_task_without_any_score_leaves_its_group_undecided(self) -> None:
        whole = run(right(300, 400))
        lacking = JudgedRun(whole.results, FakeItems({"t,acc,none": right(300, 400), "u,acc,none": [NONE] * 4}))
        for gate in ({"min": 0.1}, AGAINST):
            result = verdict({**gate, "task": "g"}, lacking, whole)
            assert (result.verdict, "4 items of g have no score" in result.message) == (INCONCLUSIVE, True)

    def test_point_rule_does_not_pass_over_them(self) -> None:
        for gate in ({"min": 0.1}, {"max": 0.1}):
            result = verdict({**gate, "rule": "point"}, run(right(5, 10, missing=2)))
            assert (result.verdict, result.message) == (
                INCONCLUSIVE,
                "2 items of t have no score: failed or quarantined",
            )

    def test_a_group_lacks_the_items_that_its_tasks_lack(self) -> None:
        lacking = run(right(8, 10, missing=1))
        assert verdict({"task": "g", "min": 0.1}, lacking).verdict is INCONCLUSIVE
        assert verdict({"task": "u", "min": 0.1}, lacking).verdict is PASSED


class TestGroups:
    """Groups over fixed leaf tasks, whose items or tasks count alike."""

    @pytest.mark.parametrize("by_tasks", [False, True])
    def test_bounds_of_a_group(self, by_tasks: bool) -> None:
        now = run(right(450, 500), other=right(80, 100), by_tasks=by_tasks)
        score = 0.85 if by_tasks else 530 / 600
        result = verdict({"task": "g", "min": score - 0.05}, now)
        assert (result.verdict, result.method) == (PASSED, "clopper-pearson-stratified")
        assert result.value == pytest.approx(score)
        assert verdict({"task": "g", "min": score + 0.05}, now).verdict is FAILED

    @pytest.mark.parametrize("by_tasks", [False, True])
    def test_regression_of_a_group(self, by_tasks: bool) -> None:
        before = run(right(450, 500), other=right(80, 100), by_tasks=by_tasks)
        now = run(right(350, 500), other=right(60, 100), by_tasks=by_tasks)
        assert verdict({**AGAINST, "task": "g"}, now, before).verdict is FAILED
        same = verdict({**AGAINST, "task": "g"}, before, before)
        assert same.verdict is PASSED
        assert same.difference == 0


class TestFamily:
    """All gates together: any failure must be confirmed by Holm's procedure, passes need no correction."""

    def test_failure_that_may_be_chance_among_many_gates_is_inconclusive(self) -> None:
        barely = run(right(40, 50))
        gates = [Gate(task="t", metric="acc", min=0.9)]
        (alone,) = judge(gates, barely, [])
        among = judge(gates * 5, barely, [])
        assert alone.verdict is FAILED
        assert {one.verdict for one in among} == {INCONCLUSIVE}
        assert "alone the gate would fail" in among[0].message
        assert {one.verdict for one in judge(gates * 5, run(right(10, 50)), [])} == {FAILED}

    def test_advisory_gates_are_judged_and_not_in_the_family(self) -> None:
        barely = run(right(40, 50))
        gate = Gate(task="t", metric="acc", min=0.9)
        advisory = gate.model_copy(update={"advisory": True})
        found = judge([gate, *[advisory] * 4], barely, [])
        assert [one.verdict for one in found] == [FAILED] * 5
        assert [one.advisory for one in found] == [None, True, True, True, True]

    def test_gates_keep_their_order_and_baselines_their_gate(self) -> None:
        gates = [
            Gate.model_validate({"task": task, "metric": "acc", **rest})
            for task, rest in [("u", {"min": 1}), ("t", AGAINST)]
        ]
        now = run(right(300, 400), other=[0.0] * 20)
        assert [one.verdict for one in judge(gates, now, [None, now])] == [FAILED, PASSED]
        assert [one.verdict for one in judge(gates, now, [])] == [FAILED, INCONCLUSIVE]


class TestWords:
    """Messages for people who know no statistics."""

    def test_verdicts_say_the_score_what_is_proven_and_the_bound(self) -> None:
        assert verdict({"min": 0.9}, run(right(49, 50))).message == (
            "0.9800: at least 0.9086 with 95% confidence, min 0.9 (50 items)"
        )
        assert verdict({"min": 0.9}, run(right(38, 50))).message == (
            "0.7600: at most 0.8553 with 95% confidence, min 0.9 (50 items)"
        )
        assert verdict({"min": 0.9}, run(right(48, 50))).message == (
            "0.9600: between 0.8794 and 0.9928 with 95% confidence each, min 0.9 (50 items)"
        )

    def test_regressions_say_both_scores_and_the_changed_items(self) -> None:
        now, before = TestBaselines.pair(400, 4, 40, 56)
        assert verdict({**AGAINST, "maxRegression": 0.01}, now, before).message == (
            "0.8800 against 0.8080 (+0.0720): at least +0.0523 with 95% confidence, allowed -0.01 "
            "(500 items, 4 lost, 40 gained)"
        )

    def test_gate_that_could_not_pass_says_how_many_items_it_needs(self) -> None:
        same = run(right(150, 200))
        message = verdict({**AGAINST, "maxRegression": 0.01}, same, same).message
        assert message.endswith(
            "it cannot pass: maxRegression: 0.01 needs at least 299 items (fewer only if the model became better), "
            "and there are 200"
        )
        assert verdict({"min": 0.99}, run(right(20, 20))).message.endswith(
            "it cannot pass: min: 0.99 needs at least 299 items, and there are 20"
        )

    def test_reasons_name_the_alternatives(self) -> None:
        missing = verdict({"metric": "f1", "min": 0.1}, run())
        assert (missing.reason, missing.message) == (
            Reason.SCORE_MISSING,
            "there is no score f1 of t; there is: acc,none",
        )
        assert verdict({"task": "nobody", "min": 0}, run()).message.endswith("there is: no score of nobody")


@pytest.mark.parametrize("score", ["N/A", float("nan")])
def test_scores_that_are_no_number_are_undecided(score: object) -> None:
    assert verdict({"min": 0.1}, run(score=score)).reason is Reason.SCORE_MISSING
    assert verdict(AGAINST, run(), run(score=score)).reason is Reason.BASELINE_MISSING


def test_score_that_is_no_mean_of_its_items_needs_the_point_rule() -> None:
    made_otherwise = run(right(5, 10), score=0.8)
    result = verdict({"min": 0.1}, made_otherwise)
    assert (result.verdict, result.reason) == (INCONCLUSIVE, Reason.INCONCLUSIVE)
    assert "set rule: point" in result.message
    assert verdict({"min": 0.1, "rule": "point"}, made_otherwise).verdict is PASSED


def filtered(*filters: str) -> JudgedRun:
    results = make_results({"results": {"t": {f"acc,{name}": 0.75 for name in filters}}})
    return JudgedRun(results, FakeItems({f"t,acc,{name}": right(75, 100) for name in filters}))


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
    gate = Gate.model_validate({"task": "nightly", "metric": "acc", "min": 0.1})
    (result,) = judge([gate], run(), [], [nightly])
    assert (result.verdict, result.task, result.stands_for, result.n) == (PASSED, "nightly", "t", 10)
    (unknown,) = judge([gate], run(), [], [])
    assert (unknown.verdict, unknown.stands_for) == (INCONCLUSIVE, None)


def test_score_that_could_not_be_computed_says_why() -> None:
    lacking = {"task": "t", "metric": "f1", "filter": "none", "reason": "f1_score raised ValueError: multiclass"}
    now = make_results({"results": {"t": {"f1,none": None}}, "evalrun": {"unscored": [lacking]}})
    result = verdict({"metric": "f1", "min": 0.1}, JudgedRun(now, FakeItems({})))
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
    judged = JudgedRun(now, FakeItems({"t,acc,none": right(5, 10), "u,f1,none": [0.5] * 9 + [NONE]}))
    assert verdict({"task": "g", "min": 0.1}, judged).verdict is PASSED
    assert verdict({"task": "g", "metric": "f1", "min": 0.1}, judged).verdict is INCONCLUSIVE


def test_n_of_a_group_is_that_of_the_metric() -> None:
    entry = {"acc,none": 0.5, "f1,none": 0.5, "sample_len": 100, "sample_count": {"acc,none": 60, "f1,none": 40}}
    now = JudgedRun(make_results({"results": {"g": entry}}), FakeItems({}))
    assert verdict({"task": "g", "min": 0.1, "rule": "point"}, now).n == 60
    assert verdict({"task": "g", "metric": "f1", "min": 0.1, "rule": "point"}, now).n == 40
