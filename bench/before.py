"""This tree beside an older commit: ``python -m bench.before --rev REV --model DIR``.

The commit is checked out into a worktree of its own in the cache, with the environment that its own lock names. Each
measurement is then made by both trees in turn, in rounds of alternating order, and the medians of both are printed with
their ratio.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from bench.pairs import Spread, in_rounds
from bench.report import table
from bench.workloads import DATA_VARIABLE, data_folder

ROOT = Path(__file__).parents[1]
PORTABLE = ("operator-scale",)
"""Measurements of this bench that older trees can make, too, with their own code."""
Medians = Mapping[tuple[str, str], float]
"""(section, row) -> the median that the document states, in the row's own unit."""


def main() -> int:
    """Measure both trees and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.before", description="This tree beside an older commit.")
    parser.add_argument("--rev", required=True, help="the commit to compare with")
    parser.add_argument("--model", type=Path, required=True, help="folder of a model that vLLM runs")
    parser.add_argument(
        "--rounds", type=int, default=1, help="how often each tree makes each measurement (%(default)s)"
    )
    parser.add_argument("--only", action="append", help="make this measurement alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny workloads: to try it, not to believe it")
    given = parser.parse_args()
    before = worktree(given.rev)
    trees = {"before": before, "now": ROOT}
    known = measurements(before)
    names = given.only or [name for name in measurements(ROOT) if name in known or name in PORTABLE]
    rows: list[list[str]] = []
    for name in names:
        sides = {
            side: partial(
                measure, tree, name, given.model.resolve(), quick=given.quick, bench=tree if name in known else ROOT
            )
            for side, tree in trees.items()
        }
        rows += compare(in_rounds(sides, given.rounds))
    print(f"\nNow against {given.rev} ({before.name}), medians of {given.rounds} run(s) of each measurement:\n")
    print(table(["", "before", "now", "now ÷ before"], rows))
    return 0


def worktree(rev: str) -> Path:
    """Check the commit out, with its own locked environment; the folder is named after the commit and kept."""
    commit = run(ROOT, "git", "rev-parse", "--short=12", f"{rev}^{{commit}}").strip()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun" / "before" / commit
    if not (folder / "Makefile").exists():
        run(ROOT, "git", "worktree", "prune")
        run(ROOT, "git", "worktree", "add", "--detach", folder, commit)
    say(f"installing the environment of {commit}")
    run(folder, "make", "install")
    return folder


def measurements(tree: Path) -> list[str]:
    """Ask a tree for the names of its measurements."""
    return run(tree, python(tree), "-c", "from bench.measurements import MEASUREMENTS; print(*MEASUREMENTS)").split()


def measure(tree: Path, name: str, model: Path, *, quick: bool, bench: Path) -> Medians:
    """Let a tree make one measurement, with its own bench or that of another tree, and read its document."""
    say(f"{name}: {tree}")
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "benchmarks.md"
        size = ("--quick",) if quick else ()
        run(bench, python(tree), "-m", "bench", "--model", model, "--only", name, "--write", document, *size)
        return medians(document.read_text(encoding="utf-8"))


def medians(document: str) -> Medians:
    """Read the medians out of a document of `bench.report`."""
    found: dict[tuple[str, str], float] = {}
    section = ""
    for line in document.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if section and line.startswith("| ") and len(cells) >= 5 and re.match(r"-?[\d.,]+", cells[2]):
            found[section, cells[0]] = float(cells[2].split()[0].replace(",", ""))
    return found


def compare(taken: Mapping[str, Iterable[Medians]]) -> list[list[str]]:
    """Make a row of each number that both trees have; the median over the rounds."""
    before, now = list(taken["before"]), list(taken["now"])
    rows = []
    for key in before[0]:
        if all(key in found for found in (*before, *now)):
            old, new = (Spread.of(found[key] for found in side).median for side in (before, now))
            ratio = f"{new / old:.3f}" if old else "-"
            rows.append([": ".join(key), f"{old:.4g}", f"{new:.4g}", ratio])
    return rows


def python(tree: Path) -> Path:
    """Name the interpreter of a tree's environment."""
    return tree / ".venv" / "bin" / "python"


def run(tree: Path, *words: str | Path) -> str:
    """Run a command in a tree; its standard output. What it says beside goes to ours."""
    done = subprocess.run(words, cwd=tree, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, words))} failed in {tree}")
    return done.stdout


def environment() -> dict[str, str]:
    """Make the environment of both trees: each looks for data beside itself, and both must measure the same items."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return {**inherited, DATA_VARIABLE: str(data_folder() or "no-data")}


def say(line: str) -> None:
    """Tell how far it is."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
