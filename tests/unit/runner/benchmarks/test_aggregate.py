"""Aggregation with failures in it, lm-eval's samples, and the private functions of lm-eval that all this stands on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import pytest
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator_utils import (
    EvalAcc,
    _collect_groups_bottom_up,
    _collect_results,
    _compute_task_aggregations,
)
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks._factory import TaskFactory, _ctor_accepts_config
from lm_eval.tasks._index import Entry
from lm_eval.tasks._yaml_loader import _import_func_in_yml, load_yaml

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.aggregate import Aggregated, aggregate, running_metrics
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.running_scores import mean_and_stderr, tally
from evalrun_runner.benchmarks.samples import sample_file
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.benchmarks.task_scores import TaskScores, add_odd_value
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome
from support.parity import Case, answer, lm_eval_results, load_case
from support.suites import Row, Suite

ROWS = [{"question": f"{i} + 1 =", "answer": str(i + 1), "options": ["one", "none"]} for i in range(8)]
GENERATE: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "filter_list": [
        {"name": "first", "filter": [{"function": "take_first"}]},
        {"name": "number", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}]},
    ],
}
CHOOSE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "options",
    "doc_to_target": "{{0}}",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    suite = Suite(tmp_path / "suite").with_data("rows", ROWS)
    suite.with_task("sums", data="rows", **GENERATE).with_task("picks", data="rows", **CHOOSE)
    metric = {"metric": "exact_match", "filter_list": ["number"]}
    return suite.with_group("both", ["sums", "picks"], aggregate_metric_list=[metric, {"metric": "acc"}])


Rows = dict[str, list[tuple[Item, ItemResult]]]


def run(loaded: LoadedBenchmarks) -> Rows:
    rows: Rows = {}
    for leaf in loaded.leaves:
        items = list(iter_items(leaf, None))
        rows[leaf.name] = list(
            zip(items, Scorer(leaf.recipe).score(items, [answer(item) for item in items]), strict=True)
        )
    return rows


def aggregated(loaded: LoadedBenchmarks, rows: Rows) -> Aggregated:
    def parts(task: str) -> Iterator[ItemResult]:
        return (result for _, result in rows[task])

    return aggregate(loaded, parts, bootstrap_iters=10)


def results_of(loaded: LoadedBenchmarks, rows: Rows) -> dict[str, Any]:
    return aggregated(loaded, rows).results


def failed(result: ItemResult, status: ItemStatus = ItemStatus.FAILED) -> ItemResult:
    return replace(result, outcome=Outcome(status, error="no"), scores=None, filtered=None)


def test_metrics_cover_ok_items_only(suite: Suite) -> None:
    loaded = load_case(Case(("both",)), suite.folder)
    rows = run(loaded)
    whole = results_of(loaded, rows)
    rows["sums"][2:] = [(item, failed(result)) for item, result in rows["sums"][2:]]

    partly = results_of(loaded, rows)

    assert whole["n-samples"]["sums"] == {"original": 8, "effective": 8}
    assert partly["n-samples"]["sums"] == {"original": 8, "effective": 2}
    assert partly["results"]["sums"]["sample_len"] == 2
    assert partly["results"]["picks"] == whole["results"]["picks"]


def test_a_task_without_ok_items_has_no_metrics(suite: Suite) -> None:
    loaded = load_case(Case(("both",)), suite.folder)
    rows = run(loaded)
    rows["sums"] = [(item, failed(result, ItemStatus.QUARANTINED)) for item, result in rows["sums"]]

    results = results_of(loaded, rows)

    assert results["results"]["sums"] == {"name": "sums", "alias": "sums", "sample_len": 0}
    assert results["n-samples"]["sums"] == {"original": 8, "effective": 0}
    assert results["groups"]["both"]["acc,none"] == results["results"]["picks"]["acc,none"]
    assert "exact_match,number" not in results["groups"]["both"]


def test_an_ok_item_without_scores_is_corrupt(suite: Suite) -> None:
    loaded = load_case(Case(("sums",)), suite.folder)
    rows = run(loaded)
    item, result = rows["sums"][3]
    rows["sums"][3] = (item, replace(result, scores=None))

    with pytest.raises(LedgerCorrupt, match="task 'sums', document 3"):
        results_of(loaded, rows)


def test_results_are_plain_json(suite: Suite) -> None:
    loaded = load_case(Case(("both",)), suite.folder)

    results = results_of(loaded, run(loaded))

    assert json.loads(json.dumps(results)) == results


@pytest.mark.parametrize("task", ["sums", "picks"])
def test_samples_are_lm_evals_byte_for_byte(
    suite: Suite, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case((task,))
    loaded = load_case(case, suite.folder)
    rows = run(loaded)
    with monkeypatch.context() as patches:
        theirs = lm_eval_results(case, suite.folder, patches)
    tracker = EvaluationTracker(output_path=str(tmp_path / "out"))
    tracker.general_config_tracker.model_name_sanitized = "fake"
    tracker.date_id = "now"
    tracker.save_results_samples(task, theirs["samples"][task])

    ours = sample_file(loaded.leaf(task), rows[task])

    tracker.save_results_aggregated({}, {task: theirs["samples"][task]})
    (saved,) = (tmp_path / "out" / "fake").glob("results_*.json")
    assert ours.task_hash == json.loads(saved.read_text())["task_hashes"][task]
    assert ours.data == (tmp_path / "out" / "fake" / f"samples_{task}_now.jsonl").read_bytes()


def test_items_that_are_not_ok_have_no_sample(suite: Suite) -> None:
    loaded = load_case(Case(("sums",)), suite.folder)
    rows = run(loaded)["sums"]
    rows[0] = (rows[0][0], failed(rows[0][1]))

    samples = [json.loads(line) for line in sample_file(loaded.leaf("sums"), rows).data.splitlines()]

    assert [(one["filter"], one["doc_id"]) for one in samples] == [
        (name, doc_id) for name in ("first", "number") for doc_id in range(1, 8)
    ]


def test_samples_are_json_whatever_stands_in_a_document(tmp_path: Path) -> None:
    suite = Suite(tmp_path / "suite").with_data("rows", [{**row, "note": "half of a pair: \ud83d"} for row in ROWS])
    suite.with_task("sums", data="rows", **GENERATE)
    loaded = load_case(Case(("sums",)), suite.folder)
    item, result = run(loaded)["sums"][0]
    odd = replace(result, scores=values.encode({name: {"exact_match": float("-inf")} for name in ("first", "number")}))
    lines = sample_file(loaded.leaf("sums"), [(item, odd)]).data.decode().splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    samples = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [(one["exact_match"], one["doc"]["note"]) for one in samples] == 2 * [(None, "half of a pair: \ud83d")]


def better(loaded: LoadedBenchmarks) -> dict[str, dict[str, str]]:
    return {leaf.name: running_metrics(leaf) for leaf in loaded.leaves}


def test_metrics_that_are_means_have_running_scores(suite: Suite) -> None:
    metrics = [
        {"metric": "exact_match", "aggregation": "mean"},
        {"metric": "bleu"},
        {"metric": "ter"},
        {"metric": "acc", "aggregation": "median"},
        {"metric": "brier_score", "aggregation": "nanmean"},
    ]
    suite.with_task("many", data="rows", **GENERATE, metric_list=metrics)
    wrong = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": False}
    suite.with_task("wrong", data="rows", **GENERATE, metric_list=[wrong])
    suite.with_task(
        "text", data="rows", output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{question}}"
    )
    tasks = ("both", "many", "wrong", "text")
    assert better(load_case(Case(tasks), suite.folder)) == {
        "sums": {"exact_match": "higher"},
        "picks": {"acc": "higher", "acc_norm": "higher"},
        "many": {"exact_match": "higher"},
        "wrong": {"exact_match": "lower"},
        "text": {},
    }


def test_lm_evals_own_tasks_have_running_scores(tmp_path: Path) -> None:
    row = {"question": "1 + 1 =", "answer": "2", "page": "some text", "text": "some text"}
    suite = Suite(tmp_path / "own").with_data("rows", [row])
    suite.with_own_task("gsm8k/gsm8k.yaml", data="rows", fewshot_split="test")
    suite.with_own_task("wikitext/wikitext.yaml", data="rows", process_results=None, doc_to_target="{{page}}")
    suite.with_own_task("lambada/lambada_openai.yaml", data="rows")
    case = Case(("gsm8k", "wikitext", "lambada_openai"))
    assert better(load_case(case, suite.folder)) == {
        "gsm8k": {"exact_match": "higher"},
        "wikitext": {},
        "lambada_openai": {"acc": "higher"},
    }


def test_a_running_score_over_everything_is_the_score(suite: Suite) -> None:
    loaded = load_case(Case(("both",)), suite.folder)
    rows = run(loaded)
    results = results_of(loaded, rows)["results"]
    compared = 0
    for leaf in loaded.leaves:
        tallies = tally(result for _, result in rows[leaf.name])
        for (metric, name), one in tallies.items():
            assert metric in running_metrics(leaf)
            value, stderr = mean_and_stderr(one)
            assert value == pytest.approx(results[leaf.name][f"{metric},{name}"])
            assert stderr == pytest.approx(results[leaf.name][f"{metric}_stderr,{name}"])
            compared += 1
    assert compared == 4


class TestMetricsThatCannotBeComputed:
    """A metric that fails over the answers costs only itself."""

    FOUR: Sequence[Row] = [{"question": f"{i}?", "options": ["a", "b", "c", "d"], "answer": i % 4} for i in range(8)]

    @staticmethod
    def choosing(folder: Path, rows: Sequence[Row], *metrics: dict[str, Any]) -> LoadedBenchmarks:
        suite = Suite(folder / "suite").with_data("rows", rows)
        suite.with_task("picks", data="rows", **{**CHOOSE, "doc_to_target": "answer"}, metric_list=list(metrics))
        return load_case(Case(("picks",)), suite.folder)

    def test_it_is_named_and_null_and_the_other_metrics_stay(self, tmp_path: Path) -> None:
        loaded = self.choosing(tmp_path, self.FOUR, {"metric": "acc"}, {"metric": "f1"})
        rows = run(loaded)
        found = aggregated(loaded, rows)
        (one,) = found.unscored
        assert (one.task, one.metric, one.filter) == ("picks", "f1", "none")
        assert one.reason.startswith("f1_score over 8 values of the type tuple raised ValueError: Target is multiclass")
        scores = found.results["results"]["picks"]
        assert (scores["f1,none"], scores["f1_stderr,none"], scores["sample_len"]) == (None, "N/A", 8)
        alone = self.choosing(tmp_path / "alone", self.FOUR, {"metric": "acc"})
        assert scores["acc,none"] == results_of(alone, run(alone))["results"]["picks"]["acc,none"]
        assert found.remarks == (("task picks", f"f1,none has no value: {one.reason}"),)

    def test_documents_with_other_numbers_of_choices_cost_only_the_brier_score(self, tmp_path: Path) -> None:
        rows = [*self.FOUR, {"question": "last?", "options": ["a", "b", "c"], "answer": 0}]
        loaded = self.choosing(tmp_path, rows, {"metric": "acc"}, {"metric": "brier_score"})
        found = aggregated(loaded, run(loaded))
        assert [one.metric for one in found.unscored] == ["brier_score"]
        assert found.results["results"]["picks"]["acc,none"] is not None

    def test_texts_without_words_cost_what_is_counted_by_words(self, tmp_path: Path) -> None:
        suite = Suite(tmp_path / "suite").with_data("rows", [{"text": "one"}, {"text": "two"}])
        suite.with_task("texts", data="rows", output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="text")
        loaded = load_case(Case(("texts",)), suite.folder)
        rows = run(loaded)
        scores = values.encode({"none": {"word_perplexity": (-1.0, 1), "bits_per_byte": (-1.0, 0)}})
        rows["texts"] = [(item, replace(result, scores=scores)) for item, result in rows["texts"]]
        found = aggregated(loaded, rows)
        (one,) = found.unscored
        assert one.reason.startswith(
            "bits_per_byte over 2 values of the type tuple divides by zero, as where no text has a word or byte to "
            "count (ZeroDivisionError: "
        )
        assert found.results["results"]["texts"]["word_perplexity,none"] is not None

    def test_a_standard_error_that_fails_costs_no_score(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = self.choosing(tmp_path, self.FOUR, {"metric": "acc"})
        rows = run(loaded)
        whole = results_of(loaded, rows)["results"]["picks"]

        def raising(**_: object) -> Callable[[object], float]:
            def stderr(items: object) -> float:
                raise OverflowError("math range error")

            return stderr

        monkeypatch.setattr("lm_eval.evaluator_utils.stderr_for_metric", raising)
        found = aggregated(loaded, rows)
        assert found.results["results"]["picks"] == {**whole, "acc_stderr,none": "N/A"}
        assert found.unscored == ()
        assert found.remarks == (
            ("task picks", "acc,none has no standard error: computing it raised OverflowError: math range error"),
        )

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("float('nan')", "its value is not a finite number (nan): 8 of its 8 values are not finite"),
            ("float('-inf')", "its value is not a finite number (-inf): 8 of its 8 values are not finite"),
        ],
    )
    def test_a_score_that_is_not_finite_is_null_with_the_reason(self, tmp_path: Path, value: str, reason: str) -> None:
        suite = Suite(tmp_path / "suite").with_data("rows", ROWS)
        suite.with_file("code.py", f"def process(doc, results):\n    return {{'odd': {value}, 'fine': 1.0}}\n")
        config = {key: value for key, value in GENERATE.items() if key != "filter_list"}
        suite.with_task(
            "odd",
            data="rows",
            **config,
            metric_list=[{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("odd", "fine")],
        )
        text = (suite.folder / "odd.yaml").read_text() + "process_results: !function code.process\n"
        suite.with_file("odd.yaml", text)
        loaded = load_case(Case(("odd",), allow_code=True), suite.folder)
        found = aggregated(loaded, run(loaded))
        assert [(one.metric, one.reason) for one in found.unscored] == [("odd", reason)]
        scores = found.results["results"]["odd"]
        assert (scores["odd,none"], scores["fine,none"]) == (None, 1.0)
        assert json.dumps(found.results, allow_nan=False)

    def test_whole_numbers_that_no_float_can_hold_are_no_scores(self) -> None:
        scores = TaskScores({"count,none": 10**5000})
        add_odd_value(scores, "t", "count", "none")
        assert scores.entry["count,none"] is None
        assert scores.unscored[0].reason == "its value is not a finite number (too large for a float)"

    def test_a_group_is_not_scored_over_fewer_tasks_in_silence(self, tmp_path: Path) -> None:
        suite = (
            Suite(tmp_path / "suite")
            .with_data("four", self.FOUR)
            .with_data("two", [{**row, "options": ["a", "b"], "answer": row["answer"] % 2} for row in self.FOUR])
        )
        for name in ("four", "two"):
            metrics = [{"metric": "acc"}, {"metric": "f1"}]
            suite.with_task(name, data=name, **{**CHOOSE, "doc_to_target": "answer"}, metric_list=metrics)
        suite.with_group("all", ["four", "two"], aggregate_metric_list=[{"metric": "acc"}, {"metric": "f1"}])
        loaded = load_case(Case(("all",)), suite.folder)
        found = aggregated(loaded, run(loaded))
        assert [(one.task, one.metric) for one in found.unscored] == [("four", "f1"), ("all", "f1")]
        assert found.unscored[1].reason == "four has no such score"
        group = found.results["groups"]["all"]
        assert group["f1,none"] is None
        assert group["acc,none"] is not None
        assert group["sample_count"] == {"acc,none": 16}

    def test_a_group_says_what_none_of_its_tasks_has(self, suite: Suite) -> None:
        wanted = [{"metric": "acc", "filter_list": ["strict"]}, {"metric": "f1"}]
        suite.with_group("none", ["sums"], aggregate_metric_list=wanted)
        loaded = load_case(Case(("none",)), suite.folder)
        found = aggregated(loaded, run(loaded))
        there = "they have exact_match,first, exact_match,number"
        assert found.remarks == (
            ("group none", f"none of its tasks has acc,strict; {there}"),
            ("group none", f"none of its tasks has f1; {there}"),
        )

    def test_a_group_over_some_of_its_tasks_says_which_are_not_in_its_score(self, suite: Suite) -> None:
        loaded = load_case(Case(("both",)), suite.folder)
        assert aggregated(loaded, run(loaded)).remarks == (
            ("group both", "exact_match,number is the score of 1 of its 2 tasks: picks has no exact_match,number"),
            ("group both", "acc,none is the score of 1 of its 2 tasks: sums has no acc,none"),
        )


# lm-eval is pinned. What is used of it beyond its public functions, in one place:


def test_contract_version() -> None:
    assert lm_eval.__version__ == "0.4.13"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (_collect_results, ["eval_results_acc", "groups", "bootstrap_iters"]),
        (_compute_task_aggregations, ["task", "raw_metrics", "bootstrap_iters"]),
        (_collect_groups_bottom_up, ["groups"]),
        (Group.aggregate, ["self", "task_metrics"]),
        (Group._discover_filters_for_metric, ["self", "metric_name", "task_metrics"]),
        (EvalAcc._to_eval_results, ["self", "samples"]),
        (TaskFactory.__init__, ["self", "meta"]),
        (TaskFactory._load_full_config, ["self", "entry", "overrides"]),
        (TaskFactory._build_task, ["self", "entry", "overrides"]),
        (TaskFactory._build_group_members, ["self", "member_list", "group_name", "overrides", "registry"]),
        (_ctor_accepts_config, ["cls"]),
        (_import_func_in_yml, ["qual", "base_dir"]),
        (load_yaml, ["path", "resolve_func", "recursive", "_seen"]),
        (Entry, ["name", "kind", "yaml_path", "cfg", "tags"]),
        (ConfigurableTask.download, ["self", "dataset_kwargs", "kwargs"]),
        (ConfigurableTask.fewshot_docs, ["self"]),
    ],
)
def test_contract_of_private_functions(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters
