"""Gates alone and together, against the small cases, exact enumeration and each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evalrun_api import Verdict
from evalrun_runner.statistics.decisions import (
    Criterion,
    GateDecision,
    decide_max,
    decide_min,
    decide_point,
    decide_regression,
    decide_relative_regression,
    fold,
    with_missing,
)
from evalrun_runner.statistics.paired_data import PairedData
from evalrun_runner.statistics.proportions import lower_bound, upper_bound
from support.statistics import small_case

scores = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60)


def share(right: int, n: int) -> Callable[[float], tuple[float, float]]:
    return lambda confidence: (lower_bound(right, n, confidence), upper_bound(right, n, confidence))


def pairs(both: int, lost: int, gained: int, neither: int) -> PairedData:
    candidate = [1] * both + [0] * lost + [1] * gained + [0] * neither
    baseline = [1] * both + [1] * lost + [0] * gained + [0] * neither
    return PairedData(candidate, baseline)


def decided(verdict: Verdict, p_fail: float | None = 1.0, **fields: object) -> GateDecision:
    return GateDecision(Criterion.MIN, verdict, 0.5, 0.4, 0.6, 0.5, 0.95, p_fail, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [49, 48, 38])
def test_a_minimum_of_fifty_items_has_the_verdicts_of_the_small_case(right: int) -> None:
    expected = small_case("min_gate_edge")[1][str(right)]
    found = decide_min(right / 50, share(right, 50), 0.9)
    assert found.verdict == expected["verdict"]
    assert [found.low, found.high] == pytest.approx([expected["lower"], expected["upper"]], abs=1e-14)


def test_a_maximum_is_the_minimum_of_the_wrong_items() -> None:
    for right, verdict in ((1, Verdict.PASSED), (2, Verdict.INCONCLUSIVE), (12, Verdict.FAILED)):
        assert decide_max(right / 50, share(right, 50), 0.1).verdict is verdict
        mirrored = decide_min(1 - right / 50, share(50 - right, 50), 0.9)
        assert decide_max(right / 50, share(right, 50), 0.1).p_fail == pytest.approx(mirrored.p_fail, rel=1e-6)


def test_the_p_value_of_a_minimum_is_the_chance_of_so_few_right_items() -> None:
    found = decide_min(38 / 50, share(38, 50), 0.9)
    assert found.p_fail == pytest.approx(float(binom.cdf(38, 50, 0.9)), rel=1e-6)


def test_a_score_equal_to_its_bound_but_for_rounding_reaches_it() -> None:
    assert decide_point(Criterion.MIN, 0.1 + 0.2 - 1e-12, 0.3, at_most=False).verdict is Verdict.PASSED
    assert decide_point(Criterion.MAX, 0.31, 0.3, at_most=True).verdict is Verdict.FAILED


def test_ten_unchanged_items_are_too_few_for_any_margin() -> None:
    found = decide_regression(pairs(7, 0, 0, 3), 0.01)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.low == pytest.approx(small_case("no_discordant_10")[1]["one_sided_95_lower"], abs=1e-14)


def test_three_hundred_unchanged_items_have_the_verdicts_of_the_small_case() -> None:
    _, expected = small_case("no_discordant_300")
    data = pairs(240, 0, 0, 60)
    assert decide_regression(data, 0.02).verdict == expected["verdicts"]["maxRegression 0.02"]
    assert decide_regression(data, 0.005).verdict == expected["verdicts"]["maxRegression 0.005"]
    assert decide_regression(data, 0.02).low == pytest.approx(expected["one_sided_95_lower"], abs=1e-14)


def test_a_margin_of_zero_is_inconclusive_for_the_same_answers() -> None:
    _, expected = small_case("margin_zero")
    found = decide_regression(pairs(800, 0, 0, 200), 0.0)
    assert (found.verdict, found.bound) == (expected["verdict"], 0.0)
    assert found.low == pytest.approx(expected["one_sided_95_lower"], abs=1e-14)


def test_a_better_candidate_has_the_verdict_of_the_small_case() -> None:
    _, expected = small_case("negative_loss")
    found = decide_regression(pairs(400, 4, 40, 56), 0.01)
    assert found.verdict == expected["verdict"]
    assert found.value == pytest.approx(expected["diff"], abs=1e-15)
    assert found.low == pytest.approx(expected["one_sided_95_lower"], abs=1e-14)


def test_a_clear_loss_fails() -> None:
    found = decide_regression(pairs(400, 60, 10, 30), 0.02)
    assert found.verdict is Verdict.FAILED
    assert found.high < -0.02


def test_a_rise_is_the_loss_where_less_is_better() -> None:
    worse = decide_regression(pairs(30, 10, 60, 400), 0.02, lower_is_better=True)
    assert (worse.verdict, worse.bound) == (Verdict.FAILED, 0.02)
    assert worse.low > 0.02
    assert worse.value == pytest.approx(0.1)
    assert decide_regression(pairs(30, 60, 10, 400), 0.02, lower_is_better=True).verdict is Verdict.PASSED


def test_a_relative_loss_is_judged_by_the_share_of_the_baseline() -> None:
    # 80 of 400 right items lost is a fifth of the score, although only 8 points of all.
    data = pairs(320, 80, 0, 600)
    assert decide_relative_regression(data, 0.10).verdict is Verdict.FAILED
    assert decide_relative_regression(data, 0.20).verdict is Verdict.INCONCLUSIVE
    assert decide_relative_regression(data, 0.30).verdict is Verdict.PASSED
    assert decide_relative_regression(data, 0.30).value == pytest.approx(-0.2)


def test_a_relative_rise_is_judged_where_less_is_better() -> None:
    data = pairs(400, 0, 80, 520)
    assert decide_relative_regression(data, 0.10, lower_is_better=True).verdict is Verdict.FAILED
    assert decide_relative_regression(data, 0.30, lower_is_better=True).verdict is Verdict.PASSED


def test_bounded_scores_are_judged_by_their_differences() -> None:
    rng = np.random.default_rng(7)
    old = rng.uniform(0, 1, 400)
    new = np.clip(old - 0.1 + rng.normal(0, 0.05, 400), 0, 1)
    data = PairedData(new, old)
    assert decide_regression(data, 0.02).verdict is Verdict.FAILED
    assert decide_regression(data, 0.2).verdict is Verdict.PASSED
    assert decide_relative_regression(data, 0.05).verdict is Verdict.FAILED
    assert decide_relative_regression(data, 0.5).verdict is Verdict.PASSED


def test_a_few_unchanged_judge_scores_prove_nothing() -> None:
    same = [3.0, 4.0, 2.0, 5.0] * 5
    assert decide_regression(PairedData(same, same, bounds=(1, 5)), 0.1).verdict is Verdict.INCONCLUSIVE


def test_items_of_few_clusters_decide_less_than_as_many_independent_ones() -> None:
    # Every change is in one of ten passages.
    data = pairs(80, 12, 0, 108)
    alone = decide_regression(data, 0.02)
    passages = [item // 20 for item in range(200)]
    clustered = decide_regression(PairedData(data.candidate, data.baseline, clusters=passages), 0.02)
    assert alone.verdict is Verdict.FAILED
    assert clustered.verdict is Verdict.INCONCLUSIVE
    assert clustered.low < alone.low


def test_one_cluster_decides_nothing() -> None:
    data = pairs(10, 90, 0, 0)
    assert (
        decide_regression(PairedData(data.candidate, data.baseline, clusters=["a"] * 100), 0.02).verdict
        is Verdict.INCONCLUSIVE
    )


@pytest.mark.parametrize("place", range(4))
def test_verdicts_together_are_those_of_the_small_case(place: int) -> None:
    case, expected = small_case("gates_fold")
    p_of = {"Passed": 1.0, "Failed": 1e-6, "Inconclusive": 0.4}
    family = fold([decided(Verdict(verdict), p_of[verdict]) for verdict in case["sets"][place]])
    assert family.verdict == expected["verdicts"][place]


def test_a_weak_failure_among_ten_criteria_is_inconclusive() -> None:
    family = fold([decided(Verdict.FAILED, 0.03), *(decided(Verdict.PASSED) for _ in range(9))])
    assert family.verdict is Verdict.INCONCLUSIVE
    assert (
        fold([decided(Verdict.FAILED, 0.004), *(decided(Verdict.PASSED) for _ in range(9))]).verdict is Verdict.FAILED
    )


def test_holm_goes_on_after_a_confirmed_failure() -> None:
    family = fold([decided(Verdict.FAILED, 0.04), decided(Verdict.FAILED, 0.01)])
    assert [one.verdict for one in family.decisions] == [Verdict.FAILED, Verdict.FAILED]


def test_an_advisory_criterion_neither_decides_nor_counts_in_the_family() -> None:
    family = fold([decided(Verdict.FAILED, 1e-9, advisory=True), decided(Verdict.FAILED, 0.04)])
    assert family.verdict is Verdict.FAILED
    assert fold([decided(Verdict.FAILED, 1e-9, advisory=True), decided(Verdict.PASSED)]).verdict is Verdict.PASSED
    assert fold([decided(Verdict.FAILED, 1e-9, advisory=True)]).verdict is None


def test_a_failure_by_the_bare_score_needs_no_confirmation() -> None:
    point = decide_point(Criterion.MIN, 0.4, 0.5, at_most=False)
    assert fold([point, decided(Verdict.PASSED)]).verdict is Verdict.FAILED


def test_missing_items_make_a_criterion_inconclusive_with_both_extreme_verdicts() -> None:
    minimum = partial(decide_min, minimum=0.5)
    found = with_missing(
        minimum(0.9, share(90, 100)), worst=minimum(0.3, share(90, 300)), best=minimum(0.97, share(290, 300))
    )
    assert (found.verdict, found.worst, found.best) == (Verdict.INCONCLUSIVE, Verdict.FAILED, Verdict.PASSED)
    assert fold([found]).verdict is Verdict.INCONCLUSIVE


@given(scores, st.sampled_from([(0, 4), None]), st.floats(0, 2), st.booleans())
def test_no_regression_is_nan_or_raises(
    items: list[tuple[int, int]], bounds: tuple[int, int] | None, margin: float, lower: bool
) -> None:
    data = PairedData([a for a, _ in items], [b for _, b in items], bounds)
    for found in (
        decide_regression(data, margin, lower_is_better=lower),
        decide_relative_regression(data, margin / 2, lower_is_better=lower),
    ):
        assert found.low <= found.high
        assert found.p_fail is not None
        assert 0 <= found.p_fail <= 1
        if found.criterion is Criterion.REGRESSION and found.value is not None:
            assert found.low - 1e-9 <= found.value <= found.high + 1e-9
