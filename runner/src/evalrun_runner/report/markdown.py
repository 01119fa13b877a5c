"""The report as Markdown, for a comment on a pull request: bounded, and without a word of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalrun_runner.report import words
from evalrun_runner.report.content import ChangeLine, GateLine, ReportContent, ScoreLine, Tone
from evalrun_runner.report.text import in_markdown

MOST_CHARACTERS = 60_000
"""Length of the report: a comment on GitHub holds 65,536."""
MOST_SCORES, MOST_GATES, MOST_CHANGES, MOST_WARNINGS = 30, 30, 30, 10
_SIGNS = {Tone.GOOD: "✅", Tone.BAD: "❌", Tone.UNSURE: "❔", Tone.PLAIN: "▫️"}


def markdown(content: ReportContent) -> bytes:
    """Render the report; what does not fit is left out from the end, and the report says so."""
    kept: list[str] = []
    length = 0
    for section in _sections(content):
        if length + len(section) > MOST_CHARACTERS:
            kept.append("_The rest does not fit here: see report.html._")
            break
        kept.append(section)
        length += len(section) + 2
    return ("\n\n".join(kept) + "\n").encode("utf-8", "replace")


def _sections(content: ReportContent) -> Iterator[str]:
    top = content.headline
    yield f"## {_SIGNS[top.tone]} {in_markdown(top.word)}: {in_markdown(content.model)}"
    yield in_markdown(top.sentence, 1_000)
    if top.caution:
        yield f"**{in_markdown(top.caution)}**"
    yield in_markdown(content.account)
    if content.gates:
        yield _table(
            ("gate", "verdict", "asked", "found"),
            [_gate_row(gate) for gate in content.gates[:MOST_GATES]],
            len(content.gates),
        )
    if content.scores:
        rows = [_score_row(line) for line in content.scores[:MOST_SCORES]]
        total = len(content.scores) + content.scores_left_out
        yield _table(("score", "value", "probably between", "items"), rows, total)
    if content.comparison is not None:
        yield f"Against the baseline {in_markdown(content.comparison.baseline_model)}:"
        if content.comparison.lines:
            rows = [_change_row(line) for line in content.comparison.lines[:MOST_CHANGES]]
            yield _table(("score", "finding", "baseline", "this run"), rows, len(content.comparison.lines))
        if content.comparison.remarks:
            yield "\n".join(f"- {in_markdown(remark, 400)}" for remark in content.comparison.remarks)
    if content.warnings:
        shown = content.warnings[:MOST_WARNINGS]
        left_out = len(content.warnings) + content.warnings_left_out - len(shown)
        more = [f"- and {left_out:,} more"] if left_out else []
        yield "\n".join(["Warnings:", *(f"- {in_markdown(warning, 400)}" for warning in shown), *more])
    facts = [f"{in_markdown(name)}: {in_markdown(value, 300)}" for name, value in content.provenance]
    yield (
        "<details><summary>Where the numbers come from</summary>\n\n"
        + "\n".join(f"- {fact}" for fact in facts)
        + "\n\n</details>"
    )


def _gate_row(gate: GateLine) -> tuple[str, ...]:
    name = gate.name + (" (for information only)" if gate.advisory else "")
    return name, f"{_SIGNS[gate.tone]} {gate.verdict}", gate.asked, gate.found


def _score_row(line: ScoreLine) -> tuple[str, ...]:
    share = line.is_share
    reach = "not known"
    if line.low is not None and line.high is not None:
        reach = f"{words.number(line.low, share=share)} and {words.number(line.high, share=share)}"
    return line.name, words.number(line.value, share=share), reach, f"{line.n:,}"


def _change_row(line: ChangeLine) -> tuple[str, ...]:
    ours, theirs = (words.number(one, share=line.is_share) for one in (line.ours, line.theirs))
    return f"{line.task} {line.metric}", line.words, theirs, ours


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines.extend(f"| {' | '.join(in_markdown(cell, 300) for cell in row)} |" for row in rows)
    if total > len(rows):
        lines.append(f"\n_{total - len(rows):,} more are in report.html._")
    return "\n".join(lines)
