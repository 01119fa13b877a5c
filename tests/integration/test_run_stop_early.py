"""``evalrun run`` with ``policy.stopEarly``: what the command prints, writes and ends with, by both rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.runs import Run, write_run, write_suite

ITEMS = 400
GATE = {"task": "sums", "metric": "exact_match", "min": 0.5}
"""The mock engine is never right: the first look decides."""
SLOW = {"mock": {"tokensPerSecond": 3000}}
"""So slow that the first look is over before the last items are asked."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suite(tmp_path_factory.mktemp("stop") / "suite", [f"What is {n} and {n}?" for n in range(ITEMS)])


def write(suite: Path, file: Path, **spec: Any) -> Path:
    return write_run(file, suite, engine=SLOW, replicas={"count": 1}, **spec)


@pytest.mark.parametrize(
    ("rule", "gates", "code"),
    [({"rule": "gates"}, [GATE], 3), ({"rule": "width", "width": 0.1}, [], 0)],
    ids=["gates", "width"],
)
def test_a_run_that_stops_early_says_so_everywhere(
    suite: Path, tmp_path: Path, rule: dict[str, Any], gates: list[dict[str, Any]], code: int
) -> None:
    file, output = write(suite, tmp_path / "run.yaml", gates=gates, policy={"stopEarly": rule}), tmp_path / "output"
    with Run(tmp_path, ["run", file, "--output", output]) as run:
        assert run.ended() == code, run.stderr
        counts = json.loads((output / "results.json").read_text())["evalrun"]["counts"]
        assert 0 < counts["skipped"] < ITEMS == counts["ok"] + counts["skipped"]
        assert f"{counts['skipped']} skipped" in run.stdout
    assert "stopped early" in (output / "report.md").read_text()
    assert "stopped early" in (output / "report.html").read_text()
    with Run(tmp_path, ["results", output]) as again:
        assert again.ended() == code
        assert f"{counts['skipped']} skipped" in again.stdout
    if gates:
        refused_as_baseline(suite, tmp_path, output)


def refused_as_baseline(suite: Path, tmp_path: Path, output: Path) -> None:
    """Check that another run refuses the output by name, before an engine loads."""
    gate = {"task": "sums", "metric": "exact_match", "baseline": {"uri": output.as_uri()}, "maxRegression": 0.1}
    file = write(suite, tmp_path / "other.yaml", gates=[gate])
    with Run(tmp_path, ["run", file, "--output", tmp_path / "other"]) as run:
        assert run.ended() == 2
        assert f"{output.as_uri()} is no baseline, because it stopped early" in run.stderr
