"""Rankings as JSON documents for programs. Numbers that are not finite are null."""

from __future__ import annotations

from evalrun_runner.comparing.comparison import ComparisonRequest
from evalrun_runner.comparing.document import Json, number, run_document
from evalrun_runner.comparing.ranking import ManyRunReport
from evalrun_runner.comparing.ranking_words import ranking_sentence


def ranking_document(report: ManyRunReport, request: ComparisonRequest) -> Json:
    """Return the comparison of many runs."""
    labels = [run.label for run in report.ranking]
    return {
        "summary": ranking_sentence(report),
        "confidence": request.confidence,
        "runs": [run_document(run) for run in report.runs],
        "task": report.task,
        "metric": report.metric.metric,
        "filter": report.metric.filter,
        "lowerIsBetter": report.lower_is_better,
        "items": report.items,
        "completeItems": report.complete,
        "ranking": [
            {
                "run": run.label,
                "rank": run.rank,
                "bestRank": run.best_rank,
                "worstRank": run.worst_rank,
                "score": number(run.score),
                "low": None if run.interval is None else number(run.interval.low),
                "high": None if run.interval is None else number(run.interval.high),
                "n": run.n,
            }
            for run in report.ranking
        ],
        "groups": [[labels[place] for place in group] for group in report.groups],
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "n": pair.n,
                "difference": number(pair.difference),
                "low": number(pair.low),
                "high": number(pair.high),
                "p": number(pair.p),
                "pHolm": number(pair.holm),
                "pBenjaminiHochberg": number(pair.benjamini_hochberg),
            }
            for pair in report.pairs
        ],
        "omnibus": None
        if report.omnibus is None
        else {"q": report.omnibus[0], "df": report.omnibus[1], "p": report.omnibus[2]},
        "differences": [
            {"task": one.task, "what": one.what, "baseline": one.first, "other": one.second}
            for one in report.differences
        ],
        "notes": list(report.notes),
    }
