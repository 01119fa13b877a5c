"""A run with adapters: the model and each adapter have columns of their own, which nothing mixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from evalrun_api import EvalRunSpec, Phase, Reason, RunConfig, Verdict
from evalrun_api.wire.runconfig import AdapterLocation
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError
from evalrun_runner.ledger import layout
from support.one_process import OneReplica, Watching, config_of, sums

ITEMS = 20
HERE = Adapters(start_fleet=OneReplica)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sums(tmp_path_factory.mktemp("suite"), ITEMS)


def with_adapters(config: RunConfig, *names: str, **spec: Any) -> RunConfig:
    given = [{"name": name, "uri": f"hf://org/{name}"} for name in names]
    asked = {**config.spec.to_dict(), **spec}
    asked["model"] = {**asked["model"], "adapters": given}
    locations = tuple(AdapterLocation.model_validate(adapter) for adapter in given)
    return config.model_copy(
        update={
            "spec": EvalRunSpec.model_validate(asked),
            "model": config.model.model_copy(update={"adapters": locations}),
            "baselines": (None,) * len(asked.get("gates", ())),
        }
    )


def texts(output: Path, task: str) -> dict[int, str]:
    """Return the answers of a column by document, from its parts."""
    parts = (output / "parts" / layout.task_dir(task)).glob("*")
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return {row["doc_id"]: str(row["filtered"]) for row in rows}


def test_the_model_and_each_adapter_have_a_column_with_every_item(suite: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    gates = [
        {"task": "sums", "metric": "exact_match", "max": 1.0, "rule": "point"},
        {"task": "sums@two", "metric": "exact_match", "min": 1.0, "rule": "point"},
    ]
    result = run(with_adapters(config_of(suite, output), "one", "two", gates=gates), DriverOptions(), Watching(), HERE)
    assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, 3 * ITEMS)
    assert [(score.task, score.n) for score in result.scores] == [
        (task, ITEMS) for task in ("sums", "sums@one", "sums@two")
    ]
    assert [(gate.task, gate.verdict) for gate in result.gates] == [
        ("sums", Verdict.PASSED),
        ("sums@two", Verdict.FAILED),
    ]
    columns = [texts(output, task) for task in ("sums", "sums@one", "sums@two")]
    assert all(len(column) == ITEMS for column in columns)
    assert all(one != other for number, one in enumerate(columns) for other in columns[number + 1 :])
    record = json.loads((output / layout.RUN).read_text())
    assert {name: one["uri"] for name, one in record["model"]["adapters"].items()} == {
        "one": "hf://org/one",
        "two": "hf://org/two",
    }
    (replica,) = record["attempts"][0]["replicas"].values()
    assert replica["adapterEffects"].keys() == {"one", "two"} and min(replica["adapterEffects"].values()) > 0


def test_the_models_own_column_is_that_of_a_run_without_adapters(suite: Path, tmp_path: Path) -> None:
    run(config_of(suite, tmp_path / "alone"), DriverOptions(), Watching(), HERE)
    run(with_adapters(config_of(suite, tmp_path / "with"), "one"), DriverOptions(), Watching(), HERE)
    assert texts(tmp_path / "alone", "sums") == texts(tmp_path / "with", "sums")


def test_an_output_is_not_resumed_with_other_adapters(suite: Path, tmp_path: Path) -> None:
    config = config_of(suite, tmp_path / "out")
    run(with_adapters(config, "one"), DriverOptions(), Watching(), HERE)
    assert run(with_adapters(config, "one"), DriverOptions(), Watching(), HERE).phase is Phase.SUCCEEDED
    for names in ((), ("two",), ("one", "two")):
        with pytest.raises(InputError, match=r"holds another plan; these differ: .*adapters") as refused:
            run(with_adapters(config, *names), DriverOptions(), Watching(), HERE)
        assert refused.value.reason is Reason.PLAN_MISMATCH


def test_a_gate_of_a_column_that_is_not_there_is_refused(suite: Path, tmp_path: Path) -> None:
    gates = [{"task": "sums@tow", "metric": "exact_match", "min": 0.5}]
    with pytest.raises(InputError, match="sums@tow"):
        run(with_adapters(config_of(suite, tmp_path / "out"), "two", gates=gates), DriverOptions(), Watching(), HERE)
