"""Gates at the levels of looks. Pure.

A run that may stop early is judged several times. So that a verdict is still wrong in at most 1 - confidence of all
runs, look k decides each gate with its own test at a stricter level (``statistics.spending``), and so does the end of
a run that did not stop. The bounds in a verdict are those at that level: a repeated confidence interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evalrun_api import Gate, GateResult, GateRule
from evalrun_api.wire.outputs import IntervalRecord, StopCause, StopRecord
from evalrun_runner.statistics.interval import percent
from evalrun_runner.statistics.spending import look_boundaries, look_levels

SHOWN_LEVEL, SHOWN_QUANTILE = 0.025, 1.959963984540054
"""Error on each side of an interval that is shown, and how many standard errors that is at a single look."""
MOST_MESSAGE = 1000
"""Characters of a message."""


def at_look(gates: Iterable[Gate], look: int, looks: int) -> tuple[Gate, ...]:
    """Return the gates with the confidence that a look judges them with.

    Args:
        gates: The gates as they were asked.
        look: Number of the look, 1 to ``looks``.
        looks: Number of looks.
    """
    return tuple(_at_level(gate, level_at(gate, look, looks)) for gate in gates)


def level_at(gate: Gate, look: int, looks: int) -> float:
    """Return the one-sided level at which a look judges a gate."""
    return look_levels(1 - gate.resolved_confidence, _shares(looks))[look - 1]


def as_asked(results: Sequence[GateResult], gates: Sequence[Gate], look: int, looks: int) -> tuple[GateResult, ...]:
    """Return the verdicts of a look with the confidence that was asked for, and say at which look they were given."""

    def one(result: GateResult, gate: Gate) -> GateResult:
        if result.confidence is None:
            return result
        said, meant = (f"with {percent(one)} confidence" for one in (result.confidence, gate.resolved_confidence))
        message = (
            f"{result.message.replace(said, meant)} (judged at look {look} of {looks}, which its bounds account for)"
        )
        return result.model_copy(update={"confidence": gate.resolved_confidence, "message": message[:MOST_MESSAGE]})

    return tuple(one(result, gate) for result, gate in zip(results, gates, strict=True))


def recorded_verdicts(stop: StopRecord, gates: Sequence[Gate]) -> tuple[GateResult, ...] | None:
    """Return the verdicts that stopped a run; None if it was stopped by none, or other gates are asked now."""
    if not stop.gates or stop.asked != [gate.to_dict() for gate in gates]:
        return None
    return tuple(GateResult.model_validate(one, by_alias=True, by_name=False) for one in stop.gates)


def adjusted(records: Sequence[IntervalRecord], stop: StopRecord | None) -> list[IntervalRecord]:
    """Widen intervals for the looks that were taken before a run stopped by its verdicts.

    The distance of each end from the score is multiplied by the boundary of the look over the normal quantile: the
    repeated confidence interval of Jennison and Turnbull (1989), which covers at every look at once. A stop by the
    width of intervals needs none: it does not depend on how large the score is.
    """
    if stop is None or stop.cause is StopCause.WIDTH:
        return list(records)
    factor = look_boundaries(SHOWN_LEVEL, _shares(stop.looks))[max(stop.look, 1) - 1] / SHOWN_QUANTILE
    return [_widened(record, factor, stop) for record in records]


def _widened(record: IntervalRecord, factor: float, stop: StopRecord) -> IntervalRecord:
    if record.low is None or record.high is None:
        return record
    low = record.value - factor * (record.value - record.low)
    high = record.value + factor * (record.high - record.value)
    if record.low >= 0 and record.high <= 1:
        low, high = max(0.0, low), min(1.0, high)
    said = f"adjusted for {max(stop.look, 1)} of {stop.looks} looks, since the run stopped early"
    note = f"{record.note}; {said}" if record.note else said
    return record.model_copy(update={"low": low, "high": high, "note": note})


def _at_level(gate: Gate, level: float) -> Gate:
    return gate if gate.resolved_rule is GateRule.POINT else gate.model_copy(update={"confidence": 1 - level})


def _shares(looks: int) -> list[float]:
    return [look / looks for look in range(1, looks + 1)]
