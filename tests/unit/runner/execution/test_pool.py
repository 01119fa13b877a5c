"""Sandboxes are proved before a model's code runs, replaced when they die, and never done without."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.errors import SandboxUnavailable
from evalrun_runner.execution.pool import SandboxPool, usual_size
from evalrun_runner.execution.probes import failed_probes
from evalrun_runner.execution.sandbox import ProgramSandbox
from evalrun_runner.execution.verdicts import Execution, Limits, ProgramEnd


def test_walls_hold_here(sandbox: ProgramSandbox) -> None:
    assert failed_probes(sandbox.run) == []


def test_a_sandbox_that_lets_anything_pass_is_found_out() -> None:
    def careless(program: str, limits: Limits) -> Execution:
        return Execution(ProgramEnd.PASSED)

    wrong = failed_probes(careless)
    for said in ("sockets can be opened", "processes can be made", "memory has no limit", "a wrong program passes"):
        assert any(said in each for each in wrong)


def test_a_sandbox_that_refuses_everything_is_found_out() -> None:
    wrong = failed_probes(lambda program, limits: Execution(ProgramEnd.RAISED, "no"))
    assert any("a right program fails" in each for each in wrong)


@given(st.integers(1, 256), st.integers(0, 1 << 40))
def test_sandboxes_leave_half_of_the_memory(cpus: int, memory: int) -> None:
    size = usual_size(Limits(), cpus, memory)
    assert 1 <= size <= min(4, cpus)
    assert size == 1 or size * Limits().memory_bytes <= memory / 2


def test_without_walls_nothing_runs() -> None:
    pool = SandboxPool(walls=())
    with pytest.raises(SandboxUnavailable, match="only in a sandbox"):
        pool.run("assert True")


def test_programs_of_many_threads_have_their_own_verdicts() -> None:
    pool = SandboxPool(size=2)
    programs = [f"assert {number} % 3 == 0" for number in range(30)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(pool.run, programs))
    pool.close()
    assert [one.passed for one in found] == [number % 3 == 0 for number in range(30)]


def test_a_dead_sandbox_is_replaced() -> None:
    pool = SandboxPool(size=1)
    pool.choose()
    sandbox = pool._places.get()
    assert sandbox is not None
    os.killpg(sandbox._process.pid, signal.SIGKILL)
    sandbox._process.wait()
    pool._places.put(sandbox)
    assert pool.run("assert True").passed
    pool.close()
