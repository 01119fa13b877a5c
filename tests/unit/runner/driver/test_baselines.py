"""A baseline that a gate cannot be compared with is refused before the run, with its address."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec, ModelLocation, Reason, RunConfig, RunLocation
from evalrun_runner.driver.baselines import check_baselines, read_baselines
from evalrun_runner.errors import InputError

GOLDEN = Path(__file__).parents[1] / "ledger" / "golden" / "format-1"
"""A finished run of the tasks ``sums`` and ``letters`` and their group ``both``."""


def config(baseline: Path, attempt: int = 1, **gate: Any) -> RunConfig:
    compared = {"task": "letters", "metric": "acc", "baseline": {"uri": baseline.as_uri()}, "maxRegression": 0.1}
    spec = EvalRunSpec.model_validate(
        {
            "model": {"name": "mock", "uri": "hf://test/mock"},
            "engine": {"mock": {}},
            "replicas": {"count": 1},
            "benchmarks": [{"task": "letters"}, {"task": "sums", "name": "nightly"}],
            "gates": [{"task": "letters", "metric": "acc", "min": 0.1}, {**compared, **gate}],
            "output": {"uri": "s3://bucket/x/"},
        }
    )
    return RunConfig(
        name="test",
        uid="test",
        attempt=attempt,
        spec=spec,
        results=RunLocation(uri="s3://bucket/x/"),
        model=ModelLocation(name="mock", uri="hf://test/mock"),
        baselines=(None, RunLocation(uri=baseline.as_uri())),
    )


def refused(wrong: RunConfig) -> InputError:
    with pytest.raises(InputError) as found:
        check_baselines(wrong)
    assert found.value.reason is Reason.BASELINE_MISSING
    return found.value


def test_a_finished_run_with_the_score_is_taken() -> None:
    assert check_baselines(config(GOLDEN)) == ()
    assert check_baselines(config(GOLDEN, task="nightly", metric="exact_match")) == ()


def test_a_baseline_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "typo"
    assert str(refused(config(missing))) == (
        f"spec.gates[1].baseline: {missing.as_uri()} is not there, or is empty; give the output of a finished run"
    )
    assert not missing.exists()


def test_a_folder_that_is_no_run_and_one_that_is_not_finished_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert "holds no run (no plan.json in it)" in str(refused(config(tmp_path)))
    shutil.copytree(GOLDEN, tmp_path / "run")
    (tmp_path / "run" / "COMPLETE").unlink()
    assert "holds a run that is not finished (no COMPLETE in it)" in str(refused(config(tmp_path / "run")))


def test_a_baseline_without_the_score_says_what_it_has() -> None:
    message = str(refused(config(GOLDEN, metric="f1")))
    assert f"{GOLDEN.as_uri()} has no score f1 of letters; of letters it has: acc,none" in message
    message = str(refused(config(GOLDEN, task="unknown")))
    assert "has no score acc of unknown; it has scores of: sums, letters, both" in message


def test_a_baseline_with_lost_items_is_warned_of(tmp_path: Path) -> None:
    def lose(results: dict[str, Any]) -> None:
        results["evalrun"]["tasks"]["letters"] = {"ok": 3, "failed": 1, "quarantined": 0}

    (warning,) = check_baselines(config(changed(tmp_path / "run", lose)))
    assert warning.about == "spec.gates[1].baseline"
    assert "1 items of letters have no score" in warning.message


def test_a_baseline_that_has_gone_since_the_first_attempt_does_not_end_the_run(tmp_path: Path) -> None:
    (warning,) = check_baselines(config(tmp_path / "gone", attempt=2))
    assert "gone/ is not there" in warning.message or "gone is not there" in warning.message
    first, second = read_baselines(config(tmp_path / "gone", attempt=2))
    assert first is None
    assert isinstance(second, InputError)


def changed(folder: Path, change: Any) -> Path:
    """Copy the finished run with other results, completed with them."""
    shutil.copytree(GOLDEN, folder)
    results = json.loads((folder / "results.json").read_text())
    change(results)
    data = json.dumps(results).encode()
    (folder / "results.json").write_bytes(data)
    mark = json.loads((folder / "COMPLETE").read_text())
    (folder / "COMPLETE").write_text(json.dumps({**mark, "results_sha256": hashlib.sha256(data).hexdigest()}))
    return folder
