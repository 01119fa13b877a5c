"""CPU time of commands that people wait for at a prompt, each in a process of its own, with its bytecode in place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.pairs import Goal, Spread
from bench.report import Row, Section

EVALRUN = Path(sys.executable).with_name("evalrun")
EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart.yaml"
TRIES = 7
MOST_SECONDS = {"evalrun --help": 0.15, "evalrun validate FILE": 0.5}


def cpu_seconds(arguments: Sequence[str]) -> float:
    """Run the command once; return the CPU time of its process, user and system."""
    process = subprocess.Popen([EVALRUN, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime


def measure(say: Callable[[str], None]) -> Section:
    """Measure help and validation."""
    rows = []
    for (what, most), arguments in zip(MOST_SECONDS.items(), (["--help"], ["validate", str(EXAMPLE)]), strict=True):
        cpu_seconds(arguments)  # writes the bytecode
        spread = Spread.of(cpu_seconds(arguments) for _ in range(TRIES))
        say(f"{what}: {spread.median:.3f} s of CPU")
        rows.append(Row(what, spread, Goal(at_most=most), "s"))
    assert __doc__ is not None
    return Section("The command line", __doc__, rows)
