"""Items with their prompts and answers, for people: read one by one, cut, and made fit to be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.plan import Chunk, Item, RequestType
from evalrun_runner.records.results import ItemResult, Response
from evalrun_runner.report.content import ShownItem
from evalrun_runner.report.readings import ItemPlace
from evalrun_runner.report.text import one_line, shown

MOST_PROMPT, MOST_ANSWER, MOST_TARGET = 3_000, 3_000, 600
"""Characters of a text that are shown."""
_MOST_CHOICES = 20
_TARGET_FIELDS = ("answer", "target", "gold", "label", "answers", "answerKey")
"""Fields in which data sets have the right answer, most usual first."""


class ItemDetails:
    """Reader of a run's items. Raises the errors of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._chunks: dict[str, Mapping[int, Chunk]] = {}

    def show(self, place: ItemPlace, why: str) -> ShownItem:
        """Read an item.

        Args:
            place: Where it lies.
            why: Why it is shown.
        """
        item, result = self.read(place)
        return ShownItem(
            task=one_line(item.task),
            doc=str(item.doc_id),
            why=why,
            prompt=shown(prompt_of(item), MOST_PROMPT),
            target=shown(target_of(item), MOST_TARGET),
            answer=shown(answer_of(item, result), MOST_ANSWER),
        )

    def read(self, place: ItemPlace) -> tuple[Item, ItemResult]:
        """Read an item with its result, as they are."""
        chunk = self._chunk(place.task, place.chunk)
        items = self._ledger.open_segment(place.task, chunk.segment).items(chunk)
        return items[place.row], self._ledger.read_part(chunk).rows[place.row]

    def _chunk(self, task: str, number: int) -> Chunk:
        if task not in self._chunks:
            index = self._ledger.task_index(task)
            segments = range(0 if index is None else index.segments)
            found = (chunk for segment in segments for chunk in self._ledger.read_chunks(task, segment))
            self._chunks[task] = {chunk.number: chunk for chunk in found}
        if number not in self._chunks[task]:
            raise LedgerCorrupt(f"the manifest of task {task} has no chunk {number}, though there is a part of it")
        return self._chunks[task][number]


def prompt_of(item: Item) -> str:
    """Return the prompt of an item: of its first request."""
    return str(item.requests[0].arguments[0]) if item.requests else item.fault or ""


def target_of(item: Item) -> str:
    """Return the right answer as the document has it, empty where no usual field holds one."""
    found = next((item.doc[name] for name in _TARGET_FIELDS if item.doc.get(name) not in (None, "")), "")
    return found if isinstance(found, str) else repr(found) if found != "" else ""


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
        yield f"{mark}{one_line(str(text))}   (log-probability {log_probability:.2f})"
    if len(pairs) > _MOST_CHOICES:
        yield f"and {len(pairs) - _MOST_CHOICES} more choices"


def _log_probability(response: Response) -> float:
    value = response.value
    return float(value[0]) if isinstance(value, tuple) else float(value) if isinstance(value, float) else 0.0


def _text(response: Response) -> str:
    ended = "" if response.finish_reason in ("", "stop") else f"\n(ended: {response.finish_reason})"
    return f"{response.value}{ended}"
