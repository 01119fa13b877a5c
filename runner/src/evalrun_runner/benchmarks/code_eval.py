"""The metric ``code_eval`` of ``evaluate``, with the same formula and results, executed in a sandbox.

lm-eval's code benchmarks ask ``evaluate.load("code_eval")``, which fetches a program from the hub and runs what models
write in processes of the same user. Here the same name gives ``CodeEval``, and there is no way around it: where no
sandbox can be set up, the metric raises.
"""

from __future__ import annotations

import atexit
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import ModuleType
from typing import Any

import lm_eval.api.metrics  # noqa: F401  # fills the registry, which looks for it only while it is empty
import numpy as np
from lm_eval.api.registry import register_metric
from lm_eval.api.task import Task

from evalrun_runner.errors import InputError
from evalrun_runner.execution.pool import SandboxPool
from evalrun_runner.execution.verdicts import Execution

NAMES = frozenset({"code_eval", "evaluate-metric/code_eval"})
_EVALUATE = "evaluate"
_record: ContextVar[list[Execution] | None] = ContextVar("executions", default=None)


class CodeEval:
    """The metric as lm-eval's tasks use it. Thread-safe.

    Args:
        pool: Sandboxes for the programs.
    """

    name = "code_eval"

    def __init__(self, pool: SandboxPool) -> None:
        self.pool = pool
        self._importing = ContextVar("importing", default=False)

    @contextmanager
    def importing_tasks(self) -> Iterator[None]:
        """Run nothing inside the block: modules of tasks try the metric while they are imported."""
        before = self._importing.set(True)
        try:
            yield
        finally:
            self._importing.reset(before)

    def compute(
        self,
        *,
        predictions: Sequence[Sequence[str]],
        references: Sequence[str],
        k: Sequence[int] = (1, 10, 100),
        num_workers: int = 4,
        timeout: float = 3.0,
    ) -> tuple[dict[str, Any], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """Run every candidate with its test.

        Args:
            predictions: Candidates of each problem.
            references: Test of each problem.
            k: Numbers of tries; those above the number of candidates are left out.
            num_workers: Without effect: the pool has its own number.
            timeout: Processor time of a program, in seconds.

        Returns:
            pass@k by name, and the verdicts by problem, as ``evaluate`` has them.

        Raises:
            SandboxUnavailable: This machine can set up no sandbox.
            SandboxDied: A program has no verdict.
        """
        if self._importing.get():
            return {}, {}
        limits = replace(self.pool.limits, seconds=float(timeout))
        results: defaultdict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for problem, (candidates, test) in enumerate(zip(predictions, references, strict=True)):
            for number, candidate in enumerate(candidates):
                found = self.pool.run(f"{candidate}\n{test}", limits)
                if (record := _record.get()) is not None:
                    record.append(found)
                verdict = {
                    "task_id": problem,
                    "passed": found.passed,
                    "result": found.detail or found.cause.value,
                    "completion_id": number,
                }
                results[problem].append((number, verdict))
        total = np.array([len(verdicts) for verdicts in results.values()])
        right = np.array([sum(verdict["passed"] for _, verdict in verdicts) for verdicts in results.values()])
        tries = [one for one in k if (total >= one).all()]
        return {f"pass@{one}": estimate_pass_at_k(total, right, one).mean() for one in tries}, results


def estimate_pass_at_k(total: np.ndarray[Any, Any], right: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
    """Estimate pass@k of each problem, to the last digit of ``evaluate``'s: the same operations in the same order.

    ``statistics.repeats.pass_at_k`` is the same number by another way.
    """

    def one(n: int, c: int) -> float:
        return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))

    return np.array([one(int(n), int(c)) for n, c in zip(total, right, strict=True)])


class _Evaluate(ModuleType):
    """Stand-in for ``evaluate``, which is imported (ten seconds) only where something else of it is asked for."""

    def __init__(self, code_eval: CodeEval) -> None:
        super().__init__(_EVALUATE)
        self.code_eval = code_eval
        self._real: ModuleType | None = None

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """Return the metric of a name."""
        return self.code_eval if path in NAMES else self._whole().load(path, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self._whole(), name)

    def _whole(self) -> ModuleType:
        if self._real is None:
            del sys.modules[_EVALUATE]
            try:
                self._real = importlib.import_module(_EVALUATE)
            finally:
                sys.modules[_EVALUATE] = self
        return self._real


@register_metric(  # type: ignore[untyped-decorator]  # lm-eval ships no types
    metric="code_eval", higher_is_better=True, output_type="generate_until", aggregation="mean"
)
def code_eval_by_name(
    references: Sequence[str], predictions: Sequence[str | Sequence[str]], k: Sequence[int] = (1,)
) -> dict[str, Any]:
    """Compute pass@k for a YAML that names the metric itself, which needs no function of its own.

    Args:
        references: Test of each document.
        predictions: Answer of each document, or its answers where no filter takes the first one.
        k: Numbers of tries.
    """
    candidates = [[one] if isinstance(one, str) else list(one) for one in predictions]
    return confine_code().compute(references=references, predictions=candidates, k=k)[0]


def confine_code() -> CodeEval:
    """Let every task of this process get the sandboxed metric under its name; idempotent. Nothing is started yet."""
    there = sys.modules.get(_EVALUATE)
    if not isinstance(there, _Evaluate):
        stand_in = _Evaluate(CodeEval(SandboxPool()))
        stand_in._real = there
        sys.modules[_EVALUATE] = there = stand_in
        atexit.register(stand_in.code_eval.pool.close)
    return there.code_eval


def prove_sandbox() -> None:
    """Set up a sandbox, let hostile programs try it, and end it again.

    Raises:
        SandboxUnavailable: This machine can set up none that holds.
    """
    pool = confine_code().pool
    pool.choose()
    pool.close()


def runs_code(task: Task) -> bool:
    """Return whether a task runs code that the model writes: by its YAML (``unsafe_code``) or by its metrics."""
    return bool(getattr(task, "UNSAFE_CODE", False)) or _uses_code_eval(task)


def check_runs_by_code_eval(name: str, task: Task) -> None:
    """Refuse a task that runs code in a way of its own, which no sandbox would hold.

    Raises:
        InputError: None of its metrics has ``code_eval``.
    """
    if not _uses_code_eval(task):
        raise InputError(
            f"task {name!r} runs code that the model writes (unsafe_code) by a program of its own, without a sandbox: "
            "expected a metric that uses code_eval, as humaneval and mbpp do"
        )


def _uses_code_eval(task: Task) -> bool:
    functions = [*getattr(task, "_metric_fn_list", {}).values(), task.get_config("process_results")]
    return any(_has_code_eval(function) for function in functions if callable(function))


def _has_code_eval(function: Any) -> bool:
    if function is code_eval_by_name or isinstance(getattr(function, "__self__", None), CodeEval):
        return True
    # lm-eval keeps the bound __call__ of a function, and functions of YAML are partial objects at times.
    for wrapper in ("__self__", "func"):
        inner = getattr(function, wrapper, None)
        function = inner if callable(inner) else function
    held = getattr(function, "__globals__", {})
    return any(isinstance(value, CodeEval) for value in list(held.values()))


@contextmanager
def recorded_executions() -> Iterator[list[Execution]]:
    """Collect the verdicts on all programs that this thread runs inside the block, in order."""
    found: list[Execution] = []
    before = _record.set(found)
    try:
        yield found
    finally:
        _record.reset(before)


def as_text(executions: Sequence[Execution]) -> list[Mapping[str, str]]:
    """Return verdicts as plain data for a part."""
    return [{"cause": one.cause.value, "detail": one.detail} for one in executions]
