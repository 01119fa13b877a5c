"""Reports with every field filled, also with content that wants to get out."""

from __future__ import annotations

from dataclasses import replace

from evalrun_runner.report.content import (
    BaselineComparison,
    ChangeLine,
    FailureGroup,
    GateLine,
    Headline,
    ItemList,
    Ranking,
    RankLine,
    RatePoint,
    ReportContent,
    RunPace,
    ScoreLine,
    ShownItem,
    Tone,
)
from evalrun_runner.report.text import shown

HOSTILE = (
    "</pre></style></title><script>fetch('http://attacker.example/')</script><img src=http://attacker.example/x.png "
    "onerror=alert(1)><iframe src=//attacker.example></iframe><a href='javascript:alert(1)'>x</a>{{ 7*7 }}&amp;"
    "\u202e\u0000\x1b[31m]]><!-- `@everyone` [link](http://attacker.example) | **x**\ud800"
)


def full_report(text: str = "plain", items: int = 2, length: int = 2_000) -> ReportContent:
    """Every field of a report filled with one text."""
    line = ScoreLine(text, text, text, 0.74, 0.71, 0.76, 0.01, 1319, note=text)
    change = ChangeLine(text, text, text, 0.74, 0.72, 0.02, 0.01, 0.03, 1000, 10, 30, Tone.GOOD, text)
    item = ShownItem(
        text, text, text, shown(text, length), shown(text, length), shown(text, length), shown(text, length)
    )
    return ReportContent(
        title=text,
        model=text,
        run=text,
        when=text,
        headline=Headline(Tone.BAD, text, text, text),
        account=text,
        gates=[GateLine(Tone.BAD, text, text, text, text, text, advisory=False)],
        scores=[line, replace(line, is_group=True)],
        scores_left_out=3,
        strata=[replace(line, stratum=text)],
        comparison=BaselineComparison(text, text, [change], [text]),
        rankings=[Ranking(text, 10, [RankLine(text, 0.7, 1, 2, [text]), RankLine("other", 0.6, 1, 2, [])])],
        item_lists=[ItemList(text, text, [item] * items, 100)],
        pace=RunPace(text, [RatePoint(1, 10, 2), RatePoint(2, 20, 2)], [(text, text)]),
        failures=[FailureGroup(text, text, text, 3, [text])],
        failures_total=3,
        warnings=[text],
        warnings_left_out=1,
        provenance=[(text, text)],
        rerun=[(text, text)],
        spec=text,
        samples=[text],
    )
