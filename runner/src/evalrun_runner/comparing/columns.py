"""Metric values of items gathered into columns of numbers.

Values of items repeat: where a metric is 0 or 1, a million items have two distinct texts. Each distinct text is decoded
once, and the items keep its number.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np

from evalrun_runner.comparing.scored import ClassLabels, FloatArray, ItemScores, MetricName

_MOST_REMEMBERED = 4096
"""Distinct texts that are remembered: more of them hardly come again."""
_OF_CLASSES = frozenset({"f1", "mcc", "matthews_corrcoef"})
"""Metrics whose values of items are (right class, predicted class), also where classes are texts."""

ItemValues = Mapping[MetricName, object]
Text = TypeVar("Text", str, bytes)


class ScoreColumns(Generic[Text]):
    """Columns of one task, item by item.

    ``decode`` turns the text of an item's scores into its values; None stands for an item without any.
    """

    def __init__(self, decode: Callable[[Text], ItemValues]) -> None:
        self._decode: Callable[[Text], ItemValues] = decode
        self._remembered: dict[Text | None, int] = {None: 0}
        self._distinct = 1
        self._items = array("q")
        self._values: dict[MetricName, array[float]] = {}
        self._classes: dict[MetricName, _Classes] = {}
        self._unusable: dict[MetricName, str] = {}

    def add(self, text: Text | None) -> None:
        """Add an item by the text of its scores."""
        number = self._remembered.get(text)
        if number is None:
            assert text is not None
            number = self._new(self._decode(text))
            if len(self._remembered) < _MOST_REMEMBERED:
                self._remembered[text] = number
        self._items.append(number)

    def add_all(self, texts: Iterable[Text | None]) -> None:
        """Add items by the texts of their scores."""
        known = list(texts)
        try:
            # Most parts have texts that were seen before: a million of them are looked up without a step of Python.
            self._items.extend(list(map(self._remembered.__getitem__, known)))
        except KeyError:
            for text in known:
                self.add(text)

    def finish(self, order: str | None = None) -> ItemScores:
        """Return the columns."""
        items = np.frombuffer(self._items, dtype=np.int64) if self._items else np.empty(0, dtype=np.int64)
        return ItemScores(
            values={name: self._column(name)[items] for name in self._values},
            labels={
                name: classes.labels(self._distinct, items)
                for name, classes in self._classes.items()
                if name in self._values
            },
            unusable=dict(self._unusable),
            order=order,
            size=len(items),
        )

    def _column(self, name: MetricName) -> FloatArray:
        column = np.full(self._distinct, np.nan)
        known = self._values[name]
        column[: len(known)] = known
        return column

    def _new(self, values: ItemValues) -> int:
        number = self._distinct
        self._distinct += 1
        for name, value in values.items():
            if name in self._unusable:
                continue
            try:
                score = self._score(name, value, number)
            except TypeError as error:
                self._unusable[name] = str(error)
                self._values.pop(name, None)
                continue
            column = self._values.setdefault(name, array("d"))
            column.extend([math.nan] * (number - len(column)))
            column.append(score)
        return number

    def _score(self, name: MetricName, value: object, number: int) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool | int | float | np.number | np.bool_):
            number_value = float(value)
            return number_value if math.isfinite(number_value) else math.nan
        if isinstance(value, list | tuple) and len(value) == 2 and _are_classes(name, value):
            return self._classes.setdefault(name, _Classes()).add(number, str(value[0]), str(value[1]))
        raise TypeError(f"an item has a {type(value).__name__} for a value, not a number")


def _are_classes(name: MetricName, pair: list[object] | tuple[object, ...]) -> bool:
    if name.metric in _OF_CLASSES:
        return all(isinstance(one, str | bool | int | np.integer) for one in pair)
    return False


class _Classes:
    """Right and predicted classes by the number of a distinct text."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._pairs: dict[int, tuple[int, int]] = {}

    def add(self, number: int, gold: str, predicted: str) -> float:
        places = [self._names.setdefault(text, len(self._names)) for text in (gold, predicted)]
        self._pairs[number] = (places[0], places[1])
        return float(gold == predicted)

    def labels(self, distinct: int, items: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> ClassLabels:
        table = np.full((2, distinct), -1, dtype=np.int64)
        for number, pair in self._pairs.items():
            table[:, number] = pair
        return ClassLabels(tuple(self._names), table[0][items], table[1][items])
