"""Choice of the items with the worst scores that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from evalrun_runner.report.content import ItemList
from evalrun_runner.report.details import ItemDetails
from evalrun_runner.report.readings import ItemPlace, ItemReadings, MainScore

MOST_ITEMS = 20
"""Items that are shown."""
_EXPLANATION = (
    "Items with the worst scores of their tasks. Where many share the worst score, those shown are drawn at random."
)


def hardest(readings: ItemReadings, mains: dict[str, tuple[MainScore, bool]], details: ItemDetails) -> ItemList | None:
    """Read the items with the worst scores, in turns over the tasks; None where every item is perfect.

    Raises:
        LedgerCorrupt: An item cannot be read back.
    """
    places = in_turns(list(readings.worst.values()))[:MOST_ITEMS]
    if not places:
        return None
    shown = [details.show(place, f"{mains[place.task][0][0]} {place.value:g}") for place in places]
    return ItemList("Hardest items", _EXPLANATION, tuple(shown), sum(readings.imperfect.values()))


def in_turns(by_task: Sequence[Sequence[ItemPlace]]) -> list[ItemPlace]:
    """Take the first item of each task, then the second of each, and so on."""
    return [place for place in chain.from_iterable(zip_longest(*by_task)) if place is not None]
