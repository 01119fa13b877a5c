"""Comparisons as JSON documents for programs. Numbers that are not finite are null."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evalrun_runner.comparing.comparison import ComparisonRequest, TwoRunReport
from evalrun_runner.comparing.labels import LabelScores, SureScore
from evalrun_runner.comparing.scored import ScoredRun
from evalrun_runner.comparing.two import ScoreComparison
from evalrun_runner.comparing.words import headline

Json = Mapping[str, object]


def two_runs_document(report: TwoRunReport, request: ComparisonRequest) -> Json:
    """Return the comparison of two runs."""
    noise = report.noise
    return {
        "summary": headline(report),
        "confidence": request.confidence,
        "baseline": run_document(report.baseline),
        "candidate": run_document(report.candidate),
        "headline": _score(report.headline),
        "scores": [_score(score) for score in report.scores],
        "labels": [_labels(one) for one in report.labels],
        "noiseFloor": None
        if noise is None
        else {
            "flipped": noise.flipped,
            "n": noise.n,
            "share": noise.flipped / noise.n,
            "low": noise.interval.low,
            "high": noise.interval.high,
            "difference": noise.points,
        },
        "changedItems": [
            {
                "task": item.task,
                "item": item.text.name,
                "metric": item.metric.metric,
                "filter": item.metric.filter,
                "change": "lost" if item.is_lost else "gained",
                "baseline": item.baseline,
                "candidate": item.candidate,
                "prompt": item.text.prompt,
                "target": item.text.target,
                "baselineAnswer": item.text.answer,
                "candidateAnswer": item.candidate_answer,
            }
            for item in report.changed
        ],
        "unpaired": [
            {"run": one.run, "task": one.task, "count": one.count, "items": list(one.names)} for one in report.lonely
        ],
        "differences": [
            {"task": one.task, "what": one.what, "baseline": one.first, "candidate": one.second}
            for one in report.differences
        ],
        "notes": list(report.notes),
    }


def _labels(scores: LabelScores) -> Json:
    return {
        "run": scores.run,
        "task": scores.task,
        "metric": scores.metric.metric,
        "filter": scores.metric.filter,
        "n": scores.n,
        "kappa": _sure(scores.kappa),
        "macroF1": scores.macro_f1,
        "classes": [
            {
                "class": one.name,
                "count": one.count,
                "precision": _sure(one.precision),
                "recall": _sure(one.recall),
                "f1": _sure(one.f1),
            }
            for one in scores.classes
        ],
    }


def _sure(score: SureScore) -> Json:
    interval = score.interval
    low, high = (None, None) if interval is None else (number(interval.low), number(interval.high))
    return {"value": score.value, "low": low, "high": high}


def run_document(run: ScoredRun) -> Json:
    """Return what a run is."""
    facts = run.facts
    return {"label": run.label, "place": run.place, "source": facts.source, "model": facts.model or None}


def number(value: float | None) -> float | None:
    """Return a number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def _score(score: ScoreComparison) -> Json:
    counts, margin = score.counts, score.margin
    return {
        "task": score.task,
        "metric": score.metric.metric,
        "filter": score.metric.filter,
        "kind": score.kind.value,
        "lowerIsBetter": score.lower_is_better,
        "n": score.n,
        "baseline": number(score.baseline),
        "candidate": number(score.candidate),
        "difference": number(score.difference),
        "low": number(score.interval.low),
        "high": number(score.interval.high),
        "method": score.interval.method.value,
        "finding": score.finding.value,
        "p": number(score.p),
        "midP": number(score.mid_p),
        "lost": score.lost,
        "gained": score.gained,
        "counts": None
        if counts is None
        else {
            "bothRight": int(counts.both),
            "baselineOnly": int(counts.lost),
            "candidateOnly": int(counts.gained),
            "neither": int(counts.neither),
        },
        "margin": None
        if margin is None
        else {
            "margin": margin.margin,
            "verdict": margin.verdict.value,
            "equivalent": margin.equivalent,
            "greatestLoss": number(margin.worst),
        },
        "missing": {"baseline": score.missing_baseline, "candidate": score.missing_candidate},
    }
