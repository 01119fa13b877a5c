"""What the rest of a run can still change of its verdicts: deterministic curtailment. Pure.

Of a score of 0s and 1s, every outcome of the items that are left lies between two: all of them 0, and all of them 1. A
criterion that is decided alike in both is decided, whatever the rest answers, and no error is made by not asking. That
holds in every order of the items. A failure counts only at the level that Holm's procedure confirms for certain: that
of all criteria together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalrun_api import Gate, GateRule, Verdict
from evalrun_runner.comparing.pairing import pair
from evalrun_runner.driver.gate_decisions import decide_own, decide_paired
from evalrun_runner.driver.gate_items import LeafItems, PairedLeaf, ScoreItems
from evalrun_runner.statistics.decisions import GateDecision


@dataclass(frozen=True, slots=True)
class GateEvidence:
    """A gate with the items of its score that have ended."""

    gate: Gate
    items: ScoreItems
    """Items that have ended."""
    planned: tuple[int, ...]
    """Number of planned items of each of its leaf tasks."""
    baseline: tuple[LeafItems, ...] | None = None
    """The baseline's items of the same leaf tasks; None without a baseline."""
    lower_is_better: bool = False


def certain_verdicts(evidence: Sequence[GateEvidence], level: float) -> tuple[Verdict | None, ...] | None:
    """Return the verdict of each gate that the rest of the run cannot change, None for one that it can.

    Args:
        evidence: The gates that count.
        level: One-sided level at which the end of the run judges them.

    Returns:
        None unless the verdict of the run is certain: a gate surely fails, or every gate surely does not.
    """
    criteria = sum(_criteria(one.gate) for one in evidence)
    found = tuple(_certain(one, level, criteria) for one in evidence)
    return found if Verdict.FAILED in found or None not in found else None


def _certain(one: GateEvidence, level: float, criteria: int) -> Verdict | None:
    if one.items.cut:
        return None  # what these items would have is not known, though they have a value
    if one.gate.resolved_rule is GateRule.POINT:
        return _certain_point(one)
    if not _is_binary(one.items) or one.items.missing or any(leaf.clusters is not None for leaf in one.items.leaves):
        return None
    usual, strict = (_decisions(one, at) for at in (level, level / criteria))
    if usual is None or strict is None:
        return None
    verdicts = [_of(a, b) for a, b in zip(usual, strict, strict=True)]
    if Verdict.FAILED in verdicts:
        return Verdict.FAILED
    known = [verdict for verdict in verdicts if verdict is not None]
    return Verdict.overall(known) if len(known) == len(verdicts) else None


def _of(usual: GateDecision, strict: GateDecision) -> Verdict | None:
    """Return what both extremes agree on; a failure at the strict level, everything else at the usual one."""
    if strict.worst is strict.best is Verdict.FAILED:
        return Verdict.FAILED
    both = usual.worst if usual.worst is usual.best else None
    return None if both is Verdict.FAILED else both


def _decisions(one: GateEvidence, level: float) -> list[GateDecision] | None:
    gate = one.gate.model_copy(update={"confidence": 1 - level})
    decisions: list[GateDecision] = []
    if gate.min is not None or gate.max is not None:
        leaves = tuple(
            replace(leaf, values=np.append(leaf.values, np.full(planned - len(leaf.values), np.nan)), cut=None)
            for leaf, planned in zip(one.items.leaves, one.planned, strict=True)
        )
        decisions += decide_own(gate, ScoreItems(one.items.value, leaves)).decisions
    if one.baseline is not None:
        pairs = [_padded(*three) for three in zip(one.items.leaves, one.baseline, one.planned, strict=True)]
        known = [pairing for pairing in pairs if pairing is not None]
        weighting = one.items.weighting
        if len(known) < len(pairs) or weighting is None:
            return None
        decisions += decide_paired(gate, known, weighting, lower_is_better=one.lower_is_better).decisions
    return decisions


def _padded(own: LeafItems, earlier: LeafItems, planned: int) -> PairedLeaf | None:
    """Pair a leaf with its baseline, whose other items are those that are left; None if they do not fit."""
    places = pair(own.keys(), earlier.keys())
    left = planned - len(own.values)
    if len(places.only_first) or len(places.only_second) != left or np.isnan(earlier.values).any():
        return None
    candidate = np.append(own.values[places.first], np.full(left, np.nan))
    baseline = np.append(earlier.values[places.second], earlier.values[places.only_second])
    return PairedLeaf(candidate, baseline, 0, None)


def _certain_point(one: GateEvidence) -> Verdict | None:
    """Decide bounds on the bare score of one task by its least and its greatest possible value."""
    gate = one.gate
    if len(one.planned) != 1 or gate.baseline is not None or not _is_binary(one.items) or one.items.missing:
        return None
    right, planned = float(one.items.leaves[0].values.sum()), one.planned[0]
    low, high = right / planned, (right + planned - len(one.items.leaves[0].values)) / planned
    least, most = (-np.inf if gate.min is None else gate.min), (np.inf if gate.max is None else gate.max)
    if low >= least and high <= most:
        return Verdict.PASSED
    return Verdict.FAILED if high < least or low > most else None


def _criteria(gate: Gate) -> int:
    bounds = (gate.min, gate.max, gate.max_regression, gate.max_relative_regression)
    return sum(bound is not None for bound in bounds)


def _is_binary(items: ScoreItems) -> bool:
    return all(bool(np.all((leaf.values == 0) | (leaf.values == 1) | np.isnan(leaf.values))) for leaf in items.leaves)
