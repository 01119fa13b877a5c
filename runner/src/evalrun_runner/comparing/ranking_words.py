"""Sentences about rankings for people who know no statistics. Pure."""

from __future__ import annotations

from evalrun_runner.comparing.comparison import ALL_TASKS
from evalrun_runner.comparing.ranking import ManyRunReport
from evalrun_runner.errors import listed

_MOST_NAMED = 4


def ranking_sentence(report: ManyRunReport) -> str:
    """Say which run is the best, or which cannot be told apart at the top."""
    count, top = len(report.ranking), report.top
    where = " over all tasks" if report.task == ALL_TASKS else ""
    first = report.ranking[0]
    score = f"{100 * first.score:.1f}%" if report.is_share else f"{first.score:.4g}"
    if len(top) == 1:
        return f"{first.label} is the best of {count} runs{where}: it scores {score} and is better than each other one."
    names = listed([run.label for run in top], _MOST_NAMED)
    level = [run.label for run in report.ranking if run.score == first.score]
    if len(level) == 1:
        ahead = f"{first.label} is ahead with {score}"
    else:
        ahead = f"{listed(level, _MOST_NAMED)} have the same score, {score}"
    if len(top) == count:
        return f"None of the {count} runs can be called the best{where}; {ahead}."
    others = count - len(top)
    return (
        f"{len(top)} of {count} runs may be the best{where}: {names}. {ahead}, and the other {others} "
        f"{'is' if others == 1 else 'are'} worse than at least one run."
    )
