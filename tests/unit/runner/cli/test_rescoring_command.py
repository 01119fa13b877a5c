"""The command ``rescore`` before it runs anything: what it refuses, and how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.cli.app import app
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError
from support.one_process import OneReplica, Watching, config_of, sums


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished run of lm-eval's kind of tasks in a suite."""
    folder = tmp_path_factory.mktemp("run")
    run(
        config_of(sums(folder / "suite", 4), folder / "out"),
        DriverOptions(),
        Watching(),
        Adapters(start_fleet=OneReplica),
    )
    return folder / "out"


def rescore(*arguments: object) -> None:
    CliRunner().invoke(app, ["rescore", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected either the output of a run, or --answers FILE"),
        (["OUT", "--answers", "a.jsonl"], "expected either the output of a run, or --answers FILE"),
        (["--answers", "a.jsonl"], "which task were they asked for"),
        (["OUT", "--task", "other"], "--task other: the run has no such benchmark; it has sums"),
        (["OUT", "--set", "spec"], "expected PATH=VALUE"),
        (["EMPTY"], "holds no run: there is no run.json"),
    ],
)
def test_what_cannot_be_scored_is_refused(finished: Path, tmp_path: Path, arguments: Sequence[str], says: str) -> None:
    places = {"OUT": str(finished), "EMPTY": str(tmp_path)}
    with pytest.raises(InputError, match=says):
        rescore(*(places.get(one, one) for one in arguments), "--output", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_suite_is_refused_for_a_run_of_lm_evals_own_tasks(finished: Path, tmp_path: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    del record["spec"]["benchmarks"][0]["source"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="none of the run's benchmarks is of a suite of your own"):
        rescore(tmp_path / "run", "--suite", tmp_path, "--output", tmp_path / "again")


def test_a_field_that_there_is_not_is_named(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"spec\.gate: unknown field; did you mean gates"):
        rescore(finished, "--set", "spec.gate=[]", "--output", tmp_path / "again")
