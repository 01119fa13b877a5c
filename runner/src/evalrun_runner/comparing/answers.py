"""Answers of a model for people: a text, or which of the choices it found how likely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalrun_runner.records.plan import Item, RequestType
from evalrun_runner.records.results import ItemResult, Response

_MOST_CHOICES = 20
_MOST_CHOICE = 300
"""Characters of a choice."""


def answer_of(item: Item, result: ItemResult) -> str:
    """Return what a model answered: a text, or which of the choices it found how likely."""
    responses = result.outcome.responses
    if not responses or not responses[0]:
        return result.outcome.error or "no answer"
    if item.requests[0].type is RequestType.GENERATE_UNTIL:
        repeats = len(responses[0])
        return _text(responses[0][0]) + (f"\n(the first of {repeats} answers)" if repeats > 1 else "")
    return "\n".join(_choices(item, [of_request[0] for of_request in responses if of_request]))


def _choices(item: Item, responses: Sequence[Response]) -> Iterator[str]:
    likely = [_log_probability(one) for one in responses]
    first = likely.index(max(likely)) if likely else 0
    contexts = {str(request.arguments[0]) for request in item.requests}
    pairs = list(zip(item.requests, likely, strict=False))
    for place, (request, log_probability) in enumerate(pairs[:_MOST_CHOICES]):
        # Where contexts differ, it is they that are the choices.
        text = request.arguments[-1] if len(contexts) == 1 else request.arguments[0]
        mark = "→ " if place == first and len(pairs) > 1 else "  "
        yield f"{mark}{_one_line(str(text))}   (log-probability {log_probability:.2f})"
    if len(pairs) > _MOST_CHOICES:
        yield f"and {len(pairs) - _MOST_CHOICES} more choices"


def _log_probability(response: Response) -> float:
    value = response.value
    return float(value[0]) if isinstance(value, tuple) else float(value) if isinstance(value, float) else 0.0


def _text(response: Response) -> str:
    ended = "" if response.finish_reason in ("", "stop") else f"\n(ended: {response.finish_reason})"
    return f"{response.value}{ended}"


def _one_line(text: str) -> str:
    line = " ".join(text[: 4 * _MOST_CHOICE].split())
    return line if len(line) <= _MOST_CHOICE else f"{line[: _MOST_CHOICE - 1]}…"
