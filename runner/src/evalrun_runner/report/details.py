"""Items with their prompts and answers, for people: read one by one, cut, and made fit to be shown."""

from __future__ import annotations

from collections.abc import Mapping

from evalrun_runner.comparing.answers import answer_of
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemResult
from evalrun_runner.report.content import ShownItem
from evalrun_runner.report.readings import ItemPlace
from evalrun_runner.report.text import one_line, shown

MOST_PROMPT, MOST_ANSWER, MOST_TARGET = 3_000, 3_000, 600
"""Characters of a text that are shown."""
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
            self._chunks[task] = {chunk.number: chunk for chunk in self._ledger.planned_chunks(task)}
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
