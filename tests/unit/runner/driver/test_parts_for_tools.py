"""Parts are read by tools that know nothing of EvalRun, as the docs show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.run import run
from support.one_process import OneReplica, Watching, config_of
from support.suites import Suite

PAGE = Path(__file__).parents[4] / "docs" / "running.md"
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def arithmetic(folder: Path) -> Path:
    """Write a suite of one task with a filter, ``arithmetic``, with which the docs' examples work."""
    suite = Suite(folder).with_data("rows", [{"question": f"{n} + {n} =", "answer": str(n % 20)} for n in range(40)])
    suite.with_task(
        "arithmetic",
        data="rows",
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 200},
        filter_list=[
            {
                "name": "number",
                "filter": [{"function": "regex", "regex_pattern": r"is (\d+)"}, {"function": "take_first"}],
            }
        ],
        metric_list=[{"metric": "exact_match"}],
    )
    return suite.folder


def test_the_docs_example_reads_a_run_with_pandas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(arithmetic(tmp_path / "suite"), tmp_path / "out", task="arithmetic")
    result = run(config, DriverOptions(), Watching(), Adapters(start_fleet=OneReplica))
    (example,) = _PYTHON.findall(PAGE.read_text(encoding="utf-8"))
    variables: dict[str, object] = {"OUTPUT": str(tmp_path / "out")}
    exec(compile(example, str(PAGE), "exec"), variables)
    printed = capsys.readouterr().out
    mean, wrong = printed.splitlines()[0].split()
    (score,) = [score for score in result.scores if score.metric == "exact_match"]
    assert float(mean) == pytest.approx(score.value)
    assert int(wrong) == round(40 * (1 - float(mean))) > 0
    assert "filtered,number" in printed
