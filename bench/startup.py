"""Start of a run, measured from outside: ``python -m bench.startup --model DIR [--before TREE] [--rounds N]``.

*Start*: the seconds from the start of the command to the first request in the engine, for the quickstart's suites, one
replica and a real model. A module on PYTHONPATH notes the moment of the request, so that an older tree, which knows
nothing of it, is measured in the same way; then the command is asked to stop. *Whole*: the seconds from the start of
the command to its end, on the multiple-choice suite alone, beside lm-eval's command line with the same engine settings.
Sides run one after the other in rounds of alternating order.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from bench.pairs import Goal, Spread, in_rounds
from bench.report import Row, Section, render_section
from bench.sides import data_type
from evalrun_runner.engine.vllm import VllmSettings, engine_args, prepare_environment
from evalrun_runner.machine import usable_cpus

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "examples" / "suites" / "quickstart"
CHOICE = "everyday_choice"
TASKS = (CHOICE, "word_sums")
MAX_MODEL_LEN = 2048
MARKER = Path(__file__).parent / "first_request"
VARIABLE = "EVALRUN_BENCH_FIRST_REQUEST"
STOP_SECONDS = 120.0
"""Patience with a command that was asked to stop, in seconds."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One command, in seconds from its start."""

    first_request: float
    end: float


def timed(
    command: Sequence[str | Path],
    folder: Path,
    *,
    within: Path,
    path: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    to_the_end: bool = True,
) -> Timed:
    """Run a command that ends with exit code 0 and asks a vLLM engine something.

    Args:
        command: The command.
        folder: Folder for its output.
        within: Its working directory.
        path: Further folders of its PYTHONPATH.
        environment: Further variables.
        to_the_end: Whether to wait for its end; otherwise it is asked to stop after the first request.
    """
    mark = folder / "first-request"
    mark.unlink(missing_ok=True)
    variables = {
        **os.environ,
        **(environment or {}),
        "PYTHONPATH": ":".join(map(str, (MARKER, *path))),
        VARIABLE: str(mark),
    }
    with (folder / "output.log").open("ab") as output:
        started = time.time()
        running = subprocess.Popen(list(map(str, command)), env=variables, stdout=output, stderr=output, cwd=within)
        while running.poll() is None and (to_the_end or not mark.exists()):
            time.sleep(0.05)
        stopped = running.returncode is None
        if stopped:
            running.send_signal(signal.SIGTERM)
            running.wait(STOP_SECONDS)
        ended = time.time()
    if not mark.exists() or (running.returncode and not stopped):
        sys.exit(f"bench: {' '.join(map(str, command))} ended with {running.returncode}; see {output.name}")
    return Timed(float(mark.read_text()) - started, ended - started)


def evalrun(
    tree: Path, model: Path, tasks: Sequence[str], scratch: Path, runs: list[int], *, to_the_end: bool
) -> Timed:
    """Run these tasks of the quickstart by a tree's command line, each time into a new output."""
    runs.append(len(runs))
    folder = scratch / f"run{runs[-1]}"
    folder.mkdir()
    spec = {
        "model": {"name": model.name, "uri": model.as_uri()},
        "engine": {"vllm": {"maxModelLen": MAX_MODEL_LEN, "args": data_type()}},
        "replicas": {"count": 1},
        "benchmarks": [{"task": task, "source": {"path": str(SUITE)}} for task in tasks],
        "output": {"uri": str(folder / "output")},
    }
    head = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "metadata": {"name": "start"}}
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump({**head, "spec": spec}))
    command: list[str | Path] = [tree / ".venv" / "bin" / "evalrun", "run", file]
    return timed(command, folder, within=folder, to_the_end=to_the_end)


def lm_eval(model: Path, task: str, scratch: Path) -> Timed:
    """Run a task by lm-eval's command line, with the engine settings and the environment of a replica."""
    settings = VllmSettings(model, 0, max_model_len=MAX_MODEL_LEN, args=data_type())
    arguments = {name: value for name, value in engine_args(settings).items() if name not in ("model", "seed")}
    arguments = {name: value for name, value in arguments.items() if value not in (None, [], "")}
    given = ",".join(f"{name}={value}" for name, value in {"pretrained": model, **arguments}.items())
    command = [sys.executable, "-m", "bench.lm_eval_vllm", "--model", "vllm", "--model_args", given]
    command += ["--tasks", task, "--include_path", str(SUITE), "--batch_size", "auto"]
    environment = prepare_environment(settings, usable_cpus())
    folder = scratch / "lm-eval"
    folder.mkdir(exist_ok=True)
    # lm-eval looks for a suite's data in the working directory.
    return timed(command, folder, within=SUITE, path=(ROOT,), environment=environment)


def measure(
    model: Path, scratch: Path, rounds: int, say: Callable[[str], None], before: Path | None = None
) -> list[Section]:
    """Measure, and return the sections of the document; ``before`` is an older tree with its environment."""
    runs: list[int] = []

    def told(name: str, side: Callable[[], Timed]) -> Callable[[], Timed]:
        def run() -> Timed:
            taken = side()
            say(f"{name}: first request after {taken.first_request:.1f} s, end after {taken.end:.1f} s")
            return taken

        return run

    trees = {"now": ROOT} if before is None else {"now": ROOT, "before": before}
    starts = in_rounds(
        {
            name: told(f"start, {name}", partial(evalrun, tree, model, TASKS, scratch, runs, to_the_end=False))
            for name, tree in trees.items()
        },
        rounds,
    )
    wholes = in_rounds(
        {
            "now": told("whole, evalrun", partial(evalrun, ROOT, model, (CHOICE,), scratch, runs, to_the_end=True)),
            "lm-eval": told("whole, lm-eval", partial(lm_eval, model, CHOICE, scratch)),
        },
        max(1, rounds // 2),
    )
    assert __doc__ is not None
    first, last = [run.first_request for run in starts["now"]], [run.end for run in wholes["now"]]
    rows = [
        Row("from the command to the first request", Spread.of(first), unit="s"),
        Row(
            "whole process, multiple choice, ÷ lm-eval's",
            Spread.of_ratios(last, [run.end for run in wholes["lm-eval"]]),
            Goal(at_most=0.2),
        ),
    ]
    if before is not None:
        ratio = Spread.of_ratios(first, [run.first_request for run in starts["before"]])
        rows.insert(1, Row(f"the same ÷ {before.name}", ratio, Goal(at_most=0.6)))
    beside = {"whole process": f"{Spread.of(last).median:.1f} s"}
    beside["lm-eval's"] = f"{Spread.of(run.end for run in wholes['lm-eval']).median:.1f} s"
    return [Section("Start of a run", __doc__.split("\n\n")[1], rows, beside)]


def main() -> int:
    """Measure, and print the section."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description="The start of a run, from outside.")
    parser.add_argument("--model", type=Path, required=True, help="folder of a model that vLLM runs")
    parser.add_argument("--before", type=Path, help="an older tree with its .venv, to be measured beside this one")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the start; of the whole, half as many")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evalrun-bench-") as scratch:
        before = None if given.before is None else given.before.resolve()
        sections = measure(
            given.model.resolve(), Path(scratch), given.rounds, lambda line: print(line, flush=True), before
        )
    print("\n".join(map(render_section, sections)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
