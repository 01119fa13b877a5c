"""Replicas die, stop or are killed all at once: the run goes on by itself, and comes to the same results."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.runs import Ground, Run, damage, make_ground, parts, results_in, write_run


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


def test_a_killed_replica_is_replaced_and_only_its_chunks_are_redone(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0", "--json"]
    with ground.closed(), Run(tmp_path, command) as run:
        ground.reached(run)
        shown = run.progress()
        assert shown.phase == "Running"
        assert shown.replicas_ready == 2
        assert shown.degraded is None
        assert run.get("/healthz") == "ok\n"
        assert metrics(run)["evalrun_items", "ok"] == ground.free_items
        assert metrics(run)["evalrun_items_planned", None] == ground.planned

        committed = parts(output)
        os.kill(run.replicas()[0].pid, signal.SIGKILL)
        run.until(lambda: run.progress().replicas_ready == 1, "the driver to see the replica's death")
        redone = run.progress().work.redone
        assert redone <= ground.held_items, "no more is redone than was in flight"
        # A part is damaged behind the run's back: found at the end, set aside, redone.
        damaged = sorted(committed)[0]
        damage(output / damaged)
        ground.open()
        assert run.ended() == 0, run.stderr
        result = json.loads(run.stdout)
    assert result["phase"] == "Succeeded"
    lost = {"failed": 0, "quarantined": 0, "skipped": 0}
    answers = {"complete": ground.planned, "truncated": 0, "refused": 0, "filtered": 0, "empty": 0}
    assert result["counts"] == {"planned": ground.planned, "ok": ground.planned, **lost, "answers": answers}
    assert {score["task"] for score in result["scores"]} == {"sums", "choices"}
    assert result["work"]["kept"] == 0
    assert result["work"]["redone"] == redone + 64, "the damaged part holds 64 choices"
    assert "1 damaged parts are set aside" in run.stderr
    assert "is gone (crashed)" in run.stderr
    assert results_in((output / "results.json").read_bytes()) == ground.results
    now = parts(output)
    assert now.keys() == ground.parts
    assert {key for key in committed if committed[key] != now[key]} == {damaged}, "what was sound was left alone"


def test_a_run_that_loses_all_replicas_at_once_continues_with_others(ground: Ground, tmp_path: Path) -> None:
    """One is killed, the other is stopped (SIGSTOP): it is silent, not dead."""
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed(), Run(tmp_path, command, settings={"policy": {"silence_s": 6.0}}) as run:
        ground.reached(run)
        in_flight = int(metrics(run)["evalrun_items", "leased"])
        assert 0 < in_flight <= ground.held_items
        killed, stopped = run.replicas()
        os.kill(stopped.pid, signal.SIGSTOP)
        os.kill(killed.pid, signal.SIGKILL)
        run.until(lambda: "has not reported for" in run.stderr, "the driver to hear the silence")
        run.until(lambda: {killed, stopped}.isdisjoint(run.replicas()), "the end of the stopped replica")
        # Not sooner: what the new replica commits before the driver hears of that end is not redone.
        run.until(lambda: "is gone (killed-hung)" in run.stderr, "the driver to hear of that end")
        ground.open()
        assert run.ended() == 0, run.stderr
        account = re.search(r"0 kept from before, (\d+) redone", run.stdout)
        assert account is not None, run.stdout
        assert 0 < int(account[1]) <= in_flight, "less than was in flight where the new replica held a copy already"
    assert "is gone (crashed)" in run.stderr
    assert results_in((output / "results.json").read_bytes()) == ground.results
    assert parts(output).keys() == ground.parts


def metrics(run: Run) -> dict[tuple[str, str | None], float]:
    """The samples of /metrics by name and status."""
    families = text_string_to_metric_families(run.get("/metrics"))
    return {(s.name, s.labels.get("status")): s.value for family in families for s in family.samples}
