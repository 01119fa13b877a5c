"""Many models at once: ZeroEval's matrices against oracles, statsmodels, and each pair alone."""

from __future__ import annotations

import csv
import gzip
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multitest import multipletests

from evalrun_runner.statistics.many import ManyComparison, compare_all
from evalrun_runner.statistics.multiplicity import benjamini_hochberg, holm
from evalrun_runner.statistics.paired import PairedCounts, tango
from support.statistics import FOLDER, small_case, table

MATRICES = {
    "gsm8k": (946, 791, 785, 660, 681, 3952.4917231837926),
    "cruxeval_o": (1275, 1147, 1146, 1022, 800, 8088.7246302493795),
}
"""Pairs; of these significant at 0.05 alone, by Benjamini-Hochberg, by Holm; complete items; Cochran's Q."""


def matrix(name: str) -> tuple[list[str], NDArray[np.float64]]:
    """Models and their scores, shape (models, items), from ZeroEval."""
    with gzip.open(FOLDER / f"zeroeval_{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    scores = [[float(cell) if cell else math.nan for cell in row[1:]] for row in rows]
    return head[1:], np.array(scores).T


def compared(rows: list[list[float]]) -> ManyComparison:
    return compare_all(np.array(rows))


@pytest.mark.parametrize("name", list(MATRICES))
def test_pairs_of_a_leaderboard_equal_the_oracle(name: str) -> None:
    models, scores = matrix(name)
    pairs = compare_all(scores).pairs
    place = {(models[a], models[b]): i for i, (a, b) in enumerate(zip(pairs.first, pairs.second, strict=True))}
    columns = {
        "diff": pairs.difference,
        "tango_low": pairs.interval[0],
        "tango_high": pairs.interval[1],
        "newcombe10_low": pairs.newcombe[0],
        "newcombe10_high": pairs.newcombe[1],
        "bonett_price_low": pairs.bonett_price[0],
        "bonett_price_high": pairs.bonett_price[1],
    }
    p_values = {"mcnemar_exact_p": pairs.p, "mcnemar_midp": pairs.mid_p, "holm_p": pairs.holm, "bh_p": pairs.fdr}
    counts = {"n11": pairs.both, "n10": pairs.first_only, "n01": pairs.second_only, "n00": pairs.neither}
    for row in table(f"{name}_pairs.csv"):
        at = place[row["a"], row["b"]]
        assert {key: int(column[at]) for key, column in counts.items()} == {key: int(row[key]) for key in counts}
        for key, column in columns.items():
            assert column[at] == pytest.approx(float(row[key]), abs=1e-13), (row["a"], row["b"], key)
        for key, column in p_values.items():
            assert column[at] == pytest.approx(float(row[key]), rel=1e-11), (row["a"], row["b"], key)


@pytest.mark.parametrize("name", list(MATRICES))
def test_significant_pairs_and_cochrans_q_equal_the_oracle(name: str) -> None:
    count, raw, fdr, strict, complete, q = MATRICES[name]
    found = compare_all(matrix(name)[1])
    pairs = found.pairs
    assert len(pairs.p) == count
    assert [int((p <= 0.05).sum()) for p in (pairs.p, pairs.fdr, pairs.holm)] == [raw, fdr, strict]
    assert found.omnibus is not None
    assert found.omnibus.items == complete
    assert found.omnibus.q == pytest.approx(q, rel=1e-12)


@pytest.mark.parametrize("name", list(MATRICES))
def test_rank_intervals_equal_the_oracle(name: str) -> None:
    models, scores = matrix(name)
    found = compare_all(scores)
    expected = {row["model"]: (int(row["rank_low"]), int(row["rank_high"])) for row in table(f"{name}_models.csv")}
    assert {m: (found.rank_low[i], found.rank_high[i]) for i, m in enumerate(models)} == expected


def test_forty_four_models_take_less_than_a_second() -> None:
    scores = matrix("gsm8k")[1]
    compare_all(scores)
    start = time.process_time()
    compare_all(scores)
    assert time.process_time() - start < 1.0


def test_groups_are_the_longest_runs_of_neighbours_that_nothing_separates() -> None:
    found = compare_all(matrix("gsm8k")[1])
    rank = {int(model): place for place, model in enumerate(found.order)}
    assert found.groups
    for group in found.groups:
        assert not found.separated[np.ix_(group, group)].any()
        assert [rank[model] for model in group] == list(range(rank[group[0]], rank[group[0]] + len(group)))
        for neighbour in (rank[group[0]] - 1, rank[group[-1]] + 1):
            if 0 <= neighbour < len(found.order):
                assert found.separated[list(group), found.order[neighbour]].any()


def test_three_runs_with_the_same_answers_have_q_0_and_form_one_group() -> None:
    case, expected = small_case("cochran_identical")
    found = compare_all(np.array(case["rows"], dtype=float).T)
    assert found.omnibus is not None
    assert (found.omnibus.q, found.omnibus.p) == (expected["q"], expected["p"])
    assert found.groups == ((0, 1, 2),)
    assert list(zip(found.rank_low, found.rank_high, strict=True)) == [(1, 3)] * 3


def test_cochrans_q_is_that_of_statsmodels() -> None:
    scores = np.random.default_rng(3).integers(0, 2, (5, 60)).astype(float)
    expected = cochrans_q(scores.T)
    found = compare_all(scores).omnibus
    assert found is not None
    assert [found.q, found.p] == pytest.approx([expected.statistic, expected.pvalue], rel=1e-12)


def test_pairs_without_common_items_are_not_in_the_family() -> None:
    nan = math.nan
    found = compared([[1, 1, 1, 1, 1, 1, nan], [0, 0, 0, 0, 0, 0, nan], [nan] * 6 + [1]])
    assert found.pairs.n.tolist() == [6, 0, 0]
    assert found.pairs.holm[0] == found.pairs.p[0] == 0.03125
    assert np.isnan(found.pairs.holm[1:]).all()
    assert found.pairs.interval[:, 1].tolist() == [-1, 1]
    assert found.omnibus is not None
    assert (found.omnibus.items, found.omnibus.p) == (0, 1.0)


def test_scores_that_are_not_0_or_1_are_compared_by_their_differences() -> None:
    rng = np.random.default_rng(5)
    base = rng.uniform(0, 1, 200)
    scores = np.clip(np.stack([base, base + 0.1, base + rng.normal(0, 0.2, 200)]), 0, 1)
    found = compare_all(scores)
    assert found.omnibus is None
    assert found.separated[0, 1]
    assert found.pairs.interval[0, 0] < found.pairs.difference[0] < found.pairs.interval[1, 0]


def test_adjusted_p_values_equal_the_small_case() -> None:
    case, expected = small_case("holm_ties")
    assert holm(case["p"]).tolist() == pytest.approx(expected["holm"])
    assert benjamini_hochberg(case["p"]).tolist() == pytest.approx(expected["bh"])


def test_a_missing_p_value_is_no_test() -> None:
    assert holm([0.01, math.nan, 0.03]).tolist() == pytest.approx([0.02, math.nan, 0.03], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_those_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=8, max_size=8), min_size=1, max_size=5))
def test_every_pair_is_what_it_is_alone(rows: list[list[float]]) -> None:
    found = compared(rows)
    assert (found.rank_low <= found.rank_high).all()
    for place, (a, b) in enumerate(zip(found.pairs.first, found.pairs.second, strict=True)):
        alone = tango(PairedCounts.of(rows[a], rows[b]))
        assert found.pairs.interval[:, place].tolist() == pytest.approx([alone.low, alone.high], abs=1e-13)


def test_a_score_outside_its_bounds_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"model 1, item 0: 2\.0 is not between"):
        compared([[1, 0], [2, 1]])
