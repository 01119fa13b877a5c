"""One output given twice is no pair of runs."""

from __future__ import annotations

from pathlib import Path

from evalrun_runner.comparing.comparison import ComparisonRequest, compare_two
from evalrun_runner.comparing.opening import open_runs
from support.compared import write_evalrun


def test_one_output_given_twice_shows_no_noise_floor(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "run", {"sums": [1.0, 0.0] * 10})
    baseline, candidate = open_runs([str(tmp_path / "run"), str(tmp_path / "run")])
    report = compare_two(baseline, candidate, ComparisonRequest())
    assert report.noise is None
    assert any("is given twice" in note for note in report.notes)
