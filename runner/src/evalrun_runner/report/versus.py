"""Comparison of a run with its baseline, and the order of several runs, as a report shows them."""

from __future__ import annotations

from evalrun_runner.comparing import words as comparing_words
from evalrun_runner.comparing.comparison import ChangedItem, ComparisonRequest, TwoRunReport, compare_two
from evalrun_runner.comparing.scored import ScoredRun
from evalrun_runner.comparing.two import ComparisonFinding, ScoreComparison
from evalrun_runner.report.content import BaselineComparison, ChangeLine, ItemList, ShownItem, Tone
from evalrun_runner.report.details import MOST_ANSWER, MOST_PROMPT, MOST_TARGET
from evalrun_runner.report.text import one_line, shown

CHANGED_ITEMS = 10
"""Items that are shown of those that are worse than in the baseline, and of those that are better."""
_MOST_LINES, _MOST_REMARKS = 200, 20
_TONES = {
    ComparisonFinding.BETTER: Tone.GOOD,
    ComparisonFinding.WORSE: Tone.BAD,
    ComparisonFinding.UNDECIDED: Tone.UNSURE,
}


def against(baseline: ScoredRun, run: ScoredRun) -> tuple[BaselineComparison, tuple[ItemList, ...]]:
    """Compare a run with its baseline, item by item.

    Raises:
        InputError: They have nothing in common.
        LedgerCorrupt: An object of one is damaged.
        StoreError: One cannot be read.
    """
    request = ComparisonRequest(allow_differences=True, items=CHANGED_ITEMS)
    found = compare_two(baseline, run, request)
    remarks = [
        *(f"The runs were not asked the same: {difference}" for difference in found.differences),
        *(str(lonely) for lonely in found.lonely),
        *found.notes,
    ]
    if found.noise is not None:
        remarks.insert(0, comparing_words.noise_sentence(found.noise, baseline.label, run.label))
    comparison = BaselineComparison(
        baseline=baseline.place,
        baseline_model=baseline.facts.model or baseline.label,
        lines=tuple(_line(score) for score in found.scores[:_MOST_LINES]),
        remarks=tuple(one_line(_sentence(remark), 500) for remark in remarks[:_MOST_REMARKS]),
    )
    return comparison, tuple(_lists(found))


def _line(score: ScoreComparison) -> ChangeLine:
    return ChangeLine(
        task=score.task,
        metric=score.metric.metric,
        filter=score.metric.filter,
        ours=score.candidate,
        theirs=score.baseline,
        difference=score.difference,
        low=score.interval.low,
        high=score.interval.high,
        n=score.n,
        lost=score.lost,
        gained=score.gained,
        tone=_TONES[score.finding],
        words=_sentence(comparing_words.difference_sentence(score, "the baseline", "this run")),
        is_share=score.is_share,
    )


def _sentence(words: str) -> str:
    """Begin with a capital where a sentence begins with one of the labels that stand for the runs."""
    return words[:1].upper() + words[1:] if words.startswith(("the baseline", "this run")) else words


def _lists(found: TwoRunReport) -> list[ItemList]:
    decided = {(score.task, score.metric): score for score in found.scores}
    lists = []
    for is_lost, title in ((True, "Items that are worse than in the baseline"), (False, "Items that are better")):
        items = [item for item in found.changed if item.is_lost is is_lost]
        counted = {(item.task, item.metric) for item in items}
        total = sum(decided[key].lost if is_lost else decided[key].gained for key in counted)
        if items:
            lists.append(ItemList(title, _EXPLAINED[is_lost], tuple(map(_item, items)), total))
    return lists


_EXPLAINED = {
    True: "The first items whose score is worse now than in the baseline.",
    False: "The first items whose score is better now than in the baseline.",
}


def _item(item: ChangedItem) -> ShownItem:
    return ShownItem(
        task=one_line(item.task),
        doc=one_line(item.text.name.removeprefix("document ")),
        why=f"{item.metric} {item.baseline:g} in the baseline, {item.candidate:g} now",
        prompt=shown(item.text.prompt, MOST_PROMPT),
        target=shown(item.text.target, MOST_TARGET),
        answer=shown(item.candidate_answer, MOST_ANSWER),
        other_answer=shown(item.text.answer, MOST_ANSWER),
    )
