"""The command ``evalrun oracle``: the solutions of a code benchmark, through the scoring that models get."""

from __future__ import annotations

import json
import time
from pathlib import Path

from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.oracle import Solved, solve
from evalrun_runner.benchmarks.recipe import BenchmarkSpec

NOT_ALL = 3
"""Exit code where a solution does not pass."""


def oracle(task: str, source: Path | None, answer: str | None, *, allow_code: bool, json_output: bool) -> int:
    """Score the solutions of a task or group, print what came of them, and return the exit code.

    Raises:
        InputError: The task is wrong, or runs no code.
        SandboxUnavailable: This machine can set up no sandbox.
    """
    spec = BenchmarkSpec(task, task, source=source, allow_code=True)
    loaded = load_benchmarks([spec], seed=0, allow_code=allow_code)
    found: dict[str, list[Solved]] = {}
    for leaf in loaded.leaves:
        start = time.monotonic()
        found[leaf.name] = list(solve(leaf, answer))
        if not json_output:
            _print(leaf.name, found[leaf.name], time.monotonic() - start)
    if json_output:
        print(json.dumps({name: _plain(solved) for name, solved in found.items()}, indent=2))
    return 0 if all(one.passed for solved in found.values() for one in solved) else NOT_ALL


def _print(name: str, solved: list[Solved], seconds: float) -> None:
    passed = sum(one.passed for one in solved)
    print(f"{name}: {passed:,} of {len(solved):,} solutions pass, {len(solved) / seconds:,.0f} a second")
    for one in solved:
        if not one.passed:
            print(f"  document {one.doc_id}: {one.end}{f', {one.detail!r}' if one.detail else ''}")


def _plain(solved: list[Solved]) -> dict[str, object]:
    failed = [{"doc_id": one.doc_id, "end": one.end, "detail": one.detail} for one in solved if not one.passed]
    return {"documents": len(solved), "passed": len(solved) - len(failed), "failed": failed}
