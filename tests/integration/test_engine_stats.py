"""What a real engine says of itself, counted after. It is short of cache, so that requests wait and are preempted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.engine_stats import BLOCK, PREFIX, REQUESTS, SLOTS, WITH_CACHE, WITHOUT_CACHE

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
IDLE = {"running": 0, "waiting": 0, "cache_usage": 0.0}
UNUSED = {**IDLE, "prefix_queried": 0, "prefix_hit": 0, "preemptions": 0}


def reports(**environment: str) -> dict[str, Any]:
    making = [sys.executable, str(ROOT / "scripts" / "small_model.py"), "--tiny"]
    model = subprocess.run(making, check=True, capture_output=True, text=True).stdout.splitlines()[0]
    asking = [sys.executable, "-m", "support.engine_stats", model]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT / "tests")} | environment
    found = subprocess.run(asking, env=surroundings, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-4000:]
    said: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def in_process() -> dict[str, Any]:
    """The reports of engines whose core is in their own process."""
    return reports()


@pytest.mark.parametrize("which", [WITH_CACHE, WITHOUT_CACHE])
def test_the_numbers_are_correct(in_process: dict[str, Any], which: str) -> None:
    said = in_process[which]
    assert said["client"] == "InprocClient"
    check(said, cache=which == WITH_CACHE)
    # Each was counted when it came back, and all have come back.
    assert said["steps"][-1]["preemptions"] == said["preempted"] > 0


def test_the_numbers_also_come_from_a_core_in_another_process() -> None:
    for which, said in reports(VLLM_ENABLE_V1_MULTIPROCESSING="1").items():
        assert said["client"] == "SyncMPClient"
        check(said, cache=which == WITH_CACHE)
        assert said["steps"][-1]["preemptions"] > 0


def check(said: dict[str, Any], *, cache: bool) -> None:
    # The second engine of a process too: it begins with nothing.
    assert said["first"] == UNUSED
    steps = said["steps"]
    assert 0 < max(step["running"] for step in steps) <= SLOTS
    assert any(step["running"] + step["waiting"] == REQUESTS for step in steps)
    assert 0.5 < max(step["cache_usage"] for step in steps) <= 1
    last = steps[-1]
    assert last == {**last, **IDLE}
    for name in ("prefix_queried", "prefix_hit", "preemptions"):
        numbers = [step[name] for step in steps]
        assert numbers == sorted(numbers)
    if cache:
        assert last["prefix_queried"] == REQUESTS * (PREFIX + 1)
        assert 0 < last["prefix_hit"] <= (REQUESTS - 1) * PREFIX
        assert last["prefix_hit"] % BLOCK == 0
    else:
        assert last["prefix_queried"] == last["prefix_hit"] == 0
    assert said["busy"]["running"] == 1
    assert said["dropped"] == {**said["busy"], **IDLE}
    # It is not exported by vLLM itself.
    assert said["exported"] == []
