"""The driver is killed, interrupted or overtaken in mid-run: the same command goes on from what is committed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from evalrun_api import Work
from support.runs import CHOICES, Ground, Run, damage, make_ground, parts, results_in, write_run


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


def under_way(run: Run, ground: Ground, output: Path, epoch: int) -> None:
    """Wait until a run stands at the gate, and the driver has noted what it would take with it."""

    def noted() -> bool:
        file = output / "leased.json"
        note = json.loads(file.read_text()) if file.exists() else None
        return note is not None and note["epoch"] == epoch and len(note["chunks"].get("sums", [])) == ground.held_chunks

    ground.reached(run)
    run.until(noted, f"a note of {ground.held_chunks} chunks that are under way")


def test_a_repeatedly_killed_and_interrupted_run_ends_like_an_undisturbed_one(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed():
        # kill -9 in mid-run.
        with Run(tmp_path, command) as run:
            under_way(run, ground, output, epoch=1)
            assert len(run.replicas()) == 2
            run.kill()
            run.until(lambda: not run.replicas(), "the replicas to leave with their driver", 20, or_ended=True)
        kept = parts(output)
        assert len(kept) == len(ground.parts) - ground.held_chunks
        assert not (output / "COMPLETE").exists()

        # Ctrl-C.
        with Run(tmp_path, command) as run:
            under_way(run, ground, output, epoch=2)
            assert run.progress().work == Work(kept=ground.free_items, redone=ground.held_items)
            run.signal(signal.SIGINT)
            assert run.ended(60) == 130
            assert not run.replicas()
            assert f"stopped; {ground.free_items} items are committed" in run.stderr
            assert "Traceback" not in run.stderr
            assert run.stdout == ""
        assert parts(output) == kept

        # SIGTERM, then Ctrl-C on top of it: it ends at once and loses nothing that is committed.
        with Run(tmp_path, command) as run:
            under_way(run, ground, output, epoch=3)
            run.signal(signal.SIGTERM)
            run.until(lambda: "stopping" in run.stderr, "the answer to SIGTERM")
            run.signal(signal.SIGINT)
            assert run.ended(5) == 130
            run.until(lambda: not run.replicas(), "the replicas to leave with their driver", 20, or_ended=True)
        assert parts(output) == kept

    # A part is damaged while nobody looks; it is redone with what was never done.
    damaged = "parts/choices/00000000.parquet"
    damage(output / damaged)
    with Run(tmp_path, command) as run:
        assert run.ended() == 0, run.stderr
        assert f"{ground.planned} ok + 0 failed + 0 quarantined" in run.stdout
        # What was under way was lost three times.
        account = f"{ground.free_items - CHOICES} kept from before, {3 * ground.held_items} redone"
        assert account in run.stdout
        assert "1 damaged parts were set aside under corrupt/" in run.stderr
    assert (output / f"corrupt/000004/{damaged}").exists()
    assert results_in((output / "results.json").read_bytes()) == ground.results
    now = parts(output)
    assert now.keys() == ground.parts
    assert {key for key in kept if now[key] != kept[key]} == {damaged}, "what was sound was left alone"
    attempts = json.loads((output / "run.json").read_text())["attempts"]
    assert [attempt["epoch"] for attempt in attempts] == [1, 2, 3, 4]
    assert attempts[1]["outcome"].startswith("Interrupted")
    assert attempts[3]["outcome"] == "Succeeded"


def test_the_later_of_two_drivers_on_one_output_completes_and_the_other_leaves(ground: Ground, tmp_path: Path) -> None:
    output = tmp_path / "output"
    command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
    with ground.closed(), Run(tmp_path / "first", command) as first:
        first.until((output / "epochs/000001").exists, "the first epoch")
        with Run(tmp_path / "second", command) as second:
            second.until((output / "epochs/000002").exists, "the second epoch")
            assert first.ended() == 1
            assert not first.replicas()
            (said,) = [line for line in first.stderr.splitlines() if line.startswith("evalrun:")]
            assert "another driver took over the run" in said
            assert "epoch 2, ours is 1" in said
            assert "Traceback" not in first.stderr
            ground.open()
            assert second.ended() == 0, second.stderr
    assert results_in((output / "results.json").read_bytes()) == ground.results
    assert parts(output).keys() == ground.parts
    assert json.loads((output / "COMPLETE").read_text())["epoch"] == 2
