"""Options of filters and metrics that no answer could be scored with."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_runner.benchmarks.checks.options import check_options
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from support.suites import Suite

from .conftest import CHOOSE, GENERATE, Load


def found(loaded: LoadedBenchmarks) -> list[str]:
    return [f"{objection.what}; {objection.hint}" for objection in check_options(loaded)]


def filtered(**step: Any) -> dict[str, Any]:
    steps = [{"function": "regex", **step}, {"function": "take_first"}]
    return {**GENERATE, "filter_list": [{"name": "last", "filter": steps}]}


def matching(**options: Any) -> dict[str, Any]:
    return {**GENERATE, "metric_list": [{"metric": "exact_match", **options}]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            filtered(regex_pattern="(["),
            "filter_list: 'last', step 1 (regex): regex_pattern is '([', which is no regular",
        ),
        (filtered(regex_pattern=5), "step 1 (regex): regex_pattern is 5; expected text; quotes make text of it"),
        (filtered(group_select="last"), "step 1 (regex): group_select is 'last'; expected a whole number"),
        (
            {
                **GENERATE,
                "filter_list": [
                    {
                        "name": "a",
                        "filter": [{"function": "take_first"}, {"function": "map", "mapping_dict": {"a": "b"}}],
                    }
                ],
            },
            "filter_list: 'a', step 2 (map) stands after take_first, which leaves one text",
        ),
        (
            {**GENERATE, "filter_list": [{"name": "a", "filter": [{"function": "map", "default_value": "x"}]}]},
            "filter_list: 'a', step 1 (map) has no mapping_dict: every answer would become its default_value",
        ),
        (
            {**CHOOSE, "filter_list": [{"name": "a", "filter": [{"function": "lowercase"}]}]},
            "step 1 (lowercase) reads text, and answers of output_type multiple_choice are log-likelihoods",
        ),
        (filtered(regex_patern="x"), "step 1 (regex): it has no option 'regex_patern'; did you mean regex_pattern?"),
        (matching(regexes_to_ignore=["ok", "(["]), "exact_match: regexes_to_ignore is '([', which is no regular"),
        (matching(ignore_cases=True), "exact_match: it has no option 'ignore_cases'; did you mean ignore_case?"),
        (
            {**GENERATE, "filter_list": [{"name": "some", "filter": [{"function": "take_first_k"}]}]},
            "filter_list: 'some', step 1 (take_first_k) cannot be made: KeyError",
        ),
    ],
)
def test_an_option_that_cannot_be_used_is_found_by_name(load: Load, config: dict[str, Any], message: str) -> None:
    (objection,) = found(load(config))

    assert message in objection


@pytest.mark.parametrize(
    ("kind", "metric", "offered"),
    [
        ("multiple_choice", "perplexity", "acc, acc_bytes, acc_mutual_info, acc_norm"),
        ("multiple_choice", "bleu", "mcc"),
        ("loglikelihood", "acc_norm", "acc, perplexity"),
        ("loglikelihood_rolling", "acc", "bits_per_byte, byte_perplexity, word_perplexity"),
    ],
)
def test_a_metric_that_the_output_type_does_not_compute_is_found(
    load: Load, kind: str, metric: str, offered: str
) -> None:
    config = {**(CHOOSE if kind == "multiple_choice" else GENERATE), "output_type": kind}
    (objection,) = found(load({**config, "metric_list": [{"metric": metric}]}))

    assert objection.startswith(f"metric_list: {metric} is not computed for output_type {kind}; expected one of ")
    assert offered in objection


def test_options_and_metrics_that_fit_are_accepted(load: Load) -> None:
    assert found(load(matching(ignore_case=True, ignore_punctuation=True, regexes_to_ignore=[",", r"\$"]))) == []
    assert found(load(filtered(regex_pattern="(-?[0-9]+)", group_select=-1, fallback="none"))) == []
    metrics = [{"metric": name} for name in ("acc", "acc_norm", "f1", "mcc", "brier_score", "exact_match")]
    assert found(load({**CHOOSE, "metric_list": metrics})) == []


def test_metrics_that_code_of_the_task_computes_are_left_to_it(suite: Suite, load: Load) -> None:
    suite.with_file("own.py", "def score(doc, results):\n    return {'perplexity': 1.0}\n")
    loaded = load({**CHOOSE, "metric_list": [{"metric": "perplexity"}]})
    assert len(found(loaded)) == 1

    loaded.leaves[0].task.config.process_results = lambda doc, results: {"perplexity": 1.0}
    assert found(loaded) == []
