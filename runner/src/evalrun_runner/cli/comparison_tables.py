"""Comparisons as text for people: one sentence that needs no statistics, then the numbers, then how they were made."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evalrun_runner.comparing.comparison import ChangedItem, ComparisonRequest, TwoRunReport
from evalrun_runner.comparing.labels import SureScore
from evalrun_runner.comparing.scored import ScoredRun
from evalrun_runner.comparing.two import ComparisonFinding, MarginVerdict, ScoreComparison
from evalrun_runner.comparing.words import equivalence_sentence, headline
from evalrun_runner.statistics.interval import Method, Target, percent
from evalrun_runner.statistics.scores import ScoreKind

_FILE_WIDTH = 160
"""Columns where the output is no terminal."""
_TEXT_SHOWN = 300
"""Characters of a prompt or an answer."""
_MODEL_SHOWN = 80
_METHODS = {
    Method.TANGO: "Tango's score interval",
    Method.TANGO_CLUSTERED: "Tango's score interval on what the declared clusters are worth",
    Method.PAIRED_T: "Student's t",
    Method.PAIRED_PLUS_TWO: "Student's t with two pseudo-items, as few items changed",
}
_MOST_ROWS = 60
"""Rows of the table of scores."""


def console() -> Console:
    """Return the console that tables are printed to."""
    return Console(width=None if sys.stdout.isatty() else _FILE_WIDTH, highlight=False)


def print_two(report: TwoRunReport, request: ComparisonRequest) -> None:
    """Print the comparison of two runs."""
    screen = console()
    print(headline(report))
    score = report.headline
    if score.margin is not None and score.margin.verdict is not MarginVerdict.BROKEN:
        print(equivalence_sentence(score, score.margin, report.baseline.label, report.candidate.label))
    print()
    for run in (report.baseline, report.candidate):
        print(legend(run))
    for difference in report.differences:
        print(f"they differ: {difference}")
    print()
    screen.print(_scores(report))
    if report.labels:
        screen.print(_labels(report))
    for item in report.changed:
        print("\n".join(_item(item, report)))
    if report.changed:
        print()
    print_notes(report)
    print("\n".join(_method(score, request)))


def print_notes(report: TwoRunReport) -> None:
    """Print what the reader should know."""
    for lonely in report.lonely[:10]:
        print(f"note: {shown(str(lonely))}")
    for note in report.notes:
        print(f"note: {shown(note)}")


def legend(run: ScoredRun) -> str:
    """Return a line that says what a run is."""
    facts = run.facts
    model = f", model {shown(facts.model, _MODEL_SHOWN)}" if facts.model and facts.model != run.label else ""
    return f"{run.label}: {shown(run.place)} ({facts.source}{model})"


def _scores(report: TwoRunReport) -> Table:
    rows = list(report.scores)
    if report.headline not in rows:
        rows.insert(0, report.headline)
    table = Table()
    for heading in ("task", "score"):
        table.add_column(heading, overflow="fold")
    names = (report.baseline.label, report.candidate.label)
    for heading in (*names, "difference", "from … to", "items", "lost", "gained"):
        table.add_column(escape(heading), justify="right", overflow="fold")
    table.add_column(escape(f"{report.candidate.label} is"), overflow="fold")
    for score in rows[:_MOST_ROWS]:
        table.add_row(
            escape(score.task),
            escape(f"{score.metric}{' (lower is better)' if score.lower_is_better else ''}"),
            *(number if score.n else "-" for number in (f"{score.baseline:.4f}", f"{score.candidate:.4f}")),
            f"{score.difference:+.4f}" if score.n else "-",
            f"{score.interval.low:+.4f} … {score.interval.high:+.4f}",
            f"{score.n:,}",
            f"{score.lost:,}",
            f"{score.gained:,}",
            "" if score.finding is ComparisonFinding.UNDECIDED else score.finding.value,
        )
    if len(rows) > _MOST_ROWS:
        table.caption = f"and {len(rows) - _MOST_ROWS} more rows: --json has all"
    return table


def _labels(report: TwoRunReport) -> Table:
    table = Table(title="classes")
    for heading in ("task", "run", "class"):
        table.add_column(heading, overflow="fold")
    for heading in ("items", "precision", "recall", "F1"):
        table.add_column(heading, justify="right", overflow="fold")
    for scores in report.labels:
        task, run = escape(shown(scores.task)), escape(scores.run)
        for one in scores.classes:
            cells = (_sure(one.precision), _sure(one.recall), _sure(one.f1))
            table.add_row(task, run, escape(shown(one.name)), f"{one.count:,}", *cells)
        macro = "-" if scores.macro_f1 is None else f"{scores.macro_f1:.3f}"
        table.add_row(task, run, f"all, kappa {_sure(scores.kappa)}", f"{scores.n:,}", "", "", f"mean {macro}")
    return table


def _sure(score: SureScore) -> str:
    if score.value is None:
        return "-"
    interval = score.interval
    return f"{score.value:.3f}" + ("" if interval is None else f" ({interval.low:.3f} … {interval.high:.3f})")


def _item(item: ChangedItem, report: TwoRunReport) -> Iterator[str]:
    verb = "lost" if item.is_lost else "gained"
    yield (
        f"{verb}: {item.task} {shown(item.text.name)}: {item.metric} {item.baseline:g} with {report.baseline.label}, "
        f"{item.candidate:g} with {report.candidate.label}"
    )
    answers = (report.baseline.label, item.text.answer), (report.candidate.label, item.candidate_answer)
    for what, text in (("prompt", item.text.prompt), ("right answer", item.text.target), *answers):
        if text:
            yield f"  {what}: {shown(text)}"


def shown(text: str, most: int = _TEXT_SHOWN) -> str:
    """Return a text of a model in one line, without control characters, its end if it is long."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= most else f"…{plain[-most:]}"


def _method(score: ScoreComparison, request: ComparisonRequest) -> Iterator[str]:
    share = percent(request.confidence, 6)
    yield f"how: {share} intervals of the difference on the items that both have, by {_interval_name(score)};"
    test = "McNemar's exact test" if score.kind is ScoreKind.BINARY else "the sign-flip test"
    if score.interval.target is Target.CLUSTERS:
        test = "the same method"
    middle = "" if score.mid_p is None else f", mid-p {score.mid_p:.3g}"
    yield f"     better and worse by {test} (p {score.p:.3g}{middle})"


def _interval_name(score: ScoreComparison) -> str:
    method = score.interval.method
    name = _METHODS.get(method, method.value)
    return f"{name} ({score.interval.note})" if score.interval.note else name
