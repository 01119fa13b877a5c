"""Kind of an item's answer, from its responses alone, so that it is the same wherever they are read again.

The first kind of this order that any response of the item has: filtered, refused, truncated, empty, complete. An item
with four repeats of which one was cut is truncated.
"""

from __future__ import annotations

from collections.abc import Iterable

from evalrun_runner.records.results import Answer, Outcome, Response

_BY_REASON = {
    "length": Answer.TRUNCATED,
    "repetition": Answer.TRUNCATED,
    "content_filter": Answer.FILTERED,
    "refusal": Answer.REFUSED,
}
"""Finish reasons, as vLLM and the APIs of other engines name them, that are no end of an answer."""
_WORST_FIRST = (Answer.FILTERED, Answer.REFUSED, Answer.TRUNCATED, Answer.EMPTY, Answer.COMPLETE)


def answer_of(responses: Iterable[Iterable[Response]]) -> Answer:
    """Return the kind of an item's answer.

    Args:
        responses: The item's responses by request and repeat.
    """
    found = {_of(response) for request in responses for response in request}
    return next((kind for kind in _WORST_FIRST if kind in found), Answer.COMPLETE)


def cut_thinking(outcome: Outcome) -> bool:
    """Return whether an item's answer was cut in the model's thinking or after it.

    What the model had answered with more room is then not known, while an answer without thinking that goes on to its
    maximum length is how many models and tasks end.
    """
    thought = any(response.thought_tokens for request in outcome.responses for response in request)
    return outcome.answer is Answer.TRUNCATED and thought


def _of(response: Response) -> Answer:
    if not isinstance(response.value, str):
        return Answer.COMPLETE  # a log-likelihood: whatever token was generated beside it was not asked for
    if response.in_thought:
        return Answer.TRUNCATED
    if (kind := _BY_REASON.get(response.finish_reason)) is not None:
        return kind
    return Answer.COMPLETE if response.value.strip() else Answer.EMPTY
