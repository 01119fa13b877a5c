"""Document of the results: every number with its method, ratios with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.pairs import Goal, Spread


@dataclass(frozen=True, slots=True)
class Row:
    """Number with its spread. ``unit`` is empty for a ratio."""

    what: str
    spread: Spread
    goal: Goal = field(default_factory=Goal)
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, in words; empty if there is no goal."""
        if not str(self.goal):
            return ""
        return "met" if self.goal.met(self.spread) else "**missed**"


@dataclass(frozen=True, slots=True)
class Section:
    """Measurement: its method, its numbers, and absolute numbers for orientation."""

    title: str
    how: str
    rows: Sequence[Row]
    beside: Mapping[str, str] = field(default_factory=dict)
    """Absolute numbers of this machine."""
    header: tuple[str, str, str] = ("min", "median", "max")
    """Names of each spread's numbers, if they are not minimum, median and maximum."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table, whose first column is text and whose others are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if unit else f"{value:.3f}"
    return f"{digits} {unit}".strip()


def render_section(section: Section) -> str:
    """Render one section."""
    rows = [
        [
            row.what,
            *(_number(value, row.unit) for value in (row.spread.least, row.spread.median, row.spread.greatest)),
            str(row.spread.count),
            str(row.goal),
            row.verdict,
        ]
        for row in section.rows
    ]
    parts = [f"## {section.title}", section.how]
    parts.append(table(["", *section.header, "n", "goal", ""], rows))
    if section.beside:
        parts.append("On this machine: " + "; ".join(f"{name} {value}" for name, value in section.beside.items()) + ".")
    return "\n\n".join(parts)


def render(sections: Sequence[Section], surroundings: Mapping[str, str], warnings: Sequence[str]) -> str:
    """Render the whole document."""
    parts = [
        "# Benchmarks",
        "Written by `make bench`; do not edit. Every claim is a ratio of two things measured in turn in one run, in "
        "rounds of alternating order (A B, B A, …), so that neither side has the quieter machine. Min, median and max "
        "are over the rounds of all launches of the processes; the goal is held against the median. Absolute numbers "
        "are of one machine and only there for orientation.",
        table(["", "this run"], [[name, value] for name, value in surroundings.items()]),
        *(f"**Warning:** {warning}" for warning in warnings),
        *(render_section(section) for section in sections),
    ]
    return "\n\n".join(parts) + "\n"
