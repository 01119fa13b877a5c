"""Command: ``python -m bench.statistics --write docs/statistics.md [--repetitions 10000] [--only NAME]``."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench.statistics.page import render
from bench.statistics.tables import TABLES

REPETITIONS = 10_000


def main() -> int:
    """Compute the tables, and print and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.statistics", description="How often intervals hold.")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="simulated data sets of a cell")
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("--only", choices=[*TABLES], action="append", help="this table alone; may be repeated")
    given = parser.parse_args()
    if given.repetitions < 200:
        parser.error("--repetitions: fewer than 200 data sets say nothing about a coverage of 95%")
    started, tables = time.process_time(), []
    for name in given.only or TABLES:
        tables.append(TABLES[name](given.repetitions))
        print(f"[{time.process_time() - started:6.1f} s] {name}", file=sys.stderr, flush=True)
    made = {
        "simulated data sets of a cell": f"{given.repetitions:,} (less where a table says so)",
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "CPU time": f"{(time.process_time() - started) / 60:.1f} minutes",
    }
    introduction = Path(__file__).with_name("introduction.md").read_text(encoding="utf-8")
    text = render(introduction, tables, made)
    print(text)
    if given.write is not None:
        given.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
