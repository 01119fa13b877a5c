"""``evalrun oracle`` shows what no model can exceed, and names every solution that does not pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalrun_runner.cli.oracle import NOT_ALL, oracle
from evalrun_runner.errors import InputError
from support.suites import Suite, benchmark_data, gsm8k, humaneval_code, json_lines, mbpp_sanitized

AMICABLE = 71
"""Document of sanitized MBPP (task 123) whose own solution takes more processor time than lm-eval's 3 s."""


def run(suite: Suite, task: str, answer: str | None = None, *, json_output: bool = True) -> int:
    return oracle(task, suite.folder, answer, allow_code=True, json_output=json_output)


def test_every_solution_of_humaneval_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(humaneval_code(Suite(tmp_path), benchmark_data()), "humaneval") == 0
    assert json.loads(capsys.readouterr().out) == {"humaneval": {"documents": 164, "passed": 164, "failed": []}}


@pytest.mark.slow
def test_every_solution_of_sanitized_mbpp_passes_but_for_one_that_is_slow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(mbpp_sanitized(Suite(tmp_path), benchmark_data()), "mbpp_sanitized")
    found = json.loads(capsys.readouterr().out)["mbpp_sanitized"]
    assert found["documents"] == 427
    # A faster machine may pass it: nothing else may fail.
    assert [(one["doc_id"], one["end"]) for one in found["failed"]] in ([], [(AMICABLE, "timedOut")])


def test_a_solution_that_does_not_pass_is_named_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = humaneval_code(Suite(tmp_path), benchmark_data(), 3)
    rows = json_lines(benchmark_data() / "humaneval" / "HumanEval.jsonl.gz", 3)
    rows[1]["canonical_solution"] = "    return 'seven'\n"
    suite.with_data("humaneval", rows)
    assert run(suite, "humaneval", json_output=False) == NOT_ALL
    out = capsys.readouterr().out
    assert out.startswith("humaneval: 2 of 3 solutions pass")
    assert "document 1: raised, 'AssertionError: '" in out


def test_an_answer_may_be_made_of_the_document(tmp_path: Path) -> None:
    suite = humaneval_code(Suite(tmp_path), benchmark_data(), 2)
    assert run(suite, "humaneval", "{{canonical_solution}}\n# end") == 0
    assert run(suite, "humaneval", "    pass") == NOT_ALL
    with pytest.raises(InputError, match="--answer"):
        run(suite, "humaneval", "{{ nothing.at.all }}")


def test_a_task_without_code_or_without_solutions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs no code"):
        run(gsm8k(Suite(tmp_path / "a"), benchmark_data(), 3), "gsm8k")
    suite = humaneval_code(Suite(tmp_path / "b"), benchmark_data(), 1)
    rows = json_lines(benchmark_data() / "humaneval" / "HumanEval.jsonl.gz", 1)
    suite.with_data("humaneval", [{name: value for name, value in rows[0].items() if name != "canonical_solution"}])
    with pytest.raises(InputError, match="hold no canonical_solution and no code"):
        run(suite, "humaneval")
