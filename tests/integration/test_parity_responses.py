"""Parity, the first proof: the same responses make the same results as lm-eval's, number for number.

A model that answers by a hash of the request goes through ``lm_eval.simple_evaluate``; the same answers go through the
plan, random chunks, several scorers (some in another process), the ledger and the aggregation. Everything that lm-eval
reports of tasks and groups must be equal in every digit.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pytest

from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from support import parity, suites
from support.parity import Case, comparable, evalrun_results, lm_eval_results
from support.suites import Suite, benchmark_data

Builder = Callable[[Suite, Path], Suite]


def settings(**fields: Any) -> BenchmarkSpec:
    return BenchmarkSpec("", "", **fields)


CHAT = {"apply_chat_template": True, "system_instruction": "Answer briefly."}

CASES: dict[str, tuple[Builder, Case]] = {
    "gsm8k, five-shot, two filters": (suites.gsm8k, Case(("gsm8k",))),
    "gsm8k, zero-shot, limited": (suites.gsm8k, Case(("gsm8k",), settings(num_fewshot=0, limit=11))),
    "gsm8k, a fraction of it": (suites.gsm8k, Case(("gsm8k",), settings(num_fewshot=1, limit=0.25))),
    "gsm8k, chat in turns": (suites.gsm8k, Case(("gsm8k",), settings(num_fewshot=2, limit=8, **CHAT))),
    "gsm8k, chat in one turn": (
        suites.gsm8k,
        Case(("gsm8k",), settings(num_fewshot=2, limit=8, fewshot_as_multiturn=False, **CHAT)),
    ),
    "gsm8k, other generation settings": (
        suites.gsm8k,
        Case(("gsm8k",), settings(limit=5, generation={"temperature": 0.7, "do_sample": True, "max_gen_toks": 99})),
    ),
    "gsm8k, votes among repeats": (suites.gsm8k_self_consistency, Case(("gsm8k_cot_self_consistency",))),
    "mmlu, groups of groups, weighted by size": (suites.mmlu, Case(("mmlu",), settings(num_fewshot=5))),
    "mmlu, groups, each subject alike": (
        lambda suite, data: suites.mmlu(suite, data, weight_by_size=False),
        Case(("mmlu_stem", "mmlu_humanities"), settings(limit=20)),
    ),
    "mmlu, chat": (suites.mmlu, Case(("mmlu_stem",), settings(num_fewshot=2, limit=9, **CHAT))),
    "bbh, chain of thought": (suites.bbh, Case(("bbh",))),
    "bbh, a task that sets its shots": (suites.bbh, Case(("bbh_cot_fewshot_snarks",), settings(num_fewshot=1))),
    "arc, a tag, mutual information": (suites.arc, Case(("arc_both",), settings(num_fewshot=1))),
    "boolq, f1 and mcc": (suites.boolq, Case(("boolq",))),
    "winogrande, several inputs": (suites.winogrande, Case(("winogrande",), settings(num_fewshot=2))),
    "winogrande, several inputs, chat": (suites.winogrande, Case(("winogrande",), settings(limit=9, **CHAT))),
    "ifeval prompts, text metrics": (suites.ifeval_prompts, Case(("ifeval_prompts",))),
    "humaneval, bleu, chrf, ter": (suites.humaneval, Case(("humaneval_text",))),
    "humaneval, code": (
        lambda suite, data: suites.humaneval_code(suite, data, 40),
        Case(("humaneval",), settings(allow_code=True), allow_code=True),
    ),
    "humaneval, 64 answers, pass@k": (
        lambda suite, data: suites.humaneval_code(suite, data, 3, own="humaneval_64"),
        Case(("humaneval_64",), settings(allow_code=True), allow_code=True),
    ),
    "mbpp, code": (
        lambda suite, data: suites.mbpp_code(suite, data, 30),
        Case(("mbpp",), settings(allow_code=True), allow_code=True),
    ),
    "rolling perplexity": (suites.rolling, Case(("passages",))),
    "last words, perplexity": (suites.last_words, Case(("last_words",), settings(num_fewshot=1))),
    "several right answers": (suites.several_targets, Case(("several_targets",))),
    "code: a metric with several values": (suites.with_code, Case(("several_values",), allow_code=True)),
    "code: results and aggregation": (suites.with_code, Case(("own_results",), allow_code=True)),
    "ifeval, lm-eval's own code": (suites.ifeval, Case(("ifeval",), allow_code=True)),
    "several benchmarks in one run": (
        lambda suite, data: suites.winogrande(suites.mmlu(suites.rolling(suites.gsm8k(suite, data), data), data), data),
        Case(("winogrande", "mmlu_humanities", "passages", "gsm8k"), settings(limit=6)),
    ),
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Executor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", CASES)
def test_equal_responses_give_equal_results(
    name: str, tmp_path: Path, elsewhere: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, case = CASES[name]
    suite = build(Suite(tmp_path / "suite"), benchmark_data())
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    ours = evalrun_results(case, suite.folder, elsewhere)
    with monkeypatch.context() as patches:
        theirs = lm_eval_results(case, suite.folder, patches)

    assert comparable(ours) == comparable(theirs)


def test_the_comparison_detects_a_single_different_answer(
    tmp_path: Path, elsewhere: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suites.gsm8k(Suite(tmp_path / "suite"), benchmark_data())
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    case = Case(("gsm8k",))
    expected = comparable(evalrun_results(case, suite.folder, elsewhere))
    truthful = parity.respond

    def mistaken(kind: str, arguments: Sequence[Any], repeat: int, doc: Mapping[str, Any]) -> Any:
        right = truthful(kind, arguments, repeat, doc)
        return "#### none" if doc["answer"].endswith("#### 18") else right

    monkeypatch.setattr(parity, "respond", mistaken)

    found = comparable(evalrun_results(case, suite.folder, elsewhere))

    assert {key for key in expected if expected[key] != found[key]} == {"results"}
