"""Rankings as text for people: one sentence, the ranks with who cannot be told apart, then the pairs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from evalrun_runner.cli.comparison_tables import console, legend, shown
from evalrun_runner.comparing.comparison import ComparisonRequest
from evalrun_runner.comparing.ranking import ManyRunReport, RankedPair
from evalrun_runner.comparing.ranking_words import ranking_sentence
from evalrun_runner.statistics.interval import percent

_MOST_PAIRS = 30
"""Pairs that are listed: neighbours of the ranking first."""
_BAR = "┃"


def print_many(report: ManyRunReport, request: ComparisonRequest) -> None:
    """Print the comparison of many runs."""
    screen = console()
    print(ranking_sentence(report))
    print()
    for run in report.runs[:10]:
        print(legend(run))
    for difference in report.differences:
        print(f"they differ: {difference}")
    print()
    screen.print(_ranking(report))
    print("Runs beside one bar cannot be told apart. Ranks: those that remain possible.")
    print()
    screen.print(_pairs(report))
    for note in report.notes:
        print(f"note: {shown(note)}")
    print("\n".join(_method(report, request)))


def bars(report: ManyRunReport) -> list[str]:
    """Return, for each run of the ranking, a bar for each group of runs that it cannot be told apart from."""
    groups = [group for group in report.groups if len(group) > 1]
    return [
        " ".join(_BAR if min(group) <= place <= max(group) else " " for group in groups)
        for place in range(len(report.ranking))
    ]


def _ranking(report: ManyRunReport) -> Table:
    table = Table()
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("ranks", justify="right", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("", no_wrap=True)
    for heading in ("score", "from … to", "items"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run, bar in zip(report.ranking, bars(report), strict=True):
        ranks = f"{run.best_rank}" if run.best_rank == run.worst_rank else f"{run.best_rank}-{run.worst_rank}"
        interval = "-" if run.interval is None else f"{run.interval.low:.4f} … {run.interval.high:.4f}"
        table.add_row(
            f"{run.rank}", ranks, escape(run.label), bar, f"{run.score:.4f}" if run.n else "-", interval, f"{run.n:,}"
        )
    return table


def _pairs(report: ManyRunReport) -> Table:
    places = {run.label: run.rank for run in report.ranking}

    def distance(pair: RankedPair) -> tuple[int, int]:
        return places[pair.second] - places[pair.first], places[pair.first]

    table = Table()
    for heading in ("run", "against"):
        table.add_column(heading, overflow="fold")
    for heading in ("difference", "from … to", "items", "p", "p (Holm)", "p (BH)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in sorted(report.pairs, key=distance)[:_MOST_PAIRS]:
        table.add_row(
            escape(pair.first),
            escape(pair.second),
            f"{pair.difference:+.4f}" if pair.n else "-",
            f"{pair.low:+.4f} … {pair.high:+.4f}",
            f"{pair.n:,}",
            *("-" if p is None else f"{p:.3g}" for p in (pair.p, pair.holm, pair.benjamini_hochberg)),
        )
    if len(report.pairs) > _MOST_PAIRS:
        table.caption = f"and {len(report.pairs) - _MOST_PAIRS} more pairs: --json has all"
    return table


def _method(report: ManyRunReport, request: ComparisonRequest) -> Iterator[str]:
    share = percent(request.confidence, 6)
    yield f"how: two runs are told apart by Holm's procedure over all {len(report.pairs):,} pairs at {share};"
    yield "     intervals of differences are for each pair alone"
    if report.omnibus is not None:
        q, degrees, p = report.omnibus
        yield f"     all alike? Cochran's Q {q:.4g} on {report.complete:,} complete items, {degrees} df, p {p:.3g}"
