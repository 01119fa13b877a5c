"""How answers ended, from their responses alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_api import AnswerCounts
from evalrun_runner.records.answers import answer_of
from evalrun_runner.records.results import Answer, ItemCounts, Response

counts = st.builds(ItemCounts, *[st.integers(0, 2**40)] * 7)


def text(value: str, reason: str = "stop", *, in_thought: bool = False) -> Response:
    return Response(value, reason, 5, 3, in_thought=in_thought)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (text("42"), Answer.COMPLETE),
        (text("42", "length"), Answer.TRUNCATED),
        (text("la la la", "repetition"), Answer.TRUNCATED),
        (text("so it is 42, or is it", in_thought=True), Answer.TRUNCATED),
        (text("", "length"), Answer.TRUNCATED),
        (text("", in_thought=True), Answer.TRUNCATED),
        (text(""), Answer.EMPTY),
        (text(" \n"), Answer.EMPTY),
        (text("", "content_filter"), Answer.FILTERED),
        (text("I cannot help with that.", "refusal"), Answer.REFUSED),
        (Response((-1.5, True), "length", 5, 1), Answer.COMPLETE),
        (Response(-12.25, "length", 5, 1), Answer.COMPLETE),
    ],
)
def test_a_response_says_how_the_answer_ended(response: Response, answer: Answer) -> None:
    assert answer_of([[response]]) is answer


def test_an_item_is_as_its_worst_repeat() -> None:
    assert answer_of([[text("42"), text("42", "length")], [text("")]]) is Answer.TRUNCATED
    assert answer_of([[text("", "content_filter"), text("42", "length")]]) is Answer.FILTERED


def test_an_item_without_responses_lacks_nothing() -> None:
    assert answer_of([]) is Answer.COMPLETE


@given(counts, counts)
def test_counts_that_are_added_and_taken_away_again_are_the_same(one: ItemCounts, other: ItemCounts) -> None:
    assert one + other - other == one
    assert (one + other).total == one.total + other.total
    assert (one + other).complete == one.complete + other.complete


def test_results_count_every_kind_of_answer() -> None:
    assert set(AnswerCounts.model_fields) == set(Answer)
