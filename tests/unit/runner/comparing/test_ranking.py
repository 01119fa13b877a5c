"""Ranking of many runs: against statsmodels on real models, and what the reader is told."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.multitest import multipletests

from evalrun_runner.comparing.comparison import ComparisonRequest
from evalrun_runner.comparing.figure import ranking_svg
from evalrun_runner.comparing.opening import open_runs
from evalrun_runner.comparing.ranking import ManyRunReport, compare_many
from evalrun_runner.comparing.ranking_words import ranking_sentence
from evalrun_runner.comparing.score_table import read_table
from evalrun_runner.errors import InputError
from support.compared import Scores, write_evalrun

MODELS = Path(__file__).parents[3] / "data" / "comparing" / "gsm8k_models.csv"


@pytest.fixture(scope="module")
def report() -> ManyRunReport:
    return compare_many(open_runs([str(MODELS)]), ComparisonRequest())


def test_pairs_of_real_models_are_those_of_statsmodels(report: ManyRunReport) -> None:
    table = read_table(MODELS)
    expected: dict[frozenset[str], float] = {}
    for first, second in combinations(range(len(table.models)), 2):
        ours, theirs = table.scores[first], table.scores[second]
        common = ~(np.isnan(ours) | np.isnan(theirs))
        counts = [
            [int(np.sum((ours[common] == row) & (theirs[common] == column))) for column in (1, 0)] for row in (1, 0)
        ]
        expected[frozenset((table.models[first], table.models[second]))] = float(mcnemar(counts, exact=True).pvalue)
    holm = dict(zip(expected, multipletests(list(expected.values()), method="holm")[1], strict=True))
    fdr = dict(zip(expected, multipletests(list(expected.values()), method="fdr_bh")[1], strict=True))
    assert len(report.pairs) == len(expected) == 10
    for pair in report.pairs:
        key = frozenset((pair.first, pair.second))
        assert pair.p == pytest.approx(expected[key], rel=1e-9)
        assert pair.holm == pytest.approx(holm[key], rel=1e-9)
        assert pair.benjamini_hochberg == pytest.approx(fdr[key], rel=1e-9)
        assert pair.low < pair.difference < pair.high
        assert pair.difference >= 0


def test_all_alike_is_cochrans_test_on_complete_items(report: ManyRunReport) -> None:
    scores = read_table(MODELS).scores
    complete = scores[:, ~np.isnan(scores).any(axis=0)]
    expected = cochrans_q(complete.T)
    assert report.complete == complete.shape[1] == 681
    assert report.omnibus is not None
    assert report.omnibus[0] == pytest.approx(expected.statistic)
    assert report.omnibus[1] == 4


def test_ranks_are_what_the_pairs_leave_open(report: ManyRunReport) -> None:
    told_apart = {(pair.first, pair.second) for pair in report.pairs if pair.holm is not None and pair.holm <= 0.05}
    for run in report.ranking:
        better = sum(second == run.label for _, second in told_apart)
        worse = sum(first == run.label for first, _ in told_apart)
        assert (run.best_rank, run.worst_rank) == (1 + better, len(report.ranking) - worse)
        assert run.best_rank <= run.worst_rank
    for group in report.groups:
        for first, second in combinations(group, 2):
            labels = (report.ranking[first].label, report.ranking[second].label)
            assert labels not in told_apart


def test_the_sentence_names_who_may_be_the_best(report: ManyRunReport) -> None:
    assert ranking_sentence(report) == (
        "3 of 5 runs may be the best: claude-3-5-sonnet-20241022, Llama-3.1-405B-Inst-fp8@together, "
        "gemini-1.5-flash-exp-0827. claude-3-5-sonnet-20241022 is ahead with 96.7%, and the other 2 are worse than at "
        "least one run."
    )


def test_the_picture_is_svg_with_every_run(report: ManyRunReport) -> None:
    svg = ranking_svg(report)
    assert svg.startswith("<svg")
    for run in report.ranking:
        assert run.label in svg


def runs_of(tmp_path: Path, *scores: Scores) -> ManyRunReport:
    for place, one in enumerate(scores):
        write_evalrun(tmp_path / f"run{place}", {"sums": one}, model=f"m{place}")
    return compare_many(open_runs([str(tmp_path / f"run{place}") for place in range(len(scores))]), ComparisonRequest())


def test_identical_runs_are_one_group(tmp_path: Path) -> None:
    """Case 18 of the statistics' small cases: three identical runs: Q = 0, p = 1."""
    found = runs_of(tmp_path, *[[1.0, 0.0] * 10] * 3)
    assert found.groups == ((0, 1, 2),)
    assert found.omnibus is not None
    assert (found.omnibus[0], found.omnibus[2]) == (0.0, 1.0)
    assert (
        ranking_sentence(found)
        == "None of the 3 runs can be called the best; run0, run1, run2 have the same score, 50.0%."
    )


def test_a_run_that_is_better_than_each_other_one_is_the_best(tmp_path: Path) -> None:
    found = runs_of(tmp_path, [0.0] * 40, [1.0] * 40, [1.0] * 20 + [0.0] * 20)
    assert [run.label for run in found.ranking] == ["run1", "run2", "run0"]
    assert ranking_sentence(found) == "run1 is the best of 3 runs: it scores 100.0% and is better than each other one."
    assert [group for group in found.groups if len(group) > 1] == []


def test_scores_in_a_range_are_ranked_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    low, high = draw.uniform(0, 0.6, 60), draw.uniform(0.4, 1, 60)
    found = runs_of(tmp_path, low.tolist(), high.tolist(), high.tolist())
    assert found.omnibus is None
    assert {run.label for run in found.top} == {"run1", "run2"}


def test_a_metric_that_not_all_have_is_refused(tmp_path: Path) -> None:
    for name, metric in (("a", "acc"), ("b", "acc"), ("c", "exact_match")):
        write_evalrun(tmp_path / name, {"sums": [1.0]}, model=name, metric=metric)
    runs = open_runs([str(tmp_path / name) for name in "abc"])
    with pytest.raises(InputError, match="sums: no such metric in all runs; there are none"):
        compare_many(runs, ComparisonRequest(allow_differences=True))


def test_ranks_say_that_they_take_items_of_clusters_for_independent(tmp_path: Path) -> None:
    declared = {"metadata": {"evalrun": {"cluster": "passage"}}}
    for name in "abc":
        write_evalrun(tmp_path / name, {"sums": [1.0, 0.0]}, model=name, config=declared)
    found = compare_many(open_runs([str(tmp_path / name) for name in "abc"]), ComparisonRequest())
    assert found.notes == ("sums declares clusters, and ranks take its items for independent",)
