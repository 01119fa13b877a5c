"""Sentences about comparisons for people who know no statistics. Pure."""

from __future__ import annotations

from evalrun_runner.comparing.comparison import ALL_TASKS, NoiseFloor, TwoRunReport
from evalrun_runner.comparing.two import ComparisonFinding, MarginFinding, MarginVerdict, ScoreComparison
from evalrun_runner.errors import counted


def headline(report: TwoRunReport) -> str:
    """Say in one sentence what came of a comparison of two runs."""
    score, ours, theirs = report.headline, report.baseline.label, report.candidate.label
    if report.noise is not None:
        return noise_sentence(report.noise, ours, theirs)
    if score.margin is not None:
        return margin_sentence(score, score.margin, ours, theirs)
    return difference_sentence(score, ours, theirs)


def difference_sentence(score: ScoreComparison, baseline: str, candidate: str) -> str:
    """Say which of two runs is better, by how much, and how sure that is."""
    sign = -1 if score.lower_is_better else 1
    ends = sorted((sign * score.interval.low, sign * score.interval.high))
    gain = sign * score.difference
    where = _where(score)
    match score.finding:
        case ComparisonFinding.BETTER:
            span = f"between {_bare(max(ends[0], 0.0), score)} and {_bare(ends[1], score)}"
            return f"{candidate} is better than {baseline}{where} by {amount(gain, score)} ({span})."
        case ComparisonFinding.WORSE:
            span = f"between {_bare(max(-ends[1], 0.0), score)} and {_bare(-ends[0], score)}"
            return f"{candidate} is worse than {baseline}{where} by {amount(-gain, score)} ({span})."
    apart = f"{baseline} and {candidate} cannot be told apart{where}"
    possible = f"anything from {_signed(ends[0], score)} to {_signed(ends[1], score)} is possible"
    if not ends[0] <= 0 <= ends[1]:
        few = f"but with {counted(score.changed, 'changed item')} of {score.n:,} chance may explain it"
        return f"{apart}: {candidate} is {_signed(gain, score)} here, {few}."
    if not score.changed:
        which = "the only item" if score.n == 1 else f"each of {score.n:,} items"
        return f"{apart}: they have the same score on {which}; {possible}."
    return f"{apart}: {candidate} is {_signed(gain, score)} here, and {possible}."


def margin_sentence(score: ScoreComparison, margin: MarginFinding, baseline: str, candidate: str) -> str:
    """Say whether a candidate is worse by more than the margin."""
    allowed, gain = amount(margin.margin, score), -score.difference if score.lower_is_better else score.difference
    where = _where(score)
    seen = f"it is {_signed(gain, score)} here, and at worst {_signed(-margin.worst, score)}"
    match margin.verdict:
        case MarginVerdict.HELD:
            return f"{candidate} is not worse than {baseline}{where} by more than {allowed}: {seen}."
        case MarginVerdict.BROKEN:
            return f"{candidate} is worse than {baseline}{where} by more than {allowed}: it is {_signed(gain, score)}."
    return f"It is open whether {candidate} is worse than {baseline}{where} by more than {allowed}: {seen}."


def equivalence_sentence(score: ScoreComparison, margin: MarginFinding, baseline: str, candidate: str) -> str:
    """Say whether two runs are as good as each other within the margin."""
    allowed = amount(margin.margin, score)
    if margin.equivalent:
        return f"{baseline} and {candidate} are equally good within {allowed} either way."
    return f"That {baseline} and {candidate} are equally good within {allowed} either way is not shown."


def noise_sentence(noise: NoiseFloor, first: str, second: str) -> str:
    """Say how much two runs of one model differ."""
    share = f"{100 * noise.flipped / noise.n:.2g}%"
    span = f"between {100 * noise.interval.low:.2g}% and {100 * noise.interval.high:.2g}%"
    return (
        f"{first} and {second} are two runs of one model: {noise.flipped:,} of {counted(noise.n)} flipped between them "
        f"({share}, {span}); scores that differ by less than {_points(noise.points)} points differ by noise."
    )


def amount(value: float, score: ScoreComparison) -> str:
    """Return an amount with its unit: percentage points, or the score's own."""
    if not score.is_share:
        return f"{value:.4g}"
    return percentage_points(value)


def percentage_points(share: float) -> str:
    """Return a difference of shares in percentage points: `2 points` for 0.02."""
    text = _points(share)
    return f"{text} point" if text == "1" else f"{text} points"


def _signed(gain: float, score: ScoreComparison) -> str:
    """Return a gain or loss in words."""
    text = amount(abs(gain), score)
    if text in {"0 points", "0"}:
        return "no better and no worse"
    return f"{text} {'better' if gain > 0 else 'worse'}"


def _bare(value: float, score: ScoreComparison) -> str:
    return _points(value) if score.is_share else f"{value:.4g}"


def _points(share: float) -> str:
    """Return percentage points with one decimal, with more where the number is small."""
    points = 100 * share
    text = f"{points:.1f}" if abs(points) >= 0.95 else f"{points:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _where(score: ScoreComparison) -> str:
    return " over all tasks" if score.task == ALL_TASKS else ""
