"""Gates that no answers could pass are warned of before anything is asked of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import Benchmark, EvalRunSpec, Gate
from evalrun_runner.cli.validation import Checks, validate
from evalrun_runner.driver.gate_sizes import check_sizes
from evalrun_runner.driver.limits import check_limits
from support.parity import Case, load_case
from support.suites import Suite

ROWS = [{"question": f"{i} + 1 =", "answer": str(i + 1)} for i in range(20)]
SUM: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match"}, {"metric": "bleu"}],
}
BASELINE = {"baseline": {"uri": "s3://bucket/x/"}}


def gate(**fields: Any) -> Gate:
    return Gate.model_validate({"task": "sums", "metric": "exact_match", **fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = Suite(tmp_path_factory.mktemp("sizes")).with_data("rows", ROWS)
    suite.with_task("sums", data="rows", **SUM).with_task("more", data="rows", **SUM)
    return suite.with_group("both", ["sums", "more"], aggregate_metric_list=[{"metric": "exact_match"}]).folder


def warnings(folder: Path, *gates: Gate) -> dict[str, str]:
    loaded = load_case(Case(("both",)), folder)
    found = check_sizes(gates, [Benchmark(task="both", name="nightly")], loaded)
    return {one.about: one.message for one in found}


def test_a_gate_that_needs_more_items_than_there_are_is_named(folder: Path) -> None:
    found = warnings(folder, gate(min=0.8), gate(min=0.9), gate(max=0.1), gate(min=1.0))
    assert list(found) == ["spec.gates[1]", "spec.gates[2]", "spec.gates[3]"]
    assert found["spec.gates[1]"].startswith(
        "it cannot pass: min: 0.9 needs at least 29 items, and there are 20; hint:"
    )
    assert found["spec.gates[3]"].startswith("it cannot pass: no number of items can prove min: 1")


def test_a_group_has_the_items_of_its_tasks(folder: Path) -> None:
    assert not warnings(folder, gate(task="nightly", min=0.9))
    lost = gate(task="both", **BASELINE, maxRegression=0.05)
    assert (
        "needs at least 59 items (fewer only if the model became better), and there are 40"
        in warnings(folder, lost)["spec.gates[0]"]
    )


def test_bare_scores_need_no_items(folder: Path) -> None:
    assert not warnings(folder, gate(min=0.99, rule="point"), gate(metric="bleu", min=3, rule="point"))


def test_a_metric_without_a_confidence_bound_is_named(folder: Path) -> None:
    (message,) = warnings(folder, gate(metric="bleu", min=3)).values()
    assert message.startswith("it will be Inconclusive: bleu is no mean of its items' values")


def test_validate_says_it_where_a_limit_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {
        "model": {"uri": "hf://org/m"},
        "engine": {"mock": {}},
        "benchmarks": [{"task": "gsm8k", "limit": 200}],
        "gates": [
            {"task": "gsm8k", "metric": "exact_match", "min": 0.9},
            {"task": "gsm8k", "metric": "exact_match", **BASELINE, "maxRegression": 0.01},
        ],
        "output": {"uri": "out"},
    }
    (warning,) = check_limits(EvalRunSpec.model_validate(spec))
    assert warning.about == "spec.gates[1]"
    assert (
        "maxRegression: 0.01 needs at least 299 items (fewer only if the model became better), and there are 200 by "
        "its limit" in warning.message
    )
    file = tmp_path / "run.yaml"
    run = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "metadata": {"name": "x"}, "spec": spec}
    file.write_text(json.dumps(run))
    assert validate([str(file)], [], Checks(cluster=False, tasks=False, allow_code=False)) == 0
    out = capsys.readouterr()
    assert out.out == f"{file}: valid\n"
    assert out.err.startswith(f"{file}: warning: spec.gates[1]: it cannot pass")
