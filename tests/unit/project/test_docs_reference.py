"""docs/reference.md and docs/metrics.md equal what the models generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evalrun_api import Reason
from evalrun_api.metrics import ALL

ROOT = Path(__file__).parents[3]


def test_reference_equals_generated_reference() -> None:
    made = subprocess.run(
        [sys.executable, "crds/generate/reference.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "reference.md").read_text() == made, "run `make generate`"
    for reason in Reason:
        assert f"| `{reason.value}` |" in made


def test_metrics_table_equals_generated_table() -> None:
    made = subprocess.run(
        [sys.executable, "crds/generate/metrics_table.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "metrics.md").read_text() == made, "run `make generate`"
    for metric in ALL:
        assert f"| `{metric.name}` |" in made
