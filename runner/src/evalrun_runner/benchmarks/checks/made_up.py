"""Made-up answers to an item, by which its scoring is tried before an engine is asked."""

from __future__ import annotations

from collections.abc import Sequence

from evalrun_runner.benchmarks.checks.gold import Gold
from evalrun_runner.records.plan import Item, Request, RequestType
from evalrun_runner.records.results import ItemStatus, Outcome, Response

RIGHT, EMPTY, OTHER = range(3)
"""Places of the made-up answers: the target itself, nothing (or another choice), and something else."""
_SOMETHING = "The answer is (A), which is 42.\n#### 42"


def made_up(item: Item, gold: Gold) -> tuple[Outcome, Outcome, Outcome]:
    """Make three answers to an item, each of which a model could give.

    Args:
        item: The item.
        gold: Its right answers.
    """
    right = gold.places[0] if gold.places else 0
    choices = max(1, sum(request.type is RequestType.LOGLIKELIHOOD for request in item.requests))
    texts = (gold.texts[0] if gold.texts else "", "", _SOMETHING)
    winners = (right, (right + 1) % choices, (right + 2) % choices)
    right_one, empty, other = (
        Outcome(ItemStatus.OK, _answers(item.requests, text, winner, number))
        for number, (text, winner) in enumerate(zip(texts, winners, strict=True))
    )
    return right_one, empty, other


def _answers(requests: Sequence[Request], text: str, winner: int, number: int) -> tuple[tuple[Response, ...], ...]:
    return tuple(
        (_answer(request, place, text, winner, number),) * request.repeats for place, request in enumerate(requests)
    )


def _answer(request: Request, place: int, text: str, winner: int, number: int) -> Response:
    value: str | float | tuple[float, bool]
    match request.type:
        case RequestType.GENERATE_UNTIL:
            value = text
        case RequestType.LOGLIKELIHOOD_ROLLING:
            value = -8.0 * (number + 1)
        case RequestType.LOGLIKELIHOOD:
            # All different, so that one choice wins; with a single request, the first answer only is greedy.
            value = (-1.0 - number / 8, number == 0) if place == winner else (-2.0 - place / 8, False)
    return Response(value, "stop", 1, 1)
