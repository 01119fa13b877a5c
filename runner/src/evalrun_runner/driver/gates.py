"""Gates: a bound on one score. Incomplete evidence never passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalrun_api import Gate, GateResult, Reason, Verdict
from evalrun_api.wire.outputs import Results
from evalrun_runner.errors import EvalRunError

Baseline = Results | EvalRunError | None
"""Results of the run to compare with, or why they cannot be read; None: it has none."""


def judge(gates: Sequence[Gate], results: Results, baselines: Sequence[Baseline]) -> tuple[GateResult, ...]:
    """Judge every gate. ``baselines`` are in the gates' order."""
    padded = [*baselines, *([None] * (len(gates) - len(baselines)))]
    return tuple(_judge(gate, results, baseline) for gate, baseline in zip(gates, padded, strict=True))


def score_of(results: Results, task: str, metric: str, filter_name: str) -> float | None:
    """Find one score; None if it is not there or not a number."""
    value = results.results.get(task, {}).get(f"{metric},{filter_name}")
    return float(value) if isinstance(value, int | float) and value == value else None  # noqa: PLR0124  NaN


def _judge(gate: Gate, results: Results, baseline: Baseline) -> GateResult:
    value = score_of(results, gate.task, gate.metric, gate.resolved_filter)
    if value is None:
        there = ", ".join(sorted(_names(results, gate.task))) or f"no task {gate.task}"
        message = f"there is no score {gate.metric},{gate.resolved_filter} of {gate.task}; there is: {there}"
        return GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.SCORE_MISSING, message=message[:1000])
    lost = _lost_items(results, gate.task)
    if lost:
        message = f"{lost} items of {gate.task} have no score: failed or quarantined"
        return GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.INCONCLUSIVE, message=message, value=value)
    if gate.baseline is not None:
        return _against_baseline(gate, value, baseline)
    return _within_bounds(gate, value)


def _within_bounds(gate: Gate, value: float) -> GateResult:
    message = None
    if gate.min is not None and value < gate.min:
        message = f"{value:.6g} is below the least allowed, {gate.min:g}"
    if gate.max is not None and value > gate.max:
        message = f"{value:.6g} is above the greatest allowed, {gate.max:g}"
    if message is not None:
        return GateResult.of(gate, Verdict.FAILED, Reason.GATE_FAILED, message=message, value=value)
    return GateResult.of(gate, Verdict.PASSED, Reason.GATES_PASSED, value=value)


def _against_baseline(gate: Gate, value: float, baseline: Baseline) -> GateResult:
    if isinstance(baseline, EvalRunError):
        message = f"the baseline cannot be read: {baseline}"[:1000]
        return GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.BASELINE_MISSING, message=message, value=value)
    before = None if baseline is None else score_of(baseline, gate.task, gate.metric, gate.resolved_filter)
    if baseline is None or before is None or gate.max_regression is None:
        message = "the baseline has no such score, or is not finished"
        return GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.BASELINE_MISSING, message=message, value=value)
    lower_is_better = baseline.higher_is_better.get(gate.task, {}).get(gate.metric) is False
    loss = value - before if lower_is_better else before - value
    lost = _lost_items(baseline, gate.task)
    if lost:
        message = f"{lost} items of {gate.task} have no score in the baseline: failed or quarantined"
        return GateResult.of(gate, Verdict.INCONCLUSIVE, Reason.INCONCLUSIVE, message=message, value=value - before)
    bounds = _within_bounds(gate, value)
    if loss > gate.max_regression:
        message = f"{value:.6g} against {before:.6g}: a loss of {loss:.6g}, more than {gate.max_regression:g}"
        return GateResult.of(gate, Verdict.FAILED, Reason.GATE_FAILED, message=message, value=value - before)
    if bounds.verdict is not Verdict.PASSED:
        return bounds
    return GateResult.of(gate, Verdict.PASSED, Reason.GATES_PASSED, value=value - before)


def _names(results: Results, task: str) -> list[str]:
    entry = results.results.get(task, {})
    return [name for name in entry if "," in name and "_stderr," not in name]


def _lost_items(results: Results, task: str) -> int:
    """Count the items without a score in a leaf task, or in all leaf tasks of a group."""
    accounts = results.evalrun.tasks
    leaves = _leaves(results.group_subtasks, task)
    return sum(accounts[leaf].without_score for leaf in leaves if leaf in accounts)


def _leaves(subtasks: Mapping[str, Sequence[str]], task: str) -> set[str]:
    # lm-eval has listed tasks outside of groups, too, with no subtasks.
    if not subtasks.get(task):
        return {task}
    return {leaf for child in subtasks[task] for leaf in _leaves(subtasks, child)}
