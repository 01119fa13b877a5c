"""``code_eval`` is ``evaluate``'s, but for where programs run: in a sandbox, and nowhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.code_eval import CodeEval, confine_code, estimate_pass_at_k
from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.errors import InputError, SandboxUnavailable
from evalrun_runner.execution.pool import SandboxPool
from evalrun_runner.execution.sandbox import MOST_PROGRAM
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.statistics.repeats import pass_at_k
from support.suites import Suite, benchmark_data, humaneval_code, mbpp_code


@pytest.fixture(scope="module")
def code_eval() -> Iterator[CodeEval]:
    code_eval = CodeEval(SandboxPool(size=2))
    yield code_eval
    code_eval.pool.close()


@given(st.integers(1, 200), st.data())
def test_pass_at_k_is_evaluates_to_the_last_digit(total: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, total)), data.draw(st.integers(1, total))
    # metrics/code_eval/code_eval.py of evaluate 0.4.6: estimator(n, c, k)
    n, c = total, right
    theirs = 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
    assert estimate_pass_at_k(np.array([n]), np.array([c]), k)[0] == theirs
    assert theirs == pytest.approx(pass_at_k([right], [total], k)[0], abs=1e-9)


def test_the_example_of_evaluates_documentation(code_eval: CodeEval) -> None:
    candidates = [["def add(a,b): return a*b", "def add(a, b): return a+b"]]
    scores, verdicts = code_eval.compute(references=["assert add(2,3)==5"], predictions=candidates, k=[1, 2])
    assert scores == {"pass@1": 0.5, "pass@2": 1.0}
    assert [verdict["passed"] for _, verdict in verdicts[0]] == [False, True]


def test_a_k_above_the_candidates_is_left_out_as_evaluate_does(code_eval: CodeEval) -> None:
    scores, _ = code_eval.compute(references=["assert True"], predictions=[["pass"]])
    assert scores == {"pass@1": 1.0}


def test_evaluate_gives_the_sandboxed_metric_and_is_not_imported() -> None:
    mine = confine_code()
    assert confine_code() is mine
    evaluate: Any = sys.modules["evaluate"]
    assert evaluate.load("code_eval") is mine


def test_modules_that_try_the_metric_while_they_are_imported_run_nothing() -> None:
    code_eval = CodeEval(SandboxPool(walls=()))
    with code_eval.importing_tasks():
        assert code_eval.compute(references=["raise"], predictions=[["raise"]]) == ({}, {})
    with pytest.raises(SandboxUnavailable):
        code_eval.compute(references=["raise"], predictions=[["raise"]])


TOY = """
task: toy
unsafe_code: true
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{test}}"
metric_list: [{metric: !function utils.pass_at_k, aggregation: mean, higher_is_better: true, k: [1]}]
generation_kwargs: {until: ["END"], do_sample: true, temperature: 0.5}
filter_list: [{name: all, filter: [{function: custom, filter_fn: !function utils.all_answers}]}]
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
"""
UTILS = """
import evaluate
compute_ = evaluate.load("code_eval")
compute_.compute(references=["assert add(2, 3)==5"], predictions=[["def add(a,b): return a*b"]], k=[1])

def pass_at_k(references, predictions, k=None):
    return compute_.compute(references=references, predictions=predictions, k=k)[0]

def all_answers(resps, docs):
    return resps
"""
OWN_WAY = UTILS.replace('evaluate.load("code_eval")', "__import__('types').SimpleNamespace(compute=lambda **k: [{}])")


def toy(folder: Path, utils: str = UTILS, documents: int = 3, **settings: Any) -> LoadedBenchmarks:
    suite = Suite(folder).with_data(
        "rows", [{"prompt": f"{n}?", "test": f"assert f() == {n}"} for n in range(documents)]
    )
    suite.with_file("toy.yaml", TOY).with_file("utils.py", utils)
    spec = BenchmarkSpec("toy", "toy", source=folder, **{"allow_code": True, **settings})
    return load_benchmarks([spec], seed=1, allow_code=True)


def answered(item: Item, *texts: str) -> Outcome:
    return Outcome(ItemStatus.OK, (tuple(Response(text, "stop", 1, 1) for text in texts),))


def scored(loaded: LoadedBenchmarks, answers: list[tuple[str, ...]]) -> list[ItemResult]:
    (leaf,) = loaded.leaves
    items = list(iter_items(leaf, None))
    scorer = Scorer(TaskRecipe.from_json(leaf.recipe.to_json()))
    return scorer.score(items, [answered(item, *texts) for item, texts in zip(items, answers, strict=True)])


def test_code_without_consent_is_refused_with_the_field(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unsafe_code.*\n.*allowCode: true"):
        toy(tmp_path, allow_code=False)


def test_a_task_that_runs_code_in_its_own_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a sandbox"):
        toy(tmp_path, OWN_WAY)


def test_every_item_keeps_how_its_programs_ended(tmp_path: Path) -> None:
    rows = scored(toy(tmp_path), [("def f(): return 0",), ("import os; os._exit(0)",), ("def f(): return 0",)])
    scores = [json.loads(row.scores or "")["all"]["pass@1"]["v"] for row in rows]
    causes = [json.loads(row.executions or "")[0]["cause"] for row in rows]
    assert scores == [1.0, 0.0, 0.0]
    assert causes == ["passed", "endedEarly", "raised"]
    assert [row.outcome.status for row in rows] == [ItemStatus.OK] * 3


def test_an_item_without_a_verdict_is_failed_and_never_a_score(tmp_path: Path) -> None:
    too_long = "#" * (MOST_PROGRAM + 1)
    rows = scored(toy(tmp_path), [("def f(): return 0",), (too_long,), ("def f(): return 2",)])
    assert [row.outcome.status for row in rows] == [ItemStatus.OK, ItemStatus.FAILED, ItemStatus.OK]
    assert rows[1].scores is None
    assert rows[1].executions is None
    assert "document 1: SandboxDied: the program has" in (rows[1].outcome.error or "")


def test_repeats_and_k_are_those_of_the_benchmark(tmp_path: Path) -> None:
    loaded = toy(tmp_path, documents=1, repeats=4, k=(1, 2))
    (item,) = iter_items(loaded.leaves[0], None)
    assert item.requests[0].repeats == 4
    right, wrong = "def f(): return 0", "def f(): return 1"
    (row,) = scored(loaded, [(right, wrong, wrong, wrong)])
    scores = json.loads(row.scores or "")["all"]
    assert (scores["pass@1"]["v"], scores["pass@2"]["v"]) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": (2,)}, "set repeats to at least 2"),
        ({"repeats": 3, "k": (1, 4)}, "set repeats to at least 4"),
        ({"repeats": 3, "generation": {"do_sample": False, "temperature": None}}, "greedy"),
        ({"repeats": 3, "generation": {"do_sample": None, "temperature": 0}}, "greedy"),
    ],
)
def test_repeats_that_say_nothing_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toy(tmp_path, **settings)


PLAIN: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{test}}",
    "generation_kwargs": {"until": ["END"], "do_sample": False},
    "metric_list": [{"metric": "code_eval", "k": [1]}],
}


@pytest.mark.parametrize("says_it", [{"unsafe_code": True}, {}])
def test_a_suite_without_code_of_its_own_may_name_the_metric(tmp_path: Path, says_it: dict[str, bool]) -> None:
    suite = Suite(tmp_path).with_data("rows", [{"prompt": "?", "test": "assert x == 1"}] * 2)
    suite.with_task("plain", data="rows", **PLAIN, **says_it)
    spec = BenchmarkSpec("plain", "plain", source=tmp_path)
    with pytest.raises(InputError, match="allowCode: true"):
        load_benchmarks([spec], seed=1, allow_code=False)
    loaded = load_benchmarks([replace(spec, allow_code=True)], seed=1, allow_code=False)
    assert loaded.runs_code
    rows = scored(loaded, [("x = 1",), ("x = 2",)])
    assert [json.loads(row.scores or "")["none"]["pass@1"]["v"] for row in rows] == [1.0, 0.0]


def own_code(folder: Path, make: Any, name: str, **settings: Any) -> LoadedBenchmarks:
    suite = make(Suite(folder), benchmark_data(), 4)
    spec = BenchmarkSpec(name, name, source=suite.folder, **{"allow_code": True, **settings})
    return load_benchmarks([spec], seed=1, allow_code=True)


def test_lm_evals_own_humaneval_gives_its_canonical_solutions_1(tmp_path: Path) -> None:
    loaded = own_code(tmp_path, humaneval_code, "humaneval")
    items = list(iter_items(loaded.leaves[0], None))
    rows = scored(loaded, [(str(item.doc["canonical_solution"]),) for item in items])
    assert [json.loads(row.scores or "")["create_test"]["pass@1"]["v"] for row in rows] == [1.0] * 4


def test_lm_evals_own_mbpp_gives_its_solutions_1_and_others_0(tmp_path: Path) -> None:
    loaded = own_code(tmp_path, mbpp_code, "mbpp")
    items = list(iter_items(loaded.leaves[0], None))
    answers = [str(item.doc["code"]) for item in items]
    rows = scored(loaded, [(answers[0],), (answers[1],), (answers[0],), ("return",)])
    assert [json.loads(row.scores or "")["none"]["pass_at_1"]["v"] for row in rows] == [1.0, 1.0, 0.0, 0.0]


def test_repeats_of_a_task_that_keeps_the_first_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep the first answer"):
        own_code(tmp_path, mbpp_code, "mbpp", repeats=2, generation={"do_sample": True, "temperature": 0.2})
    with pytest.raises(InputError, match="none of its metrics is a pass@k"):
        own_code(tmp_path, mbpp_code, "mbpp", k=(1,))
