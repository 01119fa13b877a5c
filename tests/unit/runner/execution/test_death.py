"""However the runner's process ends, its sandboxes and their programs end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from evalrun_runner.execution.sandbox import ProgramSandbox

RUNNER = """
import sys
from evalrun_runner.execution.pool import SandboxPool
from evalrun_runner.execution.verdicts import Limits
from evalrun_runner.execution.walls import Walls
pool = SandboxPool(size=1, walls=[Walls(sys.argv[1])])
pool.run(sys.argv[2], Limits(seconds=600))
"""
PROGRAM = "import ctypes\nctypes.CDLL(None).prctl(15, {name!r}.encode())\nwhile True: pass"


def running(name: str) -> bool:
    """Return whether a process has this name."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text().strip() == name:
                return True
    return False


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not within a minute"
        os.sched_yield()


def test_a_killed_runner_leaves_no_program_behind(sandbox: ProgramSandbox) -> None:
    name = f"endless-{os.getpid() % 100_000}"
    command = [sys.executable, "-P", "-c", RUNNER, sandbox.walls.value, PROGRAM.format(name=name)]
    with subprocess.Popen(command) as runner:
        until(lambda: running(name))
        runner.kill()
    until(lambda: not running(name))
