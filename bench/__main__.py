"""Command: ``python -m bench --model DIR --write docs/benchmarks.md [--only NAME] [--quick]``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, report, workloads
from bench.measurements import FULL, MEASUREMENTS, QUICK, Bench
from evalrun_runner.engine.vllm import prepare_environment


def main() -> int:
    """Measure, and print and write the document."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios side by side, with their spread.")
    parser.add_argument("--model", type=Path, required=True, help="folder of a model that vLLM runs")
    parser.add_argument("--write", type=Path, help="file for the document")
    parser.add_argument("--only", choices=[*MEASUREMENTS], action="append", help="measure this alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny workloads: to try the bench, not to believe it")
    given = parser.parse_args()
    model = given.model.resolve()
    if not (model / "config.json").is_file():
        parser.error(f"--model {model} is no model's folder: there is no config.json in it")
    # Exit on SIGTERM, so that the scratch folder is deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {line}", file=sys.stderr, flush=True)

    surroundings = machine.surroundings(model.name, workloads.describe())
    warnings = machine.load_warnings()
    if given.quick:
        warnings.append("made with --quick: these numbers show that the bench works and nothing else")
    for warning in warnings:
        say(f"warning: {warning}")
    with tempfile.TemporaryDirectory(prefix="evalrun-bench-") as scratch:
        bench = Bench(model, Path(scratch), QUICK if given.quick else FULL, say)
        # Set the environment before any side starts, because libraries read it when they are loaded.
        os.environ.update(prepare_environment(bench.settings(model, 1), os.cpu_count() or 1))
        sections = [section for name in given.only or MEASUREMENTS for section in MEASUREMENTS[name](bench)]
    surroundings["load after the run"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    surroundings["duration"] = f"{(time.monotonic() - started) / 60:.1f} minutes"
    text = report.render(sections, surroundings, warnings)
    print(text)
    if given.write is not None:
        given.write.parent.mkdir(parents=True, exist_ok=True)
        given.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
