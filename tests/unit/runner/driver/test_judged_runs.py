"""Gates of whole runs: their items are read from the outputs, of the run and of its baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec, Reason, RunConfig, RunLocation, RunResult, Verdict
from evalrun_runner.cli.commands import exit_code, results
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError
from evalrun_runner.ledger import layout
from support.one_process import OneReplica, Watching, config_of
from support.suites import Suite

ITEMS = 60
HERE = Adapters(start_fleet=OneReplica)
TASK: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": ["yes", "no"],
    "doc_to_target": "{{0}}",
}


def suite_of(folder: Path, items: int = ITEMS, **config: Any) -> Path:
    rows = [
        {"question": f"Is {n} a number?", "passage": f"p{n // 10}", "level": ["easy", "hard"][n % 2]}
        for n in range(items)
    ]
    return Suite(folder).with_data("rows", rows).with_task("sums", data="rows", **TASK, **config).folder


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return suite_of(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def before(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("before") / "output"
    run(config_of(suite, output), DriverOptions(), Watching(), HERE)
    return output


def asking(suite: Path, place: Path, *gates: dict[str, Any], baseline: Path | None = None, **spec: Any) -> RunConfig:
    config = config_of(suite, place)
    asked = [{"task": "sums", "metric": "acc", **gate} for gate in gates]
    changed = EvalRunSpec.model_validate({**config.spec.to_dict(), "gates": asked, **spec})
    locations = tuple(
        RunLocation(uri=baseline.as_uri()) if baseline is not None and "baseline" in gate else None for gate in gates
    )
    return config.model_copy(update={"spec": changed, "baselines": locations})


def judged(config: RunConfig) -> RunResult:
    return run(config, DriverOptions(), Watching(), HERE)


def against(baseline: Path, margin: float) -> dict[str, Any]:
    return {"baseline": {"uri": baseline.as_uri()}, "maxRegression": margin}


def test_items_of_the_run_decide_its_bounds(suite: Path, tmp_path: Path) -> None:
    result = judged(asking(suite, tmp_path / "out", {"min": 0.0}, {"min": 0.999, "advisory": True}))
    score = result.scores[0]
    passed, advisory = result.gates
    assert (passed.verdict, passed.method, passed.n) == (Verdict.PASSED, "clopper-pearson", ITEMS)
    assert passed.interval is not None
    assert score.value is not None
    assert passed.interval[0] < score.value < passed.interval[1]
    assert (advisory.verdict is Verdict.PASSED, advisory.advisory) == (False, True)
    assert (result.verdict, exit_code(result)) == (Verdict.PASSED, 0)
    assert score.interval is not None
    assert score.interval.low < score.value < score.interval.high


def test_a_run_is_compared_with_its_baseline_item_by_item(suite: Path, before: Path, tmp_path: Path) -> None:
    result = judged(asking(suite, tmp_path / "out", against(before, 0.05), against(before, 0.01), baseline=before))
    same, narrow = result.gates
    assert (same.verdict, same.method, same.difference) == (Verdict.PASSED, "tango", 0.0)
    assert same.baseline_score == same.score
    assert narrow.verdict is Verdict.INCONCLUSIVE
    assert narrow.message.endswith(
        "it cannot pass: maxRegression: 0.01 needs at least 299 items (fewer only if the model became better), "
        "and there are 60"
    )
    assert exit_code(result) == 4


def test_a_gate_that_cannot_pass_is_warned_of_before_the_run(suite: Path, tmp_path: Path) -> None:
    watching = Watching()
    run(asking(suite, tmp_path / "out", {"min": 0.99}), DriverOptions(), watching, HERE)
    (warned,) = [line for line in watching.lines if line.startswith("warning: spec.gates[0]")]
    assert "it cannot pass: min: 0.99 needs at least 299 items, and there are 60" in warned


def test_baseline_of_other_questions_is_no_evidence(before: Path, tmp_path: Path) -> None:
    other = suite_of(tmp_path / "suite", items=ITEMS + 20)
    result = judged(asking(other, tmp_path / "out", against(before, 0.1), baseline=before))
    (gate,) = result.gates
    assert (gate.verdict, gate.reason) == (Verdict.INCONCLUSIVE, Reason.INCONCLUSIVE)
    assert gate.message.startswith("20 of 80 items of sums are not in the baseline")


def test_a_part_of_the_baseline_compares_its_common_items(suite: Path, before: Path, tmp_path: Path) -> None:
    part = [{"task": "sums", "source": {"path": str(suite)}, "limit": 59}]
    result = judged(asking(suite, tmp_path / "out", against(before, 0.05), baseline=before, benchmarks=part))
    assert [gate.verdict for gate in result.gates] == [Verdict.PASSED]


def test_declared_clusters_and_strata_reach_gates_results_and_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {"evalrun": {"cluster": "passage", "strata": ["level"]}}
    suite, output = suite_of(tmp_path / "suite", metadata=metadata), tmp_path / "out"
    result = judged(asking(suite, output, {"min": 0.0}, output={"uri": "x", "samples": True}))
    assert [gate.method for gate in result.gates] == ["clopper-pearson-clustered"]
    intervals = json.loads((output / layout.RESULTS).read_text())["evalrun"]["intervals"]
    by_stratum = {one.get("stratum"): one for one in intervals if one["metric"] == "acc"}
    assert set(by_stratum) == {None, "level=easy", "level=hard"}
    assert (by_stratum[None]["clusters"], by_stratum[None]["target"]) == (6, "clusters")
    line = json.loads((output / layout.samples("sums")).read_text().splitlines()[3])
    assert line["evalrun"] == {"cluster": "p0", "strata": {"level": "hard"}, "tags": []}
    assert results(str(output), json_output=False) == 0
    table = capsys.readouterr().out
    assert "level=easy" in table
    assert "95% interval" in table


def test_an_undeclared_field_is_refused_before_a_replica_is_asked_for(tmp_path: Path) -> None:
    suite = suite_of(tmp_path / "suite", metadata={"evalrun": {"cluster": "pasage"}})
    with pytest.raises(InputError, match=r"task sums: metadata\.evalrun: the documents have no field 'pasage'"):
        judged(asking(suite, tmp_path / "out", {"min": 0.0}))


def test_a_finished_run_keeps_its_verdicts(suite: Path, tmp_path: Path) -> None:
    config = asking(suite, tmp_path / "out", {"min": 0.0})
    judged(config)
    file = tmp_path / "out" / layout.GATES
    record = json.loads(file.read_text())
    record["judgements"][-1]["gates"][0]["message"] = "as an earlier version said it"
    file.write_text(json.dumps(record))
    assert [gate.message for gate in judged(config).gates] == ["as an earlier version said it"]
    assert [gate.method for gate in judged(asking(suite, tmp_path / "out", {"min": 0.01})).gates] == ["clopper-pearson"]
