"""Decide the criteria of one gate on the items of its score. Pure.

`min` and `max` are decided on the run's own items, a regression on the items that it has in common with its baseline.
Of a group whose tasks count alike, each item counts by the inverse of its task's size.

Items without a score leave a criterion undecided. What it would be if all of them were wrong (in the candidate; in the
baseline: right), and if all were right, is decided beside. Items whose answers were cut in their thinking or after it
have a score, and leave a criterion undecided only if they could turn it: one of the same two verdicts is another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from evalrun_api import Gate, Verdict
from evalrun_runner.comparing.declared_clusters import join_clusters
from evalrun_runner.comparing.scored import BoolArray, FloatArray, IntArray
from evalrun_runner.driver.gate_items import LeafItems, PairedLeaf, ScoreItems, Weighting
from evalrun_runner.statistics.decisions import (
    Criterion,
    GateDecision,
    decide_max,
    decide_min,
    decide_point,
    decide_regression,
    decide_relative_regression,
    with_missing,
    with_truncated,
)
from evalrun_runner.statistics.groups import Leaf, group_bounds
from evalrun_runner.statistics.interval import Method
from evalrun_runner.statistics.paired_data import BinaryComparison, PairedData, compare
from evalrun_runner.statistics.scores import UNIT, ScoreData, ScoreKind, gate_bounds

Bounds = tuple[float, float]
OneSided = Callable[[float], Bounds]


@dataclass(frozen=True, slots=True)
class OwnEvidence:
    """What the run's own items say of its score."""

    decisions: tuple[GateDecision, ...]
    method: str
    """How the bounds were computed."""
    missing: int
    """Items without a score."""
    items: int
    """All items."""
    binary: bool
    """Whether every value is 0 or 1."""
    cut: int = 0
    """Items with a score whose answers were cut in their thinking or after it."""


@dataclass(frozen=True, slots=True)
class PairedEvidence:
    """What the common items of a run and its baseline say of the difference."""

    decisions: tuple[GateDecision, ...]
    method: str
    difference: float
    """Mean of candidate minus baseline on the common items."""
    limits: Bounds
    """Bounds of the difference, each with the gate's confidence."""
    baseline_score: float
    """The baseline's score on the common items."""
    items: int
    """Items that both have."""
    missing: int
    """Common items without a score in one of the two."""
    only_here: int
    """Items that the baseline does not have."""
    lost: int
    """Common items whose value is lower now."""
    gained: int
    """Common items whose value is higher now."""
    binary: bool
    """Whether every value is 0 or 1."""
    cut: int = 0
    """Common items whose answers were cut in their thinking or after it, in one of the two."""


def decide_own(gate: Gate, items: ScoreItems) -> OwnEvidence:
    """Decide ``min`` and ``max`` of a gate by the confidence bounds of the score."""
    values = [leaf.values for leaf in items.leaves]
    unit = all(_in_unit(one) for one in values)
    observed = _bounds_of(items, unit=unit, fill=None)
    missing, cut = items.missing, items.cut
    completions = [_bounds_of(items, unit=True, fill=fill) for fill in UNIT] if (missing or cut) and unit else []
    decisions = []
    for decide, bound, worst_first in ((decide_min, gate.min, True), (decide_max, gate.max, False)):
        if bound is None:
            continue
        decision = decide(items.value, observed, bound, gate.resolved_confidence)
        if completions:
            low, high = (decide(items.value, one, bound, gate.resolved_confidence) for one in completions)
            complete = with_missing if missing else with_truncated
            decision = complete(decision, *((low, high) if worst_first else (high, low)))
        elif missing or cut:
            decision = _undecided(decision)
        decisions.append(decision)
    binary = unit and all(_is_binary(one) for one in values)
    clustered = any(leaf.clusters is not None for leaf in items.leaves)
    return OwnEvidence(
        tuple(decisions),
        _own_method(len(items.leaves), unit=unit, binary=binary, clustered=clustered),
        missing,
        sum(map(len, values)),
        binary,
        cut,
    )


def decide_paired(
    gate: Gate, leaves: Sequence[PairedLeaf], weighting: Weighting, *, lower_is_better: bool
) -> PairedEvidence:
    """Decide the regressions of a gate on the items that the run and its baseline have in common.

    Args:
        gate: The gate.
        leaves: Common items of each leaf task; at least one item.
        weighting: What counts alike in the score.
        lower_is_better: Whether a rise is the loss.
    """
    unit = all(_in_unit(leaf.candidate) and _in_unit(leaf.baseline) for leaf in leaves)
    scales = _scales(leaves, weighting)
    new = np.concatenate([leaf.candidate for leaf in leaves]) * scales
    old = np.concatenate([leaf.baseline for leaf in leaves]) * scales
    clusters = join_clusters([(len(leaf.candidate), leaf.clusters) for leaf in leaves])
    absent = np.isnan(new) | np.isnan(old)
    bounds = (0.0, float(scales.max())) if unit else None
    kept = None if clusters is None else clusters[~absent]
    observed = PairedData(new[~absent], old[~absent], bounds, kept)
    decisions = _regressions(gate, observed, lower_is_better=lower_is_better)
    new_open = np.isnan(new) | _joined([(leaf.candidate, leaf.candidate_cut) for leaf in leaves])
    old_open = np.isnan(old) | _joined([(leaf.baseline, leaf.baseline_cut) for leaf in leaves])
    cut = (new_open | old_open) & ~absent
    if (absent.any() or cut.any()) and unit:
        bad, good = (scales, 0.0 * scales) if lower_is_better else (0.0 * scales, scales)
        worst = PairedData(np.where(new_open, bad, new), np.where(old_open, good, old), bounds, clusters)
        best = PairedData(np.where(new_open, good, new), np.where(old_open, bad, old), bounds, clusters)
        complete = with_missing if absent.any() else with_truncated
        decisions = tuple(
            complete(*three)
            for three in zip(
                decisions,
                _regressions(gate, worst, lower_is_better=lower_is_better),
                _regressions(gate, best, lower_is_better=lower_is_better),
                strict=True,
            )
        )
    elif absent.any() or cut.any():
        decisions = tuple(map(_undecided, decisions))
    chosen = compare(observed)
    candidate, baseline = observed.arrays
    return PairedEvidence(
        decisions=decisions,
        method=_paired_method(binary=isinstance(chosen, BinaryComparison), clustered=clusters is not None),
        difference=observed.difference,
        limits=chosen.limits(gate.resolved_confidence),
        baseline_score=float(baseline.mean()) if len(baseline) else 0.0,
        items=len(new),
        missing=int(absent.sum()),
        only_here=sum(leaf.only_here for leaf in leaves),
        cut=int(cut.sum()),
        lost=int((candidate < baseline).sum()),
        gained=int((candidate > baseline).sum()),
        binary=isinstance(chosen, BinaryComparison),
    )


def decide_points(
    gate: Gate, value: float, earlier: float | None, *, lower_is_better: bool
) -> tuple[GateDecision, ...]:
    """Decide a gate by the bare scores, however uncertain they are.

    Args:
        gate: The gate.
        value: The score.
        earlier: The baseline's score; None without a baseline.
        lower_is_better: Whether a rise is the loss.
    """
    found = []
    if gate.min is not None:
        found.append(decide_point(Criterion.MIN, value, gate.min, at_most=False))
    if gate.max is not None:
        found.append(decide_point(Criterion.MAX, value, gate.max, at_most=True))
    sign = 1.0 if lower_is_better else -1.0
    if earlier is not None and gate.max_regression is not None:
        # Compared as scores, whose rounding is theirs: 0.9 - 0.8 is above 0.1.
        criterion, bound = Criterion.REGRESSION, earlier + sign * gate.max_regression
        found.append(decide_point(criterion, value, bound, at_most=lower_is_better))
    if earlier is not None and gate.max_relative_regression is not None:
        criterion, bound = Criterion.RELATIVE_REGRESSION, earlier * (1 + sign * gate.max_relative_regression)
        found.append(decide_point(criterion, value, bound, at_most=lower_is_better))
    return tuple(found)


def _bounds_of(items: ScoreItems, *, unit: bool, fill: float | None) -> OneSided:
    """Return the one-sided bounds of a score, its missing items left out or filled with a value."""
    bounds = UNIT if unit else None
    leaves = [(leaf, ~np.isnan(leaf.values)) for leaf in items.leaves]
    filled = [
        (leaf.values[there], _kept(leaf, there))
        if fill is None
        else (np.where(leaf.uncertain, fill, leaf.values), leaf.clusters)
        for leaf, there in leaves
    ]
    if len(filled) == 1:
        ((values, clusters),) = filled
        return partial(gate_bounds, ScoreData(values, clusters, bounds=bounds))
    by_size = items.weighting is not Weighting.TASKS
    parts = [Leaf(values, len(values) if by_size else 1.0, bounds, clusters) for values, clusters in filled]
    return partial(group_bounds, parts)


def _undecided(decision: GateDecision) -> GateDecision:
    """Return the decision where items lack a score that could be anything, so that no completion is the worst."""
    return replace(decision, verdict=Verdict.INCONCLUSIVE, p_fail=None)


def _kept(leaf: LeafItems, there: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> IntArray | None:
    return None if leaf.clusters is None else leaf.clusters[there]


def _scales(leaves: Sequence[PairedLeaf], weighting: Weighting) -> FloatArray:
    """Return what each common item counts: 1, or where tasks count alike the inverse of its task's share of them."""
    sizes = [len(leaf.candidate) for leaf in leaves]
    if weighting is Weighting.ITEMS:
        return np.ones(sum(sizes))
    return np.concatenate([np.full(size, sum(sizes) / (len(sizes) * max(size, 1))) for size in sizes])


def _regressions(gate: Gate, data: PairedData, *, lower_is_better: bool) -> tuple[GateDecision, ...]:
    found = []
    confidence = gate.resolved_confidence
    if gate.max_regression is not None:
        found.append(decide_regression(data, gate.max_regression, confidence, lower_is_better=lower_is_better))
    if gate.max_relative_regression is not None:
        share = gate.max_relative_regression
        found.append(decide_relative_regression(data, share, confidence, lower_is_better=lower_is_better))
    return tuple(found)


def _own_method(leaves: int, *, unit: bool, binary: bool, clustered: bool) -> str:
    if leaves > 1:
        return "clopper-pearson-stratified" if unit else Method.STUDENT_T_STRATIFIED.value
    if clustered:
        return (Method.CLOPPER_PEARSON_CLUSTERED if unit else Method.STUDENT_T_CLUSTERED).value
    return (Method.CLOPPER_PEARSON if binary else Method.PLUS_FOUR if unit else Method.STUDENT_T).value


def _paired_method(*, binary: bool, clustered: bool) -> str:
    if binary:
        return (Method.TANGO_CLUSTERED if clustered else Method.TANGO).value
    return Method.PAIRED_T.value


def _joined(leaves: Sequence[tuple[FloatArray, BoolArray | None]]) -> BoolArray:
    return np.concatenate([np.zeros(len(values), bool) if cut is None else cut for values, cut in leaves])


def _in_unit(values: FloatArray) -> bool:
    return bool(np.all(np.isnan(values) | ((values >= UNIT[0]) & (values <= UNIT[1]))))


def _is_binary(values: FloatArray) -> bool:
    return ScoreData(values[~np.isnan(values)]).actual_kind is ScoreKind.BINARY
