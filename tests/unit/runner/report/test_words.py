"""What people read: verdicts and scores in words."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import GateResult, Reason, Verdict
from evalrun_runner.report import words
from evalrun_runner.report.content import ScoreLine, Tone

LINE = ScoreLine("gsm8k", "exact_match", "none", 0.741, 0.717, 0.764, 0.012, 1319)


def gate(verdict: Verdict, **fields: Any) -> GateResult:
    usual: dict[str, Any] = {"task": "gsm8k", "metric": "exact_match", "min": 0.7, "score": 0.741, "n": 1319}
    return GateResult.model_validate({**usual, "verdict": verdict, "reason": Reason.GATES_PASSED, **fields})


@pytest.mark.parametrize(
    ("value", "share", "expected"),
    [
        (0.741, True, "74.1%"),
        (1.0, True, "100.0%"),
        (0.9997, True, "99.970%"),
        (0.0002, True, "0.020%"),
        (0.0, True, "0.0%"),
        (12.3456, False, "12.35"),
        (None, True, "none"),
    ],
)
def test_numbers_are_short_and_never_rounded_to_certainty(value: float | None, share: bool, expected: str) -> None:
    assert words.number(value, share=share) == expected


def test_a_score_is_said_with_its_range() -> None:
    assert words.score_sentence(LINE) == (
        "gsm8k exact_match is 74.1% over 1,319 items; "
        "for other items like these it is probably between 71.7% and 76.4%."
    )


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.PASSED, "It is 74.1% over 1,319 items; we can be 95% sure of at least 72.0%."),
        (Verdict.FAILED, "It is 74.1% over 1,319 items; we can be 95% sure that it is at most 76.1%."),
        (
            Verdict.INCONCLUSIVE,
            "It is 74.1% over 1,319 items, but with so few items the true score may be anything from 72.0% to 76.1%.",
        ),
    ],
)
def test_a_gate_says_how_sure_its_verdict_is(verdict: Verdict, expected: str) -> None:
    line = words.gate_line(gate(verdict, interval=(0.72, 0.761)))
    assert (line.asked, line.found) == ("at least 70.0%", expected)


def test_a_regression_is_said_in_points() -> None:
    found = words.gate_line(
        gate(
            Verdict.PASSED,
            min=None,
            maxRegression=0.02,
            baseline={"runName": "old"},
            value=-0.004,
            interval=(-0.012, 0.004),
        )
    )
    assert found.asked == "no more than 2.0 points worse than the baseline"
    assert "-0.4 points against the baseline; the true difference is probably between -1.2 points and" in found.found


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_the_headline_needs_no_statistics(verdict: Verdict | None) -> None:
    gates = [] if verdict is None else [words.gate_line(gate(verdict, interval=(0.72, 0.76)))]
    found = words.headline(gates, verdict, [LINE], "vllm")
    assert found.word == (verdict.value if verdict else "No verdict")
    assert not {"significant", "p", "p-value", "hypothesis", "null"} & set(found.sentence.lower().split())
    assert (
        found.tone
        is {
            Verdict.PASSED: Tone.GOOD,
            Verdict.FAILED: Tone.BAD,
            Verdict.INCONCLUSIVE: Tone.UNSURE,
            None: Tone.PLAIN,
        }[verdict]
    )


def test_made_up_answers_are_cautioned_against() -> None:
    assert "made the answers up" in words.headline([], None, [LINE], "mock").caution


def test_one_cluster_is_not_explained_by_few_items() -> None:
    found = words.gate_line(gate(Verdict.INCONCLUSIVE, interval=(0.0, 1.0))).found
    assert found == (
        "It is 74.1% over 1,319 items, but all of its items come from one cluster, which says nothing of other ones."
    )


def test_no_confidence_is_said_to_be_a_certainty() -> None:
    line = words.gate_line(gate(Verdict.PASSED, interval=(0.72, 0.761), confidence=0.9999999))
    assert "99.99999% sure" in line.found
