"""Dry scoring: what cannot score any answer is found before an engine is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from lm_eval.api.metrics import weighted_perplexity

from evalrun_runner.benchmarks.checks import dry_scoring
from evalrun_runner.benchmarks.checks.corpus_metrics import check_corpus_metrics
from evalrun_runner.benchmarks.checks.dry_scoring import check_scoring
from evalrun_runner.benchmarks.checks.first_documents import build_first
from evalrun_runner.benchmarks.checks.objections import Objection
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from support.suites import Suite

from .conftest import CHOOSE, GENERATE, ROWS, Load


def objections(loaded: LoadedBenchmarks, may_fail: int = 0) -> list[Objection]:
    return [*check_corpus_metrics(loaded), *check_scoring(build_first(loaded, None), may_fail)]


def found(loaded: LoadedBenchmarks) -> list[str]:
    return [f"{objection.what}; {objection.hint}" for objection in objections(loaded) if objection.refused]


def metrics(*names: str, **more: Any) -> dict[str, Any]:
    return {"metric_list": [{"metric": name, **more} for name in names]}


def steps(*functions: str) -> dict[str, Any]:
    return {"filter_list": [{"name": "all", "filter": [{"function": function} for function in functions]}]}


def regex(**step: Any) -> dict[str, Any]:
    steps = [{"function": "regex", **step}, {"function": "take_first"}]
    return {"filter_list": [{"name": "last", "filter": steps}]}


@pytest.mark.parametrize(
    "config",
    [
        {**GENERATE, **metrics("exact_match", "bleu", "chrf", "ter")},
        {**GENERATE, **regex(regex_pattern="(-?[0-9]+)", group_select=-1)},
        {**GENERATE, **regex(regex_pattern="#### ([0-9]+)", group_select=3)},
        {**GENERATE, "doc_to_choice": "options", "doc_to_target": "{{gold}}"},
        {**GENERATE, "doc_to_target": "{{[answer, question]}}"},
        {**CHOOSE, **metrics("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")},
        {**CHOOSE, **metrics("f1", "mcc", "brier_score")},
        {**CHOOSE, "doc_to_text": "{{gold}}", "doc_to_target": "{{answer}}", **metrics("acc")},
        {**CHOOSE, "doc_to_target": "{{[0, 1]}}", **metrics("acc", "acc_norm")},
        {**GENERATE, "output_type": "loglikelihood", **metrics("acc", "perplexity")},
        {**GENERATE, "output_type": "loglikelihood_rolling", **metrics("word_perplexity", "bits_per_byte")},
        {**GENERATE, "repeats": 3, **steps("majority_vote", "take_first")},
    ],
)  # fmt: skip
def test_scoring_that_works_is_accepted(load: Load, config: dict[str, Any]) -> None:
    assert found(load(config)) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {**GENERATE, **metrics("acc")},
            "metric_list: acc has no value for any answer: mean raises TypeError: .*; acc is for output_type "
            "loglikelihood or multiple_choice; generated text has exact_match, bleu, chrf, ter",
        ),
        ({**GENERATE, **metrics("f1")}, "metric_list: f1 has no value for any answer: f1_score raises ValueError"),
        ({**GENERATE, **metrics("perplexity")}, "metric_list: perplexity has no value for any answer"),
        ({**CHOOSE, **metrics("likelihood")}, "metric_list: likelihood has no value for any answer: mean raises"),
        ({**CHOOSE, **metrics("acc", aggregation="f1")}, "metric_list: acc has no value for any answer: f1_score"),
        ({**CHOOSE, **metrics("f1", aggregation="median")}, "metric_list: f1 .* median gives a tuple, not a number"),
        ({**CHOOSE, **metrics("f1", aggregation="mean")}, "metric_list: f1 has no value for any answer: mean raises"),
        (
            {**GENERATE, **regex(regex_pattern="([0-9]+)", group_select=2)},
            r"the target of document 0 itself.*'last', step 1 \(regex\): group_select is 2, and the pattern has 1 "
            "match in '1'; group_select counts the matches",
        ),
        (
            {**GENERATE, "filter_list": [{"name": "k", "filter": [{"function": "take_first_k", "k": 5}]}]},
            r"no answer to document 0 can be scored, not even its own target: filter_list: 'k', step 1 "
            r"\(take_first_k\): AssertionError: Need at least 5 responses",
        ),
        (
            {**GENERATE, "filter_list": [{"name": "m", "filter": [{"function": "multi_choice_regex"}]}]},
            r"filter_list: 'm', step 1 \(multi_choice_regex\): there is no field or split 'choices'",
        ),
    ],
)
def test_scoring_that_fails_for_every_answer_is_found(load: Load, config: dict[str, Any], message: str) -> None:
    (objection,) = found(load(config))

    assert re.search(message, objection), objection


def test_an_error_for_some_answers_only_is_left_to_the_run(suite: Suite, load: Load) -> None:
    loaded = load(GENERATE)
    loaded.leaves[0].task.config.process_results = lambda doc, results: {"distance": abs(float(results[0]) - 1)}

    assert found(loaded) == []


def test_code_that_fails_for_every_answer_is_found(load: Load) -> None:
    loaded = load(GENERATE)
    loaded.leaves[0].task.config.process_results = lambda doc, results: {"same": doc["anwser"] == results[0]}

    (objection,) = found(loaded)
    assert "not even its own target: process_results: there is no field or split 'anwser'" in objection


def test_a_metric_that_never_has_a_value_is_found_however_many_items_may_fail(load: Load) -> None:
    (objection,) = objections(load({**CHOOSE, **metrics("acc", "likelihood")}), may_fail=len(ROWS))

    assert "likelihood has no value for any answer: mean raises TypeError" in objection.what
    assert objection.hint == "leave the metric out: lm-eval's own aggregation cannot take its values"


def test_items_that_may_fail_refuse_nothing(load: Load) -> None:
    loaded = load({**GENERATE, "filter_list": [{"name": "k", "filter": [{"function": "take_first_k", "k": 5}]}]})

    assert objections(loaded, may_fail=len(ROWS)) == []
    assert len(objections(loaded, may_fail=len(ROWS) - 1)) == 1


def test_blank_texts_are_passed_over_unless_there_are_no_others(suite: Suite, load: Load) -> None:
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
    suite.with_data("mostly", [{"text": ""}] * 3 + [{"text": "words"}])
    suite.with_data("empty", [{"text": ""}])

    assert found(load({**rolling, **metrics("byte_perplexity")}, data="mostly")) == []
    (objection,) = found(load({**rolling, **metrics("byte_perplexity")}, data="empty"))
    assert "byte_perplexity has no value for any answer: " in objection
    assert "division by zero; its documents weigh nothing together: are all of its texts blank?" in objection


def test_a_sum_that_is_zero_over_all_documents_is_found(load: Load) -> None:
    loaded = load({**GENERATE, **metrics("exact_match")}, limit=2)
    task = loaded.leaves[0].task
    task.config.process_results = lambda doc, results: {"weighted": (1.0, 0)}
    task._aggregation_list = {"weighted": weighted_perplexity}

    (objection,) = found(loaded)
    assert (
        "metric_list: weighted has no value for any answer: weighted_perplexity raises ZeroDivisionError" in objection
    )


def test_a_pattern_without_end_is_cut_off_and_found(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_scoring, "SECONDS", 0.2)
    monkeypatch.setattr(dry_scoring, "CPU_SECONDS", 0.0)
    target = "a" * 60 + "!"
    loaded = load({**GENERATE, "doc_to_target": target, **regex(regex_pattern="(a|aa)+$")})

    (objection,) = found(loaded)
    assert "made-up answers to its first documents are not scored within 0.2 s" in objection


def test_code_that_ends_the_process_is_found(load: Load) -> None:
    def leave(doc: object, results: object) -> None:
        raise SystemExit(3)

    loaded = load(GENERATE)
    loaded.leaves[0].task.config.process_results = leave

    assert found(loaded) == ["its filters or metrics end the process that scores; "]


def test_a_task_that_runs_what_the_model_writes_is_not_tried_out(load: Load) -> None:
    loaded = load({**GENERATE, **metrics("acc")})
    loaded.leaves[0].task.UNSAFE_CODE = True

    assert objections(loaded) == []


def test_the_tasks_of_lm_evals_own_are_warned_of(load: Load) -> None:
    leaf = load({**GENERATE, **metrics("acc")}).leaves[0]

    (objection,) = objections(LoadedBenchmarks((replace(leaf, survey=None),), {}))
    assert not objection.refused


def test_trying_leaves_the_task_as_it_was(load: Load) -> None:
    loaded = load({**GENERATE, **metrics("exact_match", "bleu")})
    task = loaded.leaves[0].task
    before = dict(task._metric_fn_list), dict(task._aggregation_list), dict(task._higher_is_better)

    objections(loaded)
    assert (task._metric_fn_list, task._aggregation_list, task._higher_is_better) == before


def test_f1_over_more_than_two_choices_is_found(suite: Suite, load: Load) -> None:
    suite.with_data(
        "four", [{**row, "options": ["a", "b", "c", "d"], "gold": place % 4} for place, row in enumerate(ROWS)]
    )

    messages = found(load({**CHOOSE, **metrics("acc", "f1")}, data="four"))
    assert messages[0].startswith(
        "metric_list: f1 is of two choices, the documents have up to 4, and their answers are 0, 1, 2, 3; "
    )


def test_brier_score_over_different_numbers_of_choices_is_found_wherever_they_stand(suite: Suite, load: Load) -> None:
    suite.with_data("mixed", [*ROWS, {**ROWS[0], "options": ["0", "1", "2"]}])

    (objection,) = found(load({**CHOOSE, **metrics("brier_score")}, data="mixed"))
    assert "document 0 has 2, document 9 has 3" in objection


def test_documents_beyond_the_limit_do_not_matter(suite: Suite, load: Load) -> None:
    suite.with_data("mixed", [*ROWS, {**ROWS[0], "options": ["0", "1", "2"]}])

    assert found(load({**CHOOSE, **metrics("brier_score")}, data="mixed", limit=9)) == []
