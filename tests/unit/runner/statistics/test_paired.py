"""Tango, McNemar, Newcombe and Bonett-Price, against oracles, scipy, statsmodels and their defining equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from evalrun_runner.statistics.paired import (
    PairedCounts,
    bonett_price,
    compare_with_margin,
    mcnemar,
    newcombe,
    noninferiority_z,
    tango,
)
from evalrun_runner.statistics.tango import tango_bounds, tango_z
from support.statistics import small_case, table

counts = st.builds(PairedCounts, st.integers(0, 400), st.integers(0, 200), st.integers(0, 200), st.integers(0, 400))


def counts_of(given_case: object) -> PairedCounts:
    assert isinstance(given_case, dict)
    # In the oracle n10 counts the items that the first side has right; here the first side is the candidate.
    return PairedCounts(given_case["n11"], given_case["n01"], given_case["n10"], given_case["n00"])


@pytest.mark.parametrize("file", ["gsm8k_pairs.csv", "cruxeval_o_pairs.csv"])
def test_pairs_of_models_equal_the_oracle(file: str) -> None:
    for row in table(file)[::8]:
        pair = counts_of({key: int(row[key]) for key in ("n11", "n10", "n01", "n00")})
        found = mcnemar(pair.lost, pair.gained)
        assert pair.difference == pytest.approx(float(row["diff"]), abs=1e-15)
        assert [found.p, found.mid_p] == pytest.approx(
            [float(row["mcnemar_exact_p"]), float(row["mcnemar_midp"])], rel=1e-12
        )
        for interval, name in ((tango, "tango"), (newcombe, "newcombe10"), (bonett_price, "bonett_price")):
            low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
            assert [interval(pair).low, interval(pair).high] == pytest.approx([low, high], abs=1e-13)


def test_ten_pairs_without_a_change_have_the_intervals_of_the_small_case() -> None:
    case, expected = small_case("no_discordant_10")
    pair = counts_of(case)
    assert [tango(pair).low, tango(pair).high] == pytest.approx(expected["tango"], abs=1e-14)
    assert tango(pair, 0.90).low == pytest.approx(expected["one_sided_95_lower"], abs=1e-14)
    assert mcnemar(0, 0).p == expected["mcnemar_exact_p"]


def test_three_hundred_pairs_without_a_change_have_the_interval_of_the_small_case() -> None:
    case, expected = small_case("no_discordant_300")
    assert [tango(counts_of(case)).low, tango(counts_of(case)).high] == pytest.approx(expected["tango"], abs=1e-14)


def test_as_many_lost_as_gained_has_the_values_of_the_small_case() -> None:
    case, expected = small_case("tie_5_5")
    pair = counts_of(case)
    assert [mcnemar(5, 5).p, mcnemar(5, 5).mid_p] == [expected["mcnemar_exact_p"], expected["mcnemar_midp"]]
    for interval, name in ((tango, "tango"), (newcombe, "newcombe10"), (bonett_price, "bonett_price")):
        assert [interval(pair).low, interval(pair).high] == pytest.approx(expected[name], abs=1e-14)


def test_all_lost_has_the_values_of_the_small_case() -> None:
    case, expected = small_case("all_lost")
    found = tango(counts_of(case))
    assert [found.low, found.high] == pytest.approx(expected["tango"], abs=1e-14)
    assert [mcnemar(5, 0).p, mcnemar(5, 0).mid_p] == pytest.approx([0.0625, 0.03125], rel=1e-14)


def test_one_lost_of_forty_has_p_1_and_mid_p_a_half() -> None:
    assert mcnemar(1, 0).p == 1.0
    assert mcnemar(1, 0).mid_p == pytest.approx(0.5, abs=1e-15)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_scipy(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained).p == pytest.approx(expected, rel=1e-9)
    assert mcnemar(lost, gained).mid_p <= mcnemar(lost, gained).p


@given(counts)
def test_no_interval_is_nan_or_empty_or_without_width_or_without_the_observed_difference(pair: PairedCounts) -> None:
    found = tango(pair)
    assert -1 <= found.low <= pair.difference <= found.high <= 1
    assert found.width > 0
    for other in (newcombe(pair), bonett_price(pair)):
        assert -1 <= other.low < other.high <= 1


@given(counts, st.floats(-0.9, 0.9))
def test_the_statistic_is_the_score_test_at_the_most_likely_shares(pair: PairedCounts, delta: float) -> None:
    # Independent of the closed form: the likelihood is maximised numerically under the hypothesis.
    lost, gained, n = pair.lost, pair.gained, pair.n
    if n == 0:
        return

    def loss(share: float) -> float:
        rest = n - lost - gained
        terms = ((lost, share), (gained, share + delta), (rest, 1 - 2 * share - delta))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in terms if count)

    found = minimize_scalar(
        loss, bounds=(max(0.0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
    )
    variance = n * (2 * found.x + delta - delta * delta)
    expected = (gained - lost - n * delta) / math.sqrt(variance)
    assert float(tango_z(lost, gained, n, delta)) == pytest.approx(expected, rel=2e-4, abs=2e-4)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_the_bounds_are_where_the_statistic_equals_the_quantile(pair: PairedCounts, confidence: float) -> None:
    found = tango(pair, confidence)
    z = {0.8: 1.2815515655446004, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}[confidence]
    if found.low > -1:
        assert noninferiority_z(pair, -found.low) == pytest.approx(z, abs=1e-6)
    if found.high < 1:
        assert noninferiority_z(pair, -found.high) == pytest.approx(-z, abs=1e-6)


@given(counts)
def test_exchanging_the_runs_mirrors_every_interval(pair: PairedCounts) -> None:
    mirrored = PairedCounts(pair.both, pair.gained, pair.lost, pair.neither)
    for interval in (tango, newcombe, bonett_price):
        assert [interval(pair).low, interval(pair).high] == pytest.approx(
            [-interval(mirrored).high, -interval(mirrored).low], abs=1e-12
        )


def test_bounds_of_many_pairs_are_the_bounds_of_each() -> None:
    lost, gained, n = np.array([0, 3, 9]), np.array([0, 5, 0]), np.array([10, 40, 9])
    low, high = tango_bounds(lost, gained, n, 1.959963984540054)
    for place in range(3):
        alone = tango(PairedCounts(n[place] - lost[place] - gained[place], lost[place], gained[place], 0))
        assert [low[place], high[place]] == pytest.approx([alone.low, alone.high], abs=1e-14)


def test_without_common_items_the_interval_is_every_difference() -> None:
    found = tango(PairedCounts(0, 0, 0, 0))
    assert (found.low, found.high) == (-1.0, 1.0)
    assert "no item in common" in found.note


def test_counting_leaves_out_items_that_one_side_lacks() -> None:
    found = PairedCounts.of([1, 0, 1, math.nan, 0, 1], [1, 1, 0, 1, 0, math.nan])
    assert found == PairedCounts(1, 1, 1, 1)


def test_scores_between_0_and_1_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="compare such scores by their differences"):
        PairedCounts.of([0.5, 1], [1, 1])


def test_a_margin_is_not_held_by_too_few_items_even_without_a_change() -> None:
    # The guard is exact: 0.98^133 is 6.8%, although Tango's statistic of 133 items excludes a loss of 0.02.
    few, enough = PairedCounts(133, 0, 0, 0), PairedCounts(149, 0, 0, 0)
    assert noninferiority_z(few, 0.02) > 1.645
    assert compare_with_margin(few, 0.02).p_within == pytest.approx(0.98**133, rel=1e-9)
    assert compare_with_margin(enough, 0.02).p_within <= 0.05


def test_the_guard_is_the_bound_of_clopper_and_pearson() -> None:
    pair = PairedCounts(85, 7, 4, 4)
    low, high = proportion_confint(7, 100, alpha=0.10, method="beta")
    assert compare_with_margin(pair, high - 0.04).p_within >= 0.05 - 1e-9
    assert compare_with_margin(pair, low - 0.04).p_beyond >= 0.05 - 1e-9


@given(counts, st.floats(0, 0.3))
def test_a_loss_is_never_both_within_and_beyond_the_margin(pair: PairedCounts, margin: float) -> None:
    found = compare_with_margin(pair, margin)
    assert 0 <= found.p_within <= 1
    assert 0 <= found.p_beyond <= 1
    assert found.p_within + found.p_beyond >= 1 - 1e-9
