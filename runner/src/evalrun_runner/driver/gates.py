"""Judge gates: what the items of a score prove about its bounds. Incomplete evidence never passes. Pure.

Each criterion of a gate is decided by one-sided confidence bounds (``gate_decisions``), and all gates together: a run
passes if every one does, and a failure counts only if Holm's procedure over all of them confirms it. With
``rule: point`` the bare scores are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evalrun_api import Benchmark, Gate, GateResult, GateRule, Reason, Score, Verdict
from evalrun_api.wire.outputs import Results
from evalrun_runner.driver import gate_words
from evalrun_runner.driver.gate_decisions import (
    OwnEvidence,
    PairedEvidence,
    decide_own,
    decide_paired,
    decide_points,
)
from evalrun_runner.driver.gate_items import ItemReader, ScoreItems, pair_leaf
from evalrun_runner.driver.scores import filters_with, keys_of, meant_filter, meant_task, score_of
from evalrun_runner.errors import EvalRunError, InputError, LedgerCorrupt, ObjectMissing, StoreError
from evalrun_runner.statistics.decisions import GateDecision, confirm_failures, is_upper, with_truncated

MOST_MESSAGE = 1000
"""Characters of a message."""


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A finished run with its items."""

    results: Results
    items: ItemReader


Baseline = JudgedRun | EvalRunError | None
"""The run to compare with, or why it cannot be read; None: it has none."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A gate with what decided it, before the gates are looked at together."""

    gate: Gate
    score: Score | None
    decisions: tuple[GateDecision, ...] = ()
    result: GateResult | None = None
    """The verdict where there is no decision to make."""
    own: OwnEvidence | None = None
    paired: PairedEvidence | None = None
    baseline_score: float | None = None
    lower_is_better: bool = False


def judge(
    gates: Sequence[Gate],
    run: JudgedRun,
    baselines: Sequence[Baseline],
    benchmarks: Sequence[Benchmark] = (),
) -> tuple[GateResult, ...]:
    """Judge every gate.

    Args:
        gates: The gates.
        run: The run.
        baselines: What each gate compares with, in the gates' order.
        benchmarks: The run's benchmarks, whose names a gate may use.
    """
    padded = [*baselines, *([None] * (len(gates) - len(baselines)))]
    judged = [_judge(gate, run, baseline, benchmarks) for gate, baseline in zip(gates, padded, strict=True)]
    family = confirm_failures([replace(d, advisory=bool(one.gate.advisory)) for one in judged for d in one.decisions])
    found, place = [], 0
    for one in judged:
        decisions = family[place : place + len(one.decisions)]
        place += len(one.decisions)
        found.append(one.result or _verdict(one, decisions))
    return tuple(found)


def lost_items(results: Results, score: Score) -> int:
    """Count the items that a score lacks: without a score, in the task or in the tasks of the group that have it."""
    accounts = results.evalrun.tasks
    return sum(accounts[leaf].without_score for leaf in _concerned(results, score) if leaf in accounts)


def _concerned(results: Results, score: Score) -> list[str]:
    """Return the leaf tasks that a score is made of, or would be if any of their items had a score."""
    key = f"{score.metric},{score.filter}"
    leaves = _leaves(results.group_subtasks, score.task)
    # A task none of whose items is scored has no metrics at all.
    return [leaf for leaf in leaves if not (there := keys_of(results, leaf)) or key in there]


def _judge(gate: Gate, run: JudgedRun, baseline: Baseline, benchmarks: Sequence[Benchmark]) -> _Judged:
    results = run.results
    task = meant_task(gate.task, results.results, benchmarks)
    filter_name = meant_filter(gate, keys_of(results, task))
    score = None if filter_name is None else score_of(results, task, gate.metric, filter_name)
    if score is None or score.value is None:
        return _undecided(gate, Reason.SCORE_MISSING, _why_missing(gate, task, results, score), score)
    earlier: Score | None = None
    if gate.baseline is not None:
        if not isinstance(baseline, JudgedRun):
            why = "is not there, or is not finished" if baseline is None else f"cannot be read: {baseline}"
            return _undecided(gate, Reason.BASELINE_MISSING, f"the baseline {why}", score)
        earlier = score_of(baseline.results, score.task, score.metric, score.filter)
        if earlier is None or earlier.value is None:
            there = ", ".join(sorted(keys_of(baseline.results, score.task))) or f"no score of {score.task}"
            message = f"the baseline has no score {score.metric},{score.filter} of {score.task}; it has: {there}"
            return _undecided(gate, Reason.BASELINE_MISSING, message, score)
    lower = _lower_is_better(gate, score, earlier)
    try:
        if gate.resolved_rule is GateRule.POINT:
            return _by_points(gate, run, score, baseline, earlier, lower_is_better=lower)
        return _by_items(gate, run, score, baseline, lower_is_better=lower)
    except (InputError, LedgerCorrupt, ObjectMissing, StoreError) as error:
        # The scores stand, and a part that has been damaged since then is no reason to lose them.
        return _undecided(gate, Reason.INCONCLUSIVE, f"the items cannot be read: {error}", score)


def _lower_is_better(gate: Gate, score: Score, earlier: Score | None) -> bool:
    if gate.lower_is_better is not None:
        return gate.lower_is_better
    return bool(score.lower_is_better or (earlier is not None and earlier.lower_is_better))


def _by_points(
    gate: Gate, run: JudgedRun, score: Score, baseline: Baseline, earlier: Score | None, *, lower_is_better: bool
) -> _Judged:
    if lost := lost_items(run.results, score):
        return _undecided(gate, Reason.INCONCLUSIVE, gate_words.lost(lost, score.task), score)
    if isinstance(baseline, JudgedRun) and earlier is not None and (lost := lost_items(baseline.results, earlier)):
        return _undecided(gate, Reason.INCONCLUSIVE, gate_words.lost(lost, score.task, "in the baseline"), score)
    assert score.value is not None
    before = None if earlier is None else earlier.value
    decisions = decide_points(gate, score.value, before, lower_is_better=lower_is_better)
    low, high = _extremes(run, score)
    # The baseline's answers that were cut may have been as good or as bad in the other direction.
    least, most = (
        _extremes(baseline, earlier) if isinstance(baseline, JudgedRun) and earlier is not None else (before, before)
    )
    if (low, least) != (high, most):
        decisions = tuple(
            with_truncated(
                seen, *((above, below) if is_upper(seen.criterion, lower_is_better=lower_is_better) else (below, above))
            )
            for seen, below, above in zip(
                decisions,
                decide_points(gate, low, most, lower_is_better=lower_is_better),
                decide_points(gate, high, least, lower_is_better=lower_is_better),
                strict=True,
            )
        )
    return _Judged(gate, score, decisions, baseline_score=before, lower_is_better=lower_is_better)


def _extremes(run: JudgedRun, score: Score) -> tuple[float, float]:
    """Return the score with every answer wrong that was cut in its thinking or after it, and with every one right."""
    assert score.value is not None
    accounts = [run.results.evalrun.tasks.get(leaf) for leaf in _concerned(run.results, score)]
    if not any(
        account.answers.truncated for account in accounts if account is not None and account.answers is not None
    ):
        return score.value, score.value  # no item needs to be read
    items = items_of(run, score)
    if items is None or not items.cut:
        return score.value, score.value
    return items.extremes or (-math.inf, math.inf)


def _by_items(gate: Gate, run: JudgedRun, score: Score, baseline: Baseline, *, lower_is_better: bool) -> _Judged:
    items = items_of(run, score)
    if items is None or items.weighting is None:
        missing = 0 if items is None else items.missing
        message = gate_words.lost(missing, score.task) if missing else gate_words.no_mean(score)
        return _undecided(gate, Reason.INCONCLUSIVE, message, score)
    own = decide_own(gate, items) if gate.min is not None or gate.max is not None else None
    paired: PairedEvidence | None = None
    if isinstance(baseline, JudgedRun):
        pairs = []
        for leaf in items.leaves:
            there = baseline.items.leaf(leaf.task, score.metric, score.filter)
            if there is None:
                message = f"the baseline has no items of {leaf.task} to compare with item by item"
                return _undecided(gate, Reason.BASELINE_MISSING, message, score)
            pairs.append(pair_leaf(leaf, there))
        if lonely := sum(pair.only_here for pair in pairs):
            total = sum(len(leaf.values) for leaf in items.leaves)
            return _undecided(gate, Reason.INCONCLUSIVE, gate_words.lonely(lonely, total, score.task), score)
        paired = decide_paired(gate, pairs, items.weighting, lower_is_better=lower_is_better)
    decisions = (*(own.decisions if own else ()), *(paired.decisions if paired else ()))
    before = None if paired is None else paired.baseline_score
    return _Judged(
        gate, score, decisions, own=own, paired=paired, baseline_score=before, lower_is_better=lower_is_better
    )


def items_of(run: JudgedRun, score: Score) -> ScoreItems | None:
    """Return the items of a score that has a value; None where not all of its tasks have numbers for them."""
    assert score.value is not None
    found = [run.items.leaf(leaf, score.metric, score.filter) for leaf in _concerned(run.results, score)]
    leaves = tuple(leaf for leaf in found if leaf is not None)
    return ScoreItems(score.value, leaves) if leaves and len(leaves) == len(found) else None


def _verdict(one: _Judged, decisions: Sequence[GateDecision]) -> GateResult:
    gate, score = one.gate, one.score
    assert score is not None
    verdict = Verdict.overall(decision.verdict for decision in decisions)
    assert verdict is not None, "a gate has at least one criterion"
    reason = {Verdict.PASSED: Reason.GATES_PASSED, Verdict.FAILED: Reason.GATE_FAILED}.get(verdict, Reason.INCONCLUSIVE)
    unconfirmed = sum(a.verdict is not b.verdict for a, b in zip(one.decisions, decisions, strict=True))
    difference = None
    if one.baseline_score is not None and score.value is not None:
        difference = one.paired.difference if one.paired is not None else score.value - one.baseline_score
    message = gate_words.message(gate, score, decisions, one.own, one.paired, one.baseline_score)
    if unconfirmed:
        message += gate_words.UNCONFIRMED
    result = GateResult.of(gate, verdict, reason, message=message[:MOST_MESSAGE], judged=score, value=difference)
    by_items = one.own is not None or one.paired is not None
    limits = one.paired.limits if one.paired else (decisions[0].low, decisions[0].high) if one.own else None
    evidence = one.paired or one.own
    return result.model_copy(
        update={
            "baseline_score": one.baseline_score,
            "lower_is_better": True if one.lower_is_better and gate.baseline is not None else None,
            "confidence": gate.resolved_confidence if by_items else None,
            "interval": None if limits is None else gate_words.finite_pair(limits),
            "method": None if evidence is None else evidence.method,
        }
    )


def _undecided(gate: Gate, reason: Reason, message: str, score: Score | None) -> _Judged:
    result = GateResult.of(gate, Verdict.INCONCLUSIVE, reason, message=message[:MOST_MESSAGE], judged=score)
    return _Judged(gate, score, result=result)


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


def _leaves(subtasks: Mapping[str, Sequence[str]], task: str) -> list[str]:
    # lm-eval has listed tasks outside of groups, too, with no subtasks.
    if not subtasks.get(task):
        return [task]
    return list(dict.fromkeys(leaf for child in subtasks[task] for leaf in _leaves(subtasks, child)))
