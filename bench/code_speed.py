"""Programs a second in the sandbox, beside a process per program as ``evaluate``'s ``code_eval`` makes it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.pairs import Goal, Spread, in_rounds
from bench.report import Row, Section
from evalrun_runner.execution.pool import SandboxPool

CORES = 2
PROGRAM = """
from typing import List

def below_zero(operations: List[int]) -> bool:
    balance = {start}
    for operation in operations:
        balance += operation
        if balance < {start}:
            return True
    return False

def check(candidate):
    assert candidate([]) == False
    assert candidate([1, 2, -3, 1, 2, -3]) == False
    assert candidate([1, 2, -4, 5, 6]) == True
    assert candidate([1, -1, 2, -2, 5, -5, 4, -4]) == False

check(below_zero)
"""
"""A program of the kind and size of HumanEval's."""


def _execute(program: str, verdict: list[str]) -> None:
    exec(program, {})
    verdict.append("passed")


def in_a_process(program: str) -> bool:
    """Run a program as ``code_eval`` does: a manager, a process and a list that they share, for each."""
    with multiprocessing.Manager() as manager:
        verdict = manager.list()
        process = multiprocessing.Process(target=_execute, args=(program, verdict))
        process.start()
        process.join(timeout=4)
        return list(verdict) == ["passed"]


def in_a_new_python(program: str) -> bool:
    """Run a program in a Python of its own, without anything imported."""
    return subprocess.run([sys.executable, "-I", "-c", program], check=False).returncode == 0


def measure(programs: int, rounds: int) -> list[Section]:
    """Measure all three ways in turn."""
    texts = [PROGRAM.format(start=number) for number in range(programs)]
    pool = SandboxPool(size=CORES)
    walls = pool.choose()

    def rate(run: Callable[[str], bool]) -> float:
        start = time.monotonic()
        with ThreadPoolExecutor(CORES) as threads:
            passed = sum(threads.map(run, texts))
        assert passed == programs, f"{passed} of {programs} right programs passed"
        return programs / (time.monotonic() - start)

    def sandboxed(program: str) -> bool:
        return pool.run(program).passed

    rate(sandboxed)
    found = in_rounds(
        {
            "sandbox": lambda: rate(sandboxed),
            "process": lambda: rate(in_a_process),
            "python": lambda: rate(in_a_new_python),
        },
        rounds,
    )
    pool.close()
    return [_section(found["sandbox"], found["process"], found["python"], programs, walls.value)]


def _section(
    sandbox: Sequence[float], process: Sequence[float], python: Sequence[float], programs: int, walls: str
) -> Section:
    how = (
        f"{programs} right programs of HumanEval's kind on {CORES} cores, {CORES} at a time: in warm sandboxes; in a "
        "process with a manager for each, as `evaluate`'s `code_eval` makes it, without any wall; and in a new Python "
        "for each, without any import."
    )
    rows = [
        Row("sandbox", Spread.of(sandbox), Goal(at_least=20.0), "programs/s"),
        Row("sandbox ÷ code_eval's processes", Spread.of_ratios(sandbox, process)),
        Row("sandbox ÷ a new Python", Spread.of_ratios(sandbox, python)),
    ]
    beside = {
        "walls": walls,
        "code_eval's processes": f"{Spread.of(process).median:,.0f} programs/s",
        "a new Python": f"{Spread.of(python).median:,.0f} programs/s",
    }
    return Section("Code of models: programs a second", how, rows, beside)
