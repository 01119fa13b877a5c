"""Whole runs of a model that thinks, by an engine with planted thoughts that obeys vLLM's protocol."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from evalrun_api import AnswerCounts, EvalRunSpec, RunConfig, RunResult, Verdict
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.preflight import Preflight, run_preflight
from evalrun_runner.driver.run import run
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.settings import engine_settings
from evalrun_runner.ledger import layout
from evalrun_runner.replica.assembly import Parts
from evalrun_runner.replica.loading import Libraries
from evalrun_runner.store.directory import DirectoryStore
from support.one_process import OneReplica, ScoringHere, Watching, config_of
from support.suites import Suite
from support.thinking_engine import ThinkingEngine

ITEMS = 40
BUDGET = 40


def planted(prompt: str) -> str:
    """A thought with a blank line, an answer without a thought, an endless thought, or a thought without an answer."""
    number = number_of(prompt)
    right = f"{2 * number}\n\nQ: what is next?"
    match number % 4:
        case 0:
            return f"<think>Two of {number}.\n\nSo 13, no:</think>\n\n{right}"
        case 1:
            return right
        case 2:
            return "<think>" + "Hmm, or is it? " * 20
        case _:
            return "<think>Nothing to say.</think>"


def number_of(prompt: str) -> int:
    found = re.search(r"(\d+) \+", prompt)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"question": f"{n} + {n} =", "answer": str(2 * n)} for n in range(ITEMS)]
    made = Suite(tmp_path_factory.mktemp("suite")).with_data("rows", rows)
    return made.with_task(
        "sums",
        data="rows",
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n\n"], "max_gen_toks": 120},
        metric_list=[{"metric": "exact_match"}],
    ).folder


def thinking(suite: Path, output: Path, gates: list[dict[str, Any]] | None = None, **reasoning: Any) -> RunResult:
    """Run the suite by the engine, which preflight looks at no model for."""
    mock = config_of(suite, output)
    given = {**mock.spec.to_dict(), "engine": {"vllm": {"reasoning": {"endToken": "</think>", **reasoning}}}}
    asked = [{"task": "sums", "metric": "exact_match", **gate} for gate in gates or []]
    config = mock.model_copy(update={"spec": EvalRunSpec.model_validate({**given, "gates": asked})})
    engine = partial(ThinkingEngine, plant=planted, forced=lambda prompt: f"{2 * number_of(prompt)}")
    libraries = Libraries(vllm=engine, tokenizer=lambda path: ByteTokenizer(), cpus=lambda: 1)
    parts = Parts(scoring=ScoringHere, libraries=libraries)

    def preflight(wanted: RunConfig) -> Preflight:
        seen = run_preflight(mock)
        identity = seen.identity.model_copy(update={"engine": wanted.spec.engine.to_dict()})
        return replace(seen, config=wanted, engine=engine_settings(wanted.spec, Path("model")), identity=identity)

    adapters = Adapters(start_fleet=partial(OneReplica, parts=parts), preflight=preflight)
    return run(config, DriverOptions(), Watching(), adapters)


def rows_of(output: Path) -> dict[int, dict[str, Any]]:
    parts = sorted((output / "parts" / "sums").glob("*.parquet"))
    return {row["doc_id"]: row for part in parts for row in pq.read_table(io.BytesIO(part.read_bytes())).to_pylist()}


def test_thinking_is_cut_and_every_answer_says_how_it_ended(suite: Path, tmp_path: Path) -> None:
    result = thinking(suite, tmp_path)
    answers = AnswerCounts(complete=20, truncated=10, empty=10)
    assert (result.counts.ok, result.counts.answers) == (ITEMS, answers)
    assert result.scores[0].value == 0.5, "those with an answer: stop sequences have cut no thought"
    rows = rows_of(tmp_path)
    assert (rows[8]["thought"], rows[8]["response"]) == ("<think>Two of 8.\n\nSo 13, no:", "16")
    assert rows[8]["thought_tokens"] == len("<think>Two of 8.\n\nSo 13, no:")
    assert (rows[9]["thought"], rows[9]["response"], rows[9]["answer"]) == (None, "18", "complete")
    assert (rows[10]["answer"], rows[10]["thought_tokens"], rows[10]["output_tokens"]) == ("truncated", 120, 120)
    assert (rows[11]["answer"], rows[11]["response"]) == ("empty", "")
    results = Results.read(DirectoryStore(tmp_path).get(layout.RESULTS))
    assert results.evalrun.tasks["sums"].answers == results.evalrun.counts.answers == answers


def test_the_engine_ends_thinking_at_its_budget(suite: Path, tmp_path: Path) -> None:
    result = thinking(suite, tmp_path, budget=BUDGET)
    assert result.counts.answers == AnswerCounts(complete=30, empty=10)
    assert result.scores[0].value == 0.75
    assert rows_of(tmp_path)[10]["thought_tokens"] == BUDGET + len("<think>")


@pytest.mark.parametrize("rule", [{}, {"rule": "point"}])
def test_gates_know_of_answers_that_never_left_their_thinking(
    suite: Path, tmp_path: Path, rule: dict[str, Any]
) -> None:
    bounds = [{"min": 0.05}, {"min": 0.6}, {"min": 0.95}]
    result = thinking(suite, tmp_path, [{**bound, **rule} for bound in bounds])
    assert [gate.verdict for gate in result.gates] == [Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED]
    assert "could turn it" in (result.gates[1].message or "")
