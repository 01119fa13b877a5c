"""Intervals of scores in ``results.json``: of tasks, strata and groups; lm-eval's own numbers stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics
from scipy.stats import binomtest

from evalrun_api.wire.outputs import IntervalRecord
from evalrun_runner.benchmarks.aggregate import Aggregated, aggregate
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.estimates import estimate
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.statistics.interval import Interval, NoInterval
from support.parity import Case, answer, lm_eval_results, load_case
from support.suites import Suite

ROWS = [
    {"question": f"{i} + 1 =", "answer": str(i + 1), "passage": f"p{i // 4}", "level": ["easy", "hard"][i % 2]}
    for i in range(24)
]
SUM: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "filter_list": [
        {"name": "number", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}]}
    ],
}
DECLARED: dict[str, Any] = {"evalrun": {"cluster": "passage", "strata": ["level"]}}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    suite = Suite(tmp_path / "suite").with_data("rows", ROWS)
    suite.with_task("plain", data="rows", **SUM).with_task("declared", data="rows", **SUM, metadata=DECLARED)
    metric = {"metric": "exact_match", "filter_list": ["number"]}
    return suite.with_group("both", ["plain", "declared"], aggregate_metric_list=[metric])


def aggregated(suite: Suite, *tasks: str) -> Aggregated:
    loaded = load_case(Case(tasks), suite.folder)
    rows = {}
    for leaf in loaded.leaves:
        items = list(iter_items(leaf, None))
        rows[leaf.name] = list(Scorer(leaf.recipe).score(items, [answer(item) for item in items]))
    return aggregate(loaded, lambda task: iter(rows[task]), bootstrap_iters=10)


def records(found: Aggregated, task: str) -> dict[str | None, IntervalRecord]:
    return {one.stratum: one for one in found.intervals if one.task == task}


def test_every_score_has_wilsons_interval_beside_lm_evals_standard_error(suite: Suite) -> None:
    found = aggregated(suite, "both")
    entry = found.results["results"]["plain"]
    (record,) = records(found, "plain").values()
    right = round(24 * record.value)
    assert record.value == entry["exact_match,number"]
    assert "exact_match_stderr,number" in entry
    expected = binomtest(right, 24).proportion_ci(method="wilson")
    assert (record.low, record.high) == pytest.approx((expected.low, expected.high))
    assert (record.method, record.target, record.n, record.clusters, record.note) == ("wilson", "items", 24, None, None)
    assert record.as_written().keys().isdisjoint({"stratum", "clusters", "note"})


def test_declared_clusters_widen_the_interval_and_strata_have_scores(suite: Suite) -> None:
    found = aggregated(suite, "declared")
    of_task = records(found, "declared")
    assert set(of_task) == {None, "level=easy", "level=hard"}
    whole, easy, hard = of_task[None], of_task["level=easy"], of_task["level=hard"]
    assert (whole.method, whole.target, whole.clusters) == ("wilson-clustered", "clusters", 6)
    assert (easy.n, hard.n) == (12, 12)
    assert (easy.value + hard.value) / 2 == pytest.approx(whole.value)


def test_groups_have_an_interval_over_their_fixed_tasks(suite: Suite) -> None:
    (record,) = records(aggregated(suite, "both"), "both").values()
    assert (record.n, record.method) == (48, "wilson-stratified")
    assert record.low is not None
    assert record.high is not None
    assert record.low < record.value < record.high


def test_lm_eval_ignores_what_is_declared(suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = Case(("plain", "declared"))
    theirs = lm_eval_results(case, suite.folder, monkeypatch)["results"]
    own = aggregated(suite, "plain", "declared").results["results"]
    for task in case.tasks:
        assert theirs[task]["exact_match,number"] == own[task]["exact_match,number"]
    assert theirs["plain"]["exact_match,number"] == theirs["declared"]["exact_match,number"]


def test_an_interval_over_a_limit_says_so(suite: Suite) -> None:
    from evalrun_runner.benchmarks.recipe import BenchmarkSpec

    loaded = load_case(Case(("plain",), BenchmarkSpec("", "", limit=6)), suite.folder)
    (leaf,) = loaded.leaves
    items = list(iter_items(leaf, None))
    rows = list(Scorer(leaf.recipe).score(items, [answer(item) for item in items]))
    (record,) = aggregate(loaded, lambda _: iter(rows), bootstrap_iters=10).intervals
    assert record.n == 6
    assert record.note is not None
    assert record.note.startswith("the first 6 documents of the task")


PAIRS = st.lists(st.tuples(st.floats(-50, 0), st.integers(1, 20)), max_size=8)
VALUES = st.lists(st.sampled_from([0, 1, 0.0, 1.0, True, False, 0.5, 0.25]), max_size=8)


@given(st.sampled_from([metrics.mean, metrics.nanmean, metrics.median, metrics.perplexity]), VALUES)
def test_no_interval_is_ever_empty_or_nan(aggregation: Any, values: Sequence[Any]) -> None:
    check(estimate(aggregation, values))


@given(st.sampled_from([metrics.weighted_perplexity, metrics.bits_per_byte]), PAIRS)
def test_no_interval_of_a_ratio_is_ever_empty_or_nan(aggregation: Any, values: Sequence[Any]) -> None:
    check(estimate(aggregation, values))


@given(
    st.sampled_from([metrics.f1_score, metrics.matthews_corrcoef]),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=12),
)
def test_no_interval_of_classes_is_ever_empty_or_nan(aggregation: Any, values: Sequence[Any]) -> None:
    check(estimate(aggregation, values))


def check(found: Interval | NoInterval) -> None:
    if isinstance(found, NoInterval):
        assert found.reason
    else:
        assert math.isfinite(found.low) and math.isfinite(found.high)
        assert found.low < found.high


def test_intervals_of_perplexities_hold_the_score() -> None:
    random = np.random.default_rng(7)
    pairs = [(-float(words * random.uniform(1, 3)), int(words)) for words in random.integers(5, 40, 50)]
    for aggregation in (metrics.weighted_perplexity, metrics.bits_per_byte):
        found = estimate(aggregation, pairs)
        assert isinstance(found, Interval)
        assert found.low < aggregation(pairs) < found.high
    values = [-float(value) for value in random.uniform(1, 3, 50)]
    found = estimate(metrics.perplexity, values)
    assert isinstance(found, Interval)
    assert found.low < metrics.perplexity(values) < found.high


def test_an_aggregation_of_another_kind_says_that_there_is_none() -> None:
    found = estimate(metrics.bleu, [("a", "b")])
    assert isinstance(found, NoInterval)
    assert "aggregation bleu" in found.reason
