"""Two passes over the same requests, compared: what differs, where, and by how little."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalrun_runner.benchmarks.aggregate import to_plain

Key = tuple[str, int, int, int]
"""(task, document, request within it, repeat)."""
Row = Sequence[tuple[int, float]]
"""Tokens with their log-probabilities, the most likely first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; of a generation also its tokens and, for each, the two most likely ones in its place."""

    value: Any
    scored_tokens: int = 0
    """How many tokens a log-probability is the sum of."""
    tokens: Sequence[int] = ()
    rows: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Pass:
    """Everything that one way of asking a model gave."""

    results: Mapping[str, Any]
    answers: Mapping[Key, Answer]
    failed: Mapping[str, str] = field(default_factory=dict)
    """``task/document`` -> error."""


def compare(theirs: Pass, ours: Pass) -> dict[str, Any]:
    """Counts and differences, as plain JSON."""
    keys = [key for key in theirs.answers if key in ours.answers]
    pairs = [(key, theirs.answers[key], ours.answers[key]) for key in keys]
    numbers = list(_number_pairs(theirs.results, ours.results))
    return {
        "requests": len(theirs.answers),
        "missing": sorted("/".join(map(str, key)) for key in set(theirs.answers) ^ set(ours.answers)),
        "generations": _generations([pair for pair in pairs if isinstance(pair[1].value, str)]),
        "scores": _scores([pair for pair in pairs if not isinstance(pair[1].value, str)]),
        "choices": _choices(pairs),
        "results": {
            "entries": len(numbers),
            "equal": sum(_same(a, b) for _, a, b in numbers),
            "differing": {path: [a, b] for path, a, b in numbers if not _same(a, b)},
        },
    }


def summary(found: Mapping[str, Any]) -> str:
    """A comparison in one line."""
    generations, scores, choices, results = (found[key] for key in ("generations", "scores", "choices", "results"))
    said = []
    if generations["count"]:
        said.append(
            f"answers {generations['equal']}/{generations['count']}, tokens bit-equal {generations['bit_equal']}/"
            f"{generations['tokens']}, at most {generations['noise']:.1e} apart"
        )
    if scores["count"]:
        said.append(
            f"log-probabilities bit-equal {scores['bit_equal']}/{scores['count']}, at most {scores['worst']:.1e} apart "
            f"({scores['worst_per_token']:.1e} a token), greedy {scores['greedy_equal']}/{scores['count']}, other "
            f"choices {len(choices['differing'])}/{choices['count']}"
        )
    return "; ".join([*said, f"results {results['equal']}/{results['entries']}"])


def _same(one: object, other: object) -> bool:
    return json.dumps(one, default=to_plain) == json.dumps(other, default=to_plain)  # to the last digit


def _number_pairs(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for part in ("results", "groups"):
        one, other = theirs.get(part) or {}, ours.get(part) or {}
        for task in sorted(set(one) | set(other)):
            mine, yours = one.get(task, {}), other.get(task, {})
            for name in sorted(set(mine) | set(yours)):
                yield f"{part}/{task}/{name}", mine.get(name, "absent"), yours.get(name, "absent")


def _generations(pairs: Sequence[tuple[Key, Answer, Answer]]) -> dict[str, Any]:
    differing = []
    tokens = equal_bits = 0
    noise = 0.0
    for key, one, other in pairs:
        for place, (mine, yours) in enumerate(zip(one.rows, other.rows, strict=False)):
            found, shift = _shift(mine, yours)
            tokens, equal_bits, noise = tokens + 1, equal_bits + (shift == 0.0), max(noise, shift)
            if one.tokens[place] != other.tokens[place]:
                differing.append(_where_they_part(key, place, one, other, found))
                break
        else:
            if one.value != other.value or list(one.tokens) != list(other.tokens):
                differing.append({"item": key, "unexplained": [one.value, other.value]})
    return {
        "count": len(pairs),
        "equal": sum(one.value == other.value for _, one, other in pairs),
        "tokens": tokens,
        "bit_equal": equal_bits,
        "noise": noise,
        "differing": differing,
    }


def _shift(mine: Row, yours: Row) -> tuple[list[int], float]:
    """The tokens that both rows hold, and the largest difference of their log-probabilities."""
    one, other = dict(mine), dict(yours)
    both = [token for token in one if token in other]
    return both, max((abs(one[token] - other[token]) for token in both), default=0.0)


def _where_they_part(key: Key, place: int, one: Answer, other: Answer, both: Sequence[int]) -> dict[str, Any]:
    """Why two greedy answers part: each pass's lead of its token over the other pass's token, at that place."""
    mine, yours = one.tokens[place], other.tokens[place]
    leads = []
    for row, first, second in ((one.rows[place], mine, yours), (other.rows[place], yours, mine)):
        found = dict(row)
        leads.append(found[first] - found[second] if second in found else None)
    return {"item": key, "token": place, "tokens": [mine, yours], "margins": leads, "both_rows_hold": sorted(both)}


def _scores(pairs: Sequence[tuple[Key, Answer, Answer]]) -> dict[str, Any]:
    worst = per_token = 0.0
    bits = flags = 0
    for _, one, other in pairs:
        (mine, greedy), (yours, other_greedy) = _score(one.value), _score(other.value)
        worst = max(worst, abs(mine - yours))
        per_token = max(per_token, abs(mine - yours) / max(1, one.scored_tokens))
        bits += mine == yours
        flags += greedy == other_greedy
    return {
        "count": len(pairs),
        "bit_equal": bits,
        "worst": worst,
        "worst_per_token": per_token,
        "greedy_equal": flags,
    }


def _score(value: Any) -> tuple[float, bool | None]:
    return (float(value[0]), bool(value[1])) if isinstance(value, tuple | list) else (float(value), None)


def _choices(pairs: Sequence[tuple[Key, Answer, Answer]]) -> dict[str, Any]:
    """Documents whose most likely choice differs, with each pass's lead of its choice over the other's."""
    documents: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for (task, doc, _, _), one, other in pairs:
        if isinstance(one.value, tuple | list):
            documents[task, doc].append((float(one.value[0]), float(other.value[0])))
    differing = []
    for (task, doc), scores in documents.items():
        mine, yours = ([pair[side] for pair in scores] for side in (0, 1))
        best, other_best = mine.index(max(mine)), yours.index(max(yours))
        if best != other_best:
            margins = [mine[best] - mine[other_best], yours[other_best] - yours[best]]
            differing.append({"item": [task, doc], "choices": [best, other_best], "margins": margins})
    return {"count": len(documents), "differing": differing}
