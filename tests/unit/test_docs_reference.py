"""docs/reference.md is what the models say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evalrun_api import Reason

ROOT = Path(__file__).parents[2]


def test_the_reference_is_generated_from_the_models() -> None:
    made = subprocess.run(
        [sys.executable, "crds/generate/reference.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "reference.md").read_text() == made, "run `make generate`"
    for reason in Reason:
        assert f"| `{reason.value}` |" in made
