"""Metrics and labels of a PromQL expression, parsed without a Prometheus, to compare them with the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evalrun_api.metrics import ALL, MetricType

TARGET_LABELS = frozenset({"job", "instance", "namespace", "pod"})
"""Labels that Prometheus adds to every series: they identify the scraped pod."""

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<string>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*`)
    | (?P<range>\[[^\]]*\])
    | (?P<number>0x[0-9a-fA-F]+ | (?:\d+(?:ms|[smhdwy]))+ | \d*\.?\d+(?:[eE][+-]?\d+)?)
    | (?P<variable>\$\{?\w+\}?)
    | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<space>\s+)
    | (?P<sign>=~|!~|!=|==|>=|<=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan", "start", "end"})


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric as an expression selects it: its name and its matchers as (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """The names in an expression."""

    selectors: tuple[Selector, ...]
    grouping: frozenset[str]
    """Labels of ``by``, ``on``, ``group_left`` and similar."""
    made: frozenset[str]
    """Labels that the expression creates, by ``count_values``, ``label_replace`` or ``label_join``."""

    @property
    def metrics(self) -> frozenset[str]:
        """Every metric."""
        return frozenset(selector.metric for selector in self.selectors)


def names_in(expression: str) -> Names:
    """Parse an expression, which may contain Grafana's variables. Raises ``ValueError`` if it cannot be parsed."""
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    grouping: set[str] = set()
    made: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        after = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind != "name":
            if text == "{":
                raise ValueError(f"a selector without a metric: {expression}")
            at += 1
        elif text.lower() in _GROUPING:
            at, labels = _list(tokens, at + 1)
            grouping |= labels
        elif text.lower() in _WORDS and after != "{":
            at += 1
        elif after == "(" or after.lower() in _GROUPING:
            made |= _made(text, tokens[at + 1 :])
            at += 1
        else:
            at, matchers = _matchers(tokens, at + 1)
            selectors.append(Selector(text, matchers))
    return Names(tuple(selectors), frozenset(grouping), frozenset(made))


def problems(expression: str, recorded: Mapping[str, str]) -> list[str]:
    """List what is neither in the catalogue nor in ``recorded``: recording rules, expressions by name."""
    names = names_in(expression)
    found = []
    there = set(TARGET_LABELS | names.made)
    for selector in names.selectors:
        labels = labels_of(selector.metric, recorded)
        if labels is None:
            found.append(f"there is no metric {selector.metric}")
            continue
        there |= labels
        for label, _, _ in selector.matchers:
            if label not in labels | TARGET_LABELS:
                found.append(f"{selector.metric} has no label {label}")
    found += [f"no metric in it has the label {label}" for label in sorted(names.grouping - there)]
    return found


def labels_of(metric: str, recorded: Mapping[str, str]) -> frozenset[str] | None:
    """Return the possible labels of this series, without Prometheus' own; None if there is no such metric."""
    if metric in recorded:
        names = names_in(recorded[metric])
        parts = [labels_of(one, recorded) or frozenset() for one in names.metrics]
        return names.made.union(*parts)
    for known in ALL:
        if metric in known.series:
            bucket = known.kind is MetricType.HISTOGRAM and metric.endswith("_bucket")
            return frozenset(known.labels) | ({"le"} if bucket else set())
    return frozenset() if metric == "up" or metric.startswith("process_") else None


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expression):
        assert match.lastgroup is not None
        if match.lastgroup not in {"comment", "space"}:
            yield match.lastgroup, match.group()


def _list(tokens: list[tuple[str, str]], at: int) -> tuple[int, set[str]]:
    """Return the labels of ``(a, b)``, and the position after it; ``group_left`` may have none."""
    if at >= len(tokens) or tokens[at][1] != "(":
        return at, set()
    end = next(place for place in range(at, len(tokens)) if tokens[place][1] == ")")
    return end + 1, {text for kind, text in tokens[at:end] if kind == "name"}


def _matchers(tokens: list[tuple[str, str]], at: int) -> tuple[int, tuple[tuple[str, str, str], ...]]:
    """Return the matchers of ``{a="b"}``, if there are any, and the position after them."""
    if at >= len(tokens) or tokens[at][1] != "{":
        return at, ()
    matchers = []
    at += 1
    while tokens[at][1] != "}":
        if tokens[at][1] == ",":
            at += 1
            continue
        (kind, label), (_, operator), (value_kind, value) = tokens[at : at + 3]
        if kind != "name" or value_kind != "string":
            raise ValueError(f"{label}{operator}{value} is no matcher")
        matchers.append((label, operator, value[1:-1]))
        at += 3
    return at + 1, tuple(matchers)


def _made(function: str, tokens: list[tuple[str, str]]) -> set[str]:
    """Return the labels that a call creates: ``tokens`` follow the function's name."""
    if function not in {"count_values", "label_replace", "label_join"}:
        return set()
    return {next(text for kind, text in tokens if kind == "string")[1:-1]}
