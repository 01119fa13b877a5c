"""Words for numbers: what a verdict, a score and its interval mean, for people who know no statistics. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evalrun_api import GateResult, Verdict
from evalrun_api.spec.gates import GateRule
from evalrun_runner.errors import counted
from evalrun_runner.report.content import GateLine, Headline, ScoreLine, Tone
from evalrun_runner.statistics.interval import percent

TONES = {Verdict.PASSED: Tone.GOOD, Verdict.FAILED: Tone.BAD, Verdict.INCONCLUSIVE: Tone.UNSURE}
_MOST_NAMES = 3


def number(value: float | None, *, share: bool) -> str:
    """Format a score: a share in percent with one decimal, anything else with four digits."""
    if value is None:
        return "none"
    if not share:
        return f"{value:.4g}"
    percent = 100 * value
    # 99.97% is not 100%, and 0.02% is not 0%: near the ends more digits are shown.
    digits = 1 if value in (0, 1) or 0.1 <= percent <= 99.9 else 3
    return f"{percent:.{digits}f}%"


def points(value: float, *, share: bool, signed: bool = False) -> str:
    """Format a difference of scores: of shares in percentage points."""
    sign = "+" if signed else ""
    if not share:
        return f"{value:{sign}.4g}"
    shown = 100 * value
    digits = 1 if abs(shown) >= 0.05 or shown == 0 else 2
    return f"{shown:{sign}.{digits}f} {'point' if abs(shown) == 1 else 'points'}"


def count(n: int, word: str = "item") -> str:
    """Format a number of things."""
    return counted(n, word)


def score_sentence(line: ScoreLine) -> str:
    """Say a score and how sure it is."""
    share = line.is_share
    if line.value is None:
        return f"{line.name} has no value."
    said = f"{line.name} is {number(line.value, share=share)} over {count(line.n)}"
    if line.low is None or line.high is None:
        return f"{said}."
    low, high = number(line.low, share=share), number(line.high, share=share)
    return f"{said}; for other items like these it is probably between {low} and {high}."


def gate_line(gate: GateResult) -> GateLine:
    """Say what a gate asked, what was found, and how sure that is."""
    return GateLine(
        tone=TONES[gate.verdict],
        verdict=gate.verdict.value,
        name=f"{gate.task} {gate.metric}" + ("" if gate.filter == "none" else f" ({gate.filter})"),
        asked=_asked(gate),
        found=_found(gate),
        why=gate.message,
        advisory=bool(gate.advisory),
    )


def headline(gates: Sequence[GateLine], verdict: Verdict | None, scores: Sequence[ScoreLine], engine: str) -> Headline:
    """Say what came of the run.

    Args:
        gates: All gates.
        verdict: The verdict of those that count; None: nothing was to be decided.
        scores: Scores, the most important one first.
        engine: ``vllm``, or ``mock`` where the answers are made up.
    """
    caution = "The mock engine made the answers up: these scores say nothing of a model." if engine == "mock" else ""
    if verdict is None:
        first = next((line for line in scores if line.value is not None), None)
        said = "No gates were set, so nothing was to pass or to fail."
        return Headline(Tone.PLAIN, "No verdict", said if first is None else f"{said} {score_sentence(first)}", caution)
    counted = [gate for gate in gates if not gate.advisory]
    return Headline(TONES[verdict], verdict.value, _overall(counted, verdict), caution)


def _overall(gates: Sequence[GateLine], verdict: Verdict) -> str:
    named = [gate for gate in gates if gate.verdict == verdict.value]
    if verdict is Verdict.PASSED:
        if len(gates) == 1:
            return f"The only gate holds: {named[0].name}. {named[0].found}"
        return f"All {len(gates)} gates hold, and each of them would hold for other items like these, too."
    names = ", ".join(gate.name for gate in named[:_MOST_NAMES])
    more = f" and {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else ""
    of = "The gate" if len(gates) == 1 else f"{len(named)} of {len(gates)} gates"
    if verdict is Verdict.FAILED:
        does = "does" if len(named) == 1 else "do"
        end = f" {named[0].found}" if len(named) == 1 else ""
        return f"{of} {does} not hold: {names}{more}.{end}"
    is_are = "is" if len(named) == 1 else "are"
    end = f" {named[0].found}" if len(named) == 1 else ""
    return f"{of} {is_are} not decided: {names}{more}. There is not enough evidence for a yes or a no.{end}"


def _is_share(gate: GateResult) -> bool:
    numbers = [gate.score, gate.min, gate.max]
    return all(one is None or 0 <= one <= 1 for one in numbers)


def _asked(gate: GateResult) -> str:
    share = _is_share(gate)
    asked = []
    if gate.min is not None:
        asked.append(f"at least {number(gate.min, share=share)}")
    if gate.max is not None:
        asked.append(f"at most {number(gate.max, share=share)}")
    if gate.max_regression is not None:
        asked.append(f"no more than {points(gate.max_regression, share=share)} worse than the baseline")
    if gate.max_relative_regression is not None:
        asked.append(f"no more than {100 * gate.max_relative_regression:.3g}% of the baseline's score lost")
    return ", and ".join(asked)


def _found(gate: GateResult) -> str:
    if gate.score is None or gate.n is None:
        return "There is no such score."
    share = _is_share(gate)
    said = f"It is {number(gate.score, share=share)} over {count(gate.n)}"
    if gate.difference is not None:
        said += f", {points(gate.difference, share=share, signed=True)} against the baseline"
    sure = _how_sure(gate, share=share)
    return f"{said}{sure}." if sure else f"{said}."


def _how_sure(gate: GateResult, *, share: bool) -> str:
    """Say what the bounds leave open."""
    if gate.interval is None:
        return " (the bare score is compared: how sure it is was not asked)" if gate.rule is GateRule.POINT else ""
    sure = f"{percent(gate.confidence or 0.95)} sure"
    low, high = gate.interval[0], gate.interval[1]
    if gate.difference is not None:
        reach = f"between {points(low, share=share, signed=True)} and {points(high, share=share, signed=True)}"
        return f"; the true difference is probably {reach}"
    low_words, high_words = number(low, share=share), number(high, share=share)
    match gate.verdict:
        case Verdict.PASSED if gate.min is not None and gate.max is None:
            return f"; we can be {sure} of at least {low_words}"
        case Verdict.PASSED if gate.max is not None and gate.min is None:
            return f"; we can be {sure} of at most {high_words}"
        case Verdict.FAILED if gate.min is not None and gate.max is None:
            return f"; we can be {sure} that it is at most {high_words}"
        case Verdict.FAILED if gate.max is not None and gate.min is None:
            return f"; we can be {sure} that it is at least {low_words}"
    if share and low <= 0 and high >= 1:
        # Even one independent item leaves less open than that.
        return ", but all of its items come from one cluster, which says nothing of other ones"
    return f", but with so few items the true score may be anything from {low_words} to {high_words}"
