"""vLLM itself: it ends thinking at its budget, and its parsers look for the markers that the contract has for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import ReasoningParser
from support.thinking_live import BUDGETS, LENGTH

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
NOT_NAMED = {"inkling"}
"""Its end marker ends every message, the answer too, so that no answer follows the last one."""


@pytest.fixture(scope="module")
def live() -> dict[str, Any]:
    making = [sys.executable, str(ROOT / "scripts" / "small_model.py"), "--tiny"]
    model = subprocess.run(making, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    asking = [sys.executable, "-m", "support.thinking_live", model]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    found = subprocess.run(asking, env=surroundings, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-4000:]
    said: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return said


def test_thinking_ends_at_its_budget(live: dict[str, Any]) -> None:
    unlimited, none, few = live["responses"]
    assert [unlimited["budget"], none["budget"], few["budget"]] == list(BUDGETS)
    assert unlimited["in_thought"]
    assert unlimited["thought_tokens"] == unlimited["output_tokens"] == LENGTH
    for one in (none, few):
        assert not one["in_thought"]
        assert one["thought_tokens"] == one["budget"]
        assert one["output_tokens"] == LENGTH


def test_parsers_have_the_markers_of_vllms(live: dict[str, Any]) -> None:
    theirs = {name: tuple(markers) for name, markers in live["parsers"].items() if name not in NOT_NAMED}
    assert {parser.value: (parser.markers.start, parser.markers.end) for parser in ReasoningParser} == theirs
