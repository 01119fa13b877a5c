"""A second call: on a complete run, with another plan, fresh, and on an output that is damaged. No model is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from support.runs import STARTED, Ground, Run, damage, make_ground, parts, results_in, write_run


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


@pytest.fixture
def output(ground: Ground, tmp_path: Path) -> Path:
    """A copy of a complete run."""
    shutil.copytree(ground.output, tmp_path / "output")
    return tmp_path / "output"


@pytest.fixture
def file(ground: Ground, tmp_path: Path) -> Path:
    return write_run(tmp_path / "run.yaml", ground.suite)


def test_a_complete_run_is_not_redone(ground: Ground, file: Path, output: Path) -> None:
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 0, run.stderr
        assert "this run is complete: nothing is redone" in run.stderr
        assert STARTED not in run.stderr
        assert f"{ground.planned} kept from before, 0 redone" in run.stdout
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("setting", "field"),
    [("spec.seed=7", "seed: 1234 there, 7 now"), ("spec.benchmarks.0.limit=5", "benchmarks[0].limit")],
)
def test_another_plan_in_the_same_output_is_refused_by_the_differing_field(
    file: Path, output: Path, setting: str, field: str
) -> None:
    with Run(output.parent, ["run", file, "--output", output, "--set", setting]) as run:
        assert run.ended() == 2
        assert field in run.stderr
        assert "--fresh" in run.stderr
        assert "Traceback" not in run.stderr
        assert run.stdout == ""


def test_fresh_leaves_the_old_run_unchanged_and_writes_beside_it(ground: Ground, file: Path, output: Path) -> None:
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    beside = output.with_name("output-2")
    with ground.closed(), Run(output.parent, ["run", file, "--output", output, "--fresh"]) as run:
        run.until((beside / "run.json").exists, "a new run beside the old one")
        assert json.loads((beside / "run.json").read_text())["attempts"][0]["epoch"] == 1
        run.until(lambda: STARTED in run.stderr, "the line that the other tests look for in vain")
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("lost", [False, True], ids=["damaged", "lost"])
def test_a_damaged_manifest_segment_is_planned_again_with_the_same_results(
    ground: Ground, file: Path, output: Path, lost: bool
) -> None:
    """The plan is a function of the spec: what was planned is planned again, and the parts are kept."""
    for name in ("COMPLETE", "results.json"):
        (output / name).unlink()
    segment = output / "manifest/sums/000000.parquet"
    whole = damage(segment)
    if lost:
        segment.unlink()
    before = parts(output)
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 0, run.stderr
        assert STARTED not in run.stderr
        assert "manifest segment 0 of task sums" in run.stderr
        assert "it is planned again" in run.stderr
    assert results_in((output / "results.json").read_bytes()) == ground.results
    assert parts(output) == before
    assert segment.read_bytes() == whole
    assert len(list(output.glob("corrupt/*/manifest/sums/000000.parquet"))) == (0 if lost else 1)


def test_a_damaged_manifest_index_gives_one_message_with_the_way_out(ground: Ground, file: Path, output: Path) -> None:
    (output / "COMPLETE").unlink()
    index = output / "manifest/sums/index.json"
    whole = damage(index)
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 1, run.stderr
        assert run.stderr.count("evalrun: ") == 1
        assert "manifest/sums/index.json is damaged" in run.stderr
        assert "Remove it and start the run again" in run.stderr
        assert "Traceback" not in run.stderr
    index.unlink()
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 0, run.stderr
    assert index.read_bytes() == whole
    assert results_in((output / "results.json").read_bytes()) == ground.results


@pytest.mark.parametrize("text", ["{", '{"identity": 3}'])
def test_a_damaged_run_json_gives_one_message(file: Path, output: Path, text: str) -> None:
    (output / "COMPLETE").unlink()
    (output / "run.json").write_text(text)
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 1, run.stderr
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("evalrun:")]
        assert "run.json" in said
        assert "Traceback" not in run.stderr
        assert run.stdout == ""
        assert STARTED not in run.stderr


def test_parts_without_their_run_json_are_not_reused(file: Path, output: Path) -> None:
    """Another model's answers would pass for this one's: the manifest does not tell them apart."""
    for name in ("COMPLETE", "run.json"):
        (output / name).unlink()
    with Run(output.parent, ["run", file, "--output", output]) as run:
        assert run.ended() == 1, run.stderr
        assert "holds parts, but no run.json" in run.stderr
        assert "Traceback" not in run.stderr


def test_damaged_results_of_a_complete_run_are_never_accepted(file: Path, output: Path) -> None:
    damage(output / "results.json")
    with Run(output.parent, ["results", output]) as run:
        assert run.ended() == 1
        assert "results.json has the sha256" in run.stderr
        assert "Traceback" not in run.stderr
        assert run.stdout == ""
