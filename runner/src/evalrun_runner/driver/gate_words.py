"""Say why a gate has its verdict, for people who know no statistics: the score, what is proven of it, and the bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from evalrun_api import Gate, Score, Verdict
from evalrun_api.detectable import why_never
from evalrun_runner.driver.gate_decisions import OwnEvidence, PairedEvidence
from evalrun_runner.errors import counted
from evalrun_runner.statistics.decisions import Criterion, GateDecision
from evalrun_runner.statistics.interval import percent

_CUT = "truncated answers that never left their thinking, or were cut after it,"
UNCONFIRMED = "; alone the gate would fail, but among all gates of the run that may be chance"


def message(
    gate: Gate,
    score: Score,
    decisions: Sequence[GateDecision],
    own: OwnEvidence | None,
    paired: PairedEvidence | None,
    earlier: float | None,
) -> str:
    """Say how a gate was decided, its criteria in one sentence."""
    assert score.value is not None
    if own is None and paired is None:
        text = _points(gate, score.value, decisions, earlier)
        turned = _if_all(decisions)
        return f"{text}; {_CUT} could turn it: {turned}" if turned else text
    parts = [_against(score.value, paired)] if paired is not None else [_digits(score.value)]
    parts += [_criterion(decision) for decision in decisions]
    text = f"{parts[0]}: {'; '.join(parts[1:])}"
    items = paired.items if paired is not None else own.items if own is not None else 0
    text += f" ({counted(items)}{_changed(paired)})"
    parts = [*_missing(own, paired, decisions, score.task), *_impossible(gate, own, paired, decisions)]
    return "; ".join([text, *parts])


def lost(count: int, task: str, where: str = "") -> str:
    """Say that items have no score."""
    have = "has" if count == 1 else "have"
    return f"{counted(count)} of {task} {have} no score{f' {where}' if where else ''}: failed or quarantined"


def lonely(count: int, total: int, task: str) -> str:
    """Say that items have no partner in the baseline."""
    return (
        f"{count:,} of {total:,} items of {task} are not in the baseline: its documents, prompts, few-shot examples, "
        "limit or generation arguments differ; compare with a run of the same questions, or set rule: point"
    )


def no_mean(score: Score) -> str:
    """Say that a score is no mean of its items' values."""
    return (
        f"{score.metric},{score.filter} of {score.task} is no mean of its items' values, so that no confidence bound "
        "is known for a gate; set rule: point to judge the bare score"
    )


def finite_pair(limits: tuple[float, float]) -> tuple[float, float] | None:
    """Return bounds as a status can hold them; None where one is infinite."""
    return limits if all(math.isfinite(limit) for limit in limits) else None


def _against(value: float, paired: PairedEvidence) -> str:
    return f"{value:.4f} against {paired.baseline_score:.4f} ({_signed(paired.difference)})"


def _criterion(decision: GateDecision) -> str:
    sure = f"with {percent(decision.confidence)} confidence"
    bound = decision.bound
    match decision.criterion:
        case Criterion.MIN | Criterion.MAX:
            name = f"{decision.criterion.value} {bound:g}"
            low, high = _number(decision.low, bound), _number(decision.high, bound)
            over = decision.criterion is Criterion.MIN
        case Criterion.REGRESSION:
            name = f"allowed {bound:+g}" if bound else "allowed 0"
            low, high = _signed(decision.low), _signed(decision.high)
            over = bound <= 0
        case _:
            name = f"allowed {bound:+.3g} of the baseline"
            low, high = f"{decision.low:+.2%}", f"{decision.high:+.2%}"
            over = bound <= 0
    match decision.verdict:
        case Verdict.PASSED:
            return f"{'at least' if over else 'at most'} {low if over else high} {sure}, {name}"
        case Verdict.FAILED:
            return f"{'at most' if over else 'at least'} {high if over else low} {sure}, {name}"
        case _:
            return f"between {low} and {high} {sure} each, {name}"


def _changed(paired: PairedEvidence | None) -> str:
    if paired is None:
        return ""
    words = ("lost", "gained") if paired.binary else ("lower", "higher")
    return f", {paired.lost:,} {words[0]}, {paired.gained:,} {words[1]}"


def _missing(
    own: OwnEvidence | None, paired: PairedEvidence | None, decisions: Sequence[GateDecision], task: str
) -> Iterator[str]:
    evidence = paired or own
    where = "here or in the baseline" if paired is not None else ""
    cut = 0 if evidence is None else evidence.cut
    if evidence is not None and evidence.missing:
        turned = _if_all(decisions)
        yield lost(evidence.missing, task, where) + (f"; {turned}" if turned else "")
        if cut:
            yield f"{cut:,} {_CUT}"
    elif cut:
        turned = _if_all(decisions)
        there = f" {where}" if where else ""
        yield f"{cut:,} {_CUT}{there} " + (f"could turn it: {turned}" if turned else "could not turn it")


def _if_all(decisions: Sequence[GateDecision]) -> str:
    """Say what the verdict would be in the two extremes of items that might have another value; '' if it is one."""
    worst = Verdict.overall(one.worst for one in decisions if one.worst is not None)
    best = Verdict.overall(one.best for one in decisions if one.best is not None)
    if worst is None or best is None:
        return ""
    return f"{worst.value} if all of them counted against the run, {best.value} if all counted for it"


def _impossible(
    gate: Gate, own: OwnEvidence | None, paired: PairedEvidence | None, decisions: Sequence[GateDecision]
) -> Iterator[str]:
    """Say of an undecided gate that no answers could have passed it."""
    if all(decision.verdict is not Verdict.INCONCLUSIVE for decision in decisions):
        return
    binary = all(evidence.binary for evidence in (own, paired) if evidence is not None)
    items = min(evidence.items for evidence in (own, paired) if evidence is not None)
    if binary and (why := why_never(gate, items)) is not None:
        yield f"it cannot pass: {why}"


def _points(gate: Gate, value: float, decisions: Sequence[GateDecision], earlier: float | None) -> str:
    parts = []
    for decision in decisions:
        match decision.criterion:
            case Criterion.MIN:
                shown = _number(value, decision.bound)
                parts.append(f"{shown}, min {decision.bound:g}")
            case Criterion.MAX:
                shown = _number(value, decision.bound)
                parts.append(f"{shown}, max {decision.bound:g}")
            case Criterion.REGRESSION | Criterion.RELATIVE_REGRESSION if earlier is not None:
                allowed = decision.bound - earlier
                parts.append(f"{value:.4f} against {earlier:.4f} ({_signed(value - earlier)}, allowed {allowed:+.4g})")
    return f"{'; '.join(parts)} (rule: point, without regard to how sure the score is)"


def _digits(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.6g}"


def _number(value: float, bound: float) -> str:
    """Format a value with as many digits as it takes to see on which side of the bound it is."""
    short = f"{value:.4g}"
    return repr(value) if float(short) == float(f"{bound:.4g}") and value != bound else short


def _signed(difference: float) -> str:
    return f"{difference:+.4f}" if abs(difference) >= 0.00005 or not difference else f"{difference:+.1g}"
