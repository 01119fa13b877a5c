"""Throughput of a run over time, and its tail. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from evalrun_api.wire.outputs import TimelinePoint
from evalrun_runner.report import words
from evalrun_runner.report.content import RatePoint, RunPace
from evalrun_runner.report.readings import ItemReadings

MOST_POINTS = 120
"""Stretches of time in the picture."""
_SHORT_SECONDS = 10.0
"""Time below which a tail says nothing."""
_TAIL = 0.95
"""Share of the items after which the tail begins."""


def pace_of(points: Sequence[TimelinePoint], readings: ItemReadings | None) -> RunPace | None:
    """Describe how fast a run was.

    Args:
        points: Items done and replicas over time, in order; may be empty.
        readings: What its items show, None where they were not read.

    Returns:
        None where nothing is known.
    """
    facts = tuple(_facts(readings)) if readings is not None else ()
    rising = _rising(points)
    if len(rising) < 2:
        sentence = "How the run went over time was not recorded."
        return RunPace(sentence, (), facts) if facts else None
    first, last = rising[0], rising[-1]
    seconds, items = last.seconds - first.seconds, last.items - first.items
    sentence = f"{words.count(items)} in {duration(seconds)}, {items / seconds:,.1f} a second on average"
    if seconds < _SHORT_SECONDS:
        return RunPace(f"{sentence}.", tuple(_rates(rising)), facts)
    tail = next(point.seconds for point in rising if point.items >= first.items + _TAIL * items)
    share = (last.seconds - tail) / seconds
    sentence += f"; the last {1 - _TAIL:.0%} of the items took {share:.0%} of the time."
    return RunPace(sentence, tuple(_rates(rising)), facts)


def duration(seconds: float) -> str:
    """Format a time for people."""
    if seconds < 120:
        return f"{seconds:.1f} seconds" if seconds < _SHORT_SECONDS else f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _rising(points: Sequence[TimelinePoint]) -> list[TimelinePoint]:
    """Keep the points from the last one before work began to the first one after it ended, in order of time."""
    ordered: list[TimelinePoint] = []
    for point in points:
        # A driver that takes over begins with what is committed, which may be less than what was said before.
        if not ordered or point.seconds > ordered[-1].seconds:
            ordered.append(point)
    most = max((point.items for point in ordered), default=0)
    end = next((place for place, point in enumerate(ordered) if point.items == most), 0)
    begin = next((place for place, point in enumerate(ordered) if point.items > ordered[0].items), 1) - 1
    return ordered[begin : end + 1]


def _rates(points: Sequence[TimelinePoint]) -> Iterator[RatePoint]:
    origin = points[0].seconds
    step = max(1, -(-(len(points) - 1) // MOST_POINTS))
    kept = [*points[:-1:step], points[-1]]
    for before, point in pairwise(kept):
        rate = max(0, point.items - before.items) / (point.seconds - before.seconds)
        yield RatePoint((point.seconds - origin) / 60, rate, point.replicas)


def _facts(readings: ItemReadings) -> Iterator[tuple[str, str]]:
    seconds = readings.seconds
    if seconds:
        for share, name in ((0.5, "half of the answers took"), (0.9, "90% of them"), (0.99, "99% of them")):
            yield name, f"at most {seconds[min(len(seconds) - 1, int(share * len(seconds)))]:.3g} s"
        yield "the slowest answer took", f"{seconds[-1]:.3g} s"
    if readings.prompt_tokens or readings.output_tokens:
        prompt, output = readings.prompt_tokens, readings.output_tokens
        yield "tokens", f"{prompt:,} read and {output:,} generated, of {words.count(readings.read)}"
