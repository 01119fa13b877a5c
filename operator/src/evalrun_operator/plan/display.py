"""Strings for the columns of ``kubectl get``."""

from __future__ import annotations

from datetime import datetime, timedelta

from evalrun_api import (
    ConditionType,
    Counts,
    DisplayColumns,
    EvalRunStatus,
    GateResult,
    Reason,
    RunProgress,
    RunResult,
    Score,
)

REASON_CHARACTERS = 128
"""Length of the last column: it needs no alignment, and the beginning says which quota, policy or volume it is."""
_PLAIN = {Reason.RUNNING, Reason.AGGREGATING, Reason.SUCCEEDED}
"""Reasons that say no more than the phase beside them."""


def progress_text(counts: Counts) -> str | None:
    """Format the progress as ``1,204/1,319``; return None before anything is planned."""
    return f"{counts.done:,}/{counts.planned:,}" if counts.planned else None


def score_text(scores: tuple[Score, ...], gates: tuple[GateResult, ...]) -> str | None:
    """Format the first gate's score, or the first benchmark's headline score, with its interval.

    As ``0.6831[0.6576,0.7076]``, without a blank inside a column; with its standard error where there is no interval.
    """
    chosen = None
    if gates:
        first = gates[0]
        key = (first.stands_for or first.task, first.metric, first.filter)
        chosen = next((score for score in scores if (score.task, score.metric, score.filter) == key), None)
    chosen = chosen or next((score for score in scores if score.value is not None), None)
    if chosen is None or chosen.value is None:
        return None
    shown = _short(chosen.value)
    if chosen.interval is not None:
        return f"{shown}[{_short(chosen.interval.low)},{_short(chosen.interval.high)}]"
    return shown if chosen.stderr is None else f"{shown}±{_short(chosen.stderr)}"


def _short(value: float) -> str:
    """Format a number with four decimals; a huge one, such as a perplexity may be, with its exponent."""
    return f"{value:.4f}" if abs(value) < 1e9 else f"{value:.4e}"


def eta_text(eta: datetime | None, now: datetime) -> str | None:
    """Format the remaining time as ``40s``, ``12m`` or ``3h05m``."""
    if eta is None:
        return None
    left = max(0, int((eta - now) / timedelta(seconds=1)))
    if left < 100:
        return f"{left}s"
    minutes = left // 60
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02}m"


def reason_text(status: EvalRunStatus) -> str | None:
    """Format why a run is not further as ``PodsRefused: exceeded quota: gpus, …``; None where the phase says it."""
    complete = status.condition(ConditionType.COMPLETE)
    if complete is None or complete.reason in _PLAIN:
        return None
    text = " ".join(f"{complete.reason}: {complete.message}".split()).rstrip(": ")
    return text if len(text) <= REASON_CHARACTERS else f"{text[: REASON_CHARACTERS - 1]}…"


def display(
    status: EvalRunStatus, model: str, progress: RunProgress | None, result: RunResult | None, now: datetime
) -> DisplayColumns:
    """Fill all columns from the rest of the status."""
    replicas = status.replicas
    verdict = None if result is None or result.verdict is None else result.verdict.value
    return DisplayColumns(
        model=model,
        progress=None if status.progress is None else progress_text(status.progress),
        score=score_text(status.scores, status.gates),
        gate=verdict,
        replicas=None if replicas is None else f"{replicas.ready}/{replicas.desired}",
        eta=eta_text(progress.eta if progress else None, now),
        reason=reason_text(status),
    )
