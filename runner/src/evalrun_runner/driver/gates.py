"""Gates: a bound on one score. Incomplete evidence never passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalrun_api import Benchmark, Gate, GateResult, Reason, Score, Verdict
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver.scores import filters_with, keys_of, meant_filter, meant_task, score_of
from evalrun_runner.errors import EvalRunError

Baseline = Results | EvalRunError | None
"""Results of the run to compare with, or why they cannot be read; None: it has none."""

TOLERANCE, NOTHING = 1e-9, 1e-12
"""Part of a number by which a score may miss its bound and still count as equal (0.3 is no less than 0.1 + 0.2), and
what counts as 0."""
MOST_MESSAGE = 1000
"""Characters of a message."""


def judge(
    gates: Sequence[Gate],
    results: Results,
    baselines: Sequence[Baseline],
    benchmarks: Sequence[Benchmark] = (),
) -> tuple[GateResult, ...]:
    """Judge every gate.

    Args:
        gates: The gates.
        results: The run's results.
        baselines: What each gate compares with, in the gates' order.
        benchmarks: The run's benchmarks, whose names a gate may use.
    """
    padded = [*baselines, *([None] * (len(gates) - len(baselines)))]
    return tuple(_judge(gate, results, baseline, benchmarks) for gate, baseline in zip(gates, padded, strict=True))


def lost_items(results: Results, score: Score) -> int:
    """Count the items that a score lacks: without a score, in the task or in the tasks of the group that have it."""
    accounts = results.evalrun.tasks
    key = f"{score.metric},{score.filter}"
    leaves = _leaves(results.group_subtasks, score.task)
    # A task none of whose items is scored has no metrics at all.
    concerned = [leaf for leaf in leaves if not (there := keys_of(results, leaf)) or key in there]
    return sum(accounts[leaf].without_score for leaf in concerned if leaf in accounts)


def _judge(gate: Gate, results: Results, baseline: Baseline, benchmarks: Sequence[Benchmark]) -> GateResult:
    task = meant_task(gate.task, results.results, benchmarks)
    filter_name = meant_filter(gate, keys_of(results, task))
    score = None if filter_name is None else score_of(results, task, gate.metric, filter_name)
    if score is None or score.value is None:
        message = _why_missing(gate, task, results, score)
        return _inconclusive(gate, Reason.SCORE_MISSING, message, score)
    lost = lost_items(results, score)
    if lost:
        message = f"{lost} items of {task} have no score: failed or quarantined"
        return _inconclusive(gate, Reason.INCONCLUSIVE, message, score)
    if gate.baseline is not None:
        return _against_baseline(gate, score, score.value, baseline)
    return _within_bounds(gate, score, score.value)


def _why_missing(gate: Gate, task: str, results: Results, score: Score | None) -> str:
    if score is not None:
        found = next(
            (
                one.reason
                for one in results.evalrun.unscored or ()
                if (one.task, one.metric, one.filter) == (task, score.metric, score.filter)
            ),
            "it is not a finite number",
        )
        return f"{score.metric},{score.filter} of {task} has no value: {found}"
    there = keys_of(results, task)
    if gate.filter is None and (several := filters_with(gate.metric, there)):
        return f"the gate names no filter, and {gate.metric} of {task} has several: {', '.join(several)}"
    wanted = gate.metric if gate.filter is None else f"{gate.metric},{gate.filter}"
    return f"there is no score {wanted} of {task}; there is: {', '.join(sorted(there)) or f'no score of {task}'}"


def _within_bounds(gate: Gate, score: Score, value: float, difference: float | None = None) -> GateResult:
    message = None
    if gate.min is not None and _is_above(gate.min, value):
        message = f"{_digits(value, gate.min)} is below the least allowed, {gate.min:g}"
    if gate.max is not None and _is_above(value, gate.max):
        message = f"{_digits(value, gate.max)} is above the greatest allowed, {gate.max:g}"
    if message is not None:
        return GateResult.of(gate, Verdict.FAILED, Reason.GATE_FAILED, message=message, judged=score, value=difference)
    return GateResult.of(gate, Verdict.PASSED, Reason.GATES_PASSED, judged=score, value=difference)


def _against_baseline(gate: Gate, score: Score, value: float, baseline: Baseline) -> GateResult:
    if isinstance(baseline, EvalRunError):
        return _inconclusive(gate, Reason.BASELINE_MISSING, f"the baseline cannot be read: {baseline}", score)
    if baseline is None or gate.max_regression is None:
        return _inconclusive(gate, Reason.BASELINE_MISSING, "the baseline is not there, or is not finished", score)
    earlier = score_of(baseline, score.task, score.metric, score.filter)
    if earlier is None or earlier.value is None:
        there = ", ".join(sorted(keys_of(baseline, score.task))) or f"no score of {score.task}"
        message = f"the baseline has no score {score.metric},{score.filter} of {score.task}; it has: {there}"
        return _inconclusive(gate, Reason.BASELINE_MISSING, message, score)
    difference = value - earlier.value
    if lost := lost_items(baseline, earlier):
        message = f"{lost} items of {score.task} have no score in the baseline: failed or quarantined"
        return _inconclusive(gate, Reason.INCONCLUSIVE, message, score, difference)
    sign = -1 if earlier.lower_is_better else 1
    allowed = 0.0 - sign * gate.max_regression
    message = f"{value:.4f} against {earlier.value:.4f} ({_change(difference)}, allowed {allowed:+g})"
    if _is_above(-sign * difference, gate.max_regression, scale=max(abs(value), abs(earlier.value))):
        return GateResult.of(gate, Verdict.FAILED, Reason.GATE_FAILED, message=message, judged=score, value=difference)
    bounds = _within_bounds(gate, score, value, difference)
    return bounds if bounds.verdict is not Verdict.PASSED else bounds.model_copy(update={"message": message})


def _inconclusive(
    gate: Gate, reason: Reason, message: str, score: Score | None, difference: float | None = None
) -> GateResult:
    short = message[:MOST_MESSAGE]
    return GateResult.of(gate, Verdict.INCONCLUSIVE, reason, message=short, judged=score, value=difference)


def _is_above(value: float, bound: float, scale: float = 0.0) -> bool:
    """Return whether a value is above a bound by more than the tolerance.

    Args:
        value: The value.
        bound: The bound.
        scale: Size of the numbers that the value is the difference of, whose rounding it carries.
    """
    return value - bound > max(NOTHING, TOLERANCE * max(abs(value), abs(bound), scale))


def _digits(value: float, bound: float) -> str:
    """Format a value with as many digits as it takes to see on which side of the bound it is."""
    short = f"{value:.6g}"
    return repr(value) if float(short) == float(f"{bound:.6g}") else short


def _change(difference: float) -> str:
    return f"{difference:+.4f}" if abs(difference) >= 0.00005 or not difference else f"{difference:+.1g}"


def _leaves(subtasks: Mapping[str, Sequence[str]], task: str) -> set[str]:
    # lm-eval has listed tasks outside of groups, too, with no subtasks.
    if not subtasks.get(task):
        return {task}
    return {leaf for child in subtasks[task] for leaf in _leaves(subtasks, child)}
