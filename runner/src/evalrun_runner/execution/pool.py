"""A few sandboxes for the programs of one process, started when the first program comes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import LifoQueue

from evalrun_runner.errors import SandboxUnavailable
from evalrun_runner.execution import kernel
from evalrun_runner.execution.probes import failed_probes
from evalrun_runner.execution.sandbox import ProgramSandbox, SandboxDied
from evalrun_runner.execution.verdicts import USUAL_LIMITS, Execution, Limits
from evalrun_runner.execution.walls import Walls
from evalrun_runner.machine import available_memory, usable_cpus

MOST_SANDBOXES = 4
"""Sandboxes at once, at most: the processors are the engine's, too."""


class SandboxPool:
    """Sandboxes behind the strongest walls that this machine can set up. Thread-safe.

    Args:
        limits: What each program may use.
        size: Number of sandboxes, which is the number of programs at once; None: one per core, at most 4, and no more
            than may fill half of the memory that is available.
        walls: Walls to try, the strongest first.
    """

    def __init__(
        self, limits: Limits = USUAL_LIMITS, *, size: int | None = None, walls: Sequence[Walls] = tuple(Walls)
    ) -> None:
        self.limits = limits
        self.size = size or usual_size(limits, usable_cpus(), available_memory())
        self._walls = tuple(walls)
        self._chosen: Walls | None = None
        self._starting = threading.Lock()
        self._places: LifoQueue[ProgramSandbox | None] = LifoQueue()
        for _ in range(self.size):
            self._places.put(None)

    def choose(self) -> Walls:
        """Return the walls that hold on this machine, proved by hostile programs.

        Raises:
            SandboxUnavailable: None do; the message says for each why not.
        """
        with self._starting:
            if self._chosen is None:
                self._chosen, sandbox = _first_that_holds(self._walls)
                self._places.get()
                self._places.put(sandbox)
            return self._chosen

    def run(self, program: str, limits: Limits | None = None) -> Execution:
        """Run a program, and return the verdict. A sandbox that dies is replaced, and the program tried once more.

        Args:
            program: The program.
            limits: Its own limits; None: the pool's.

        Raises:
            SandboxUnavailable: This machine can set up no sandbox.
            SandboxDied: There is no verdict: two sandboxes died with this program.
        """
        walls = self.choose()
        sandbox = self._places.get()
        try:
            for attempt in (1, 2):
                try:
                    sandbox = sandbox or ProgramSandbox(walls)
                    return sandbox.run(program, limits or self.limits)
                except SandboxDied:
                    if sandbox is not None:
                        sandbox.close()
                    sandbox = None
                    if attempt == 2:
                        raise
            raise AssertionError("unreachable")
        finally:
            self._places.put(sandbox)

    def close(self) -> None:
        """Wait for the programs that run, and end all sandboxes."""
        for sandbox in [self._places.get() for _ in range(self.size)]:
            if sandbox is not None:
                sandbox.close()
            self._places.put(None)


def usual_size(limits: Limits, cpus: int, memory_bytes: int) -> int:
    """Return how many sandboxes a machine gets: at least one, whatever it has."""
    return max(1, min(MOST_SANDBOXES, cpus, memory_bytes // 2 // limits.memory_bytes))


def _first_that_holds(walls: Sequence[Walls]) -> tuple[Walls, ProgramSandbox]:
    if not kernel.SUPPORTED:
        raise SandboxUnavailable("code of models runs only in a sandbox, and there is one for Linux on x86-64 only")
    reasons = []
    for each in walls:
        try:
            sandbox = ProgramSandbox(each)
        except SandboxDied as error:
            reasons.append(f"{each.value}: {error}")
            continue
        wrong = ["its own programs cannot be run"]
        with suppress(SandboxDied):
            wrong = failed_probes(sandbox.run)
        if not wrong:
            return each, sandbox
        sandbox.close()
        reasons.append(f"{each.value}: {'; '.join(wrong)}")
    listed = "".join(f"\n  {reason}" for reason in reasons)
    raise SandboxUnavailable(
        f"code of models runs only in a sandbox, and this machine can set up none:{listed}\n"
        "hint: allow user namespaces (sysctl user.max_user_namespaces), or run on Linux 6.2 or later with Landlock"
    )
