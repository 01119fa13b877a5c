"""What is known of a run's scores before anything is scored."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from evalrun_runner.benchmarks.possible_scores import check_groups, possible_scores
from support.parity import Case, load_case
from support.suites import Suite

ROWS = [{"question": "1 + 1 =", "answer": "2"}]
SUMS = {"output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
LAST = [{"name": "last", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}]}]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return Suite(tmp_path / "suite").with_data("rows", ROWS)


def test_a_task_has_each_of_its_metrics_with_each_of_its_filters(suite: Suite) -> None:
    filters = [*LAST, {"name": "first", "filter": [{"function": "take_first"}]}]
    suite.with_task("sums", data="rows", **SUMS, filter_list=filters, metric_list=[{"metric": "exact_match"}])
    found = possible_scores(load_case(Case(("sums",)), suite.folder))["sums"]
    assert (found.keys, found.filters, found.others) == (
        ("exact_match,last", "exact_match,first"),
        ("last", "first"),
        False,
    )


def test_code_may_give_a_task_other_metrics(suite: Suite) -> None:
    suite.with_file("code.py", "def process(doc, results):\n    return {'pass@1': 1.0}\n")
    suite.with_task("code", data="rows", **SUMS, metric_list=[{"metric": "acc", "aggregation": "mean"}])
    file = suite.folder / "code.yaml"
    file.write_text(file.read_text() + "process_results: !function code.process\n")
    found = possible_scores(load_case(Case(("code",), allow_code=True), suite.folder))["code"]
    assert (found.keys, found.others) == (("acc,none",), True)


def test_a_group_has_what_it_aggregates_of_what_its_tasks_have(suite: Suite) -> None:
    metrics = [{"metric": "exact_match"}]
    suite.with_task("a", data="rows", **SUMS, filter_list=LAST, metric_list=metrics)
    suite.with_task("b", data="rows", **SUMS, metric_list=metrics)
    suite.with_group("all", ["a", "b"], aggregate_metric_list=[{"metric": "exact_match"}])
    suite.with_group("some", ["all"], aggregate_metric_list=[{"metric": "exact_match", "filter_list": "last"}])
    suite.with_group("bare", ["some"])
    found = possible_scores(load_case(Case(("bare",)), suite.folder))
    assert found["all"].keys == ("exact_match,last", "exact_match,none")
    assert found["some"].keys == ("exact_match,last",)
    assert found["bare"].keys == ()
    assert found["bare"].is_group


def test_a_group_that_aggregates_what_none_of_its_tasks_has_is_warned_of(suite: Suite) -> None:
    suite.with_task("a", data="rows", **SUMS, filter_list=LAST, metric_list=[{"metric": "exact_match"}])
    suite.with_group("grp", ["a"], aggregate_metric_list=[{"metric": "acc", "filter_list": "none"}])
    (warning,) = check_groups(possible_scores(load_case(Case(("grp",)), suite.folder)))
    assert warning.line == "group grp: none of its tasks has acc,none; they have exact_match,last"
