"""Reading of what drivers report: a pod runs what users chose, so its words are fitted to the contract, not trusted.

A report that is not read would blind the operator: the run's status would stay as it was, or its results be lost. So
numbers are brought within their bounds, texts and lists are cut, and what still has no place is left out. None is
returned only for what is no report at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from evalrun_api import Reason, RunProgress, RunResult, Verdict
from evalrun_api.base import Reported
from evalrun_api.status.status import MAX_URI

R = TypeVar("R", bound=Reported)

ROUNDS = 16
"""Repairs of one report, each of all that is wrong in it: a value that is left out may leave out what holds it."""
DEPTH = 16
"""Levels of lists and objects that are read: the contract has fewer, and Python cannot walk hundreds."""
_DIGITS = 18
"""Digits of a number that are read: beyond any bound."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, except tabs and line breaks, and halves of characters, which no JSON can hold."""
_GONE: Any = object()
"""Stands for a value that is left out."""


def progress_of(text: bytes | str) -> RunProgress | None:
    """Read the answer of a driver to the question for its progress; None if it is none."""
    progress = _read(RunProgress, text)
    if progress is None or progress.eta is None:
        return progress
    return progress.model_copy(update={"eta": _in_utc(progress.eta)})


def result_of(text: bytes | str) -> RunResult | None:
    """Read the last words of a driver; None if it died without them and left its log instead."""
    result = _read(RunResult, text)
    if result is None:
        return None
    result = result.model_copy(update={"verdict": _verdict(result, text)})
    if len(result.results_uri or "") <= MAX_URI:
        return result
    # Half of an address is none; the operator knows where the results are.
    return result.model_copy(update={"results_uri": None})


def _verdict(result: RunResult, text: bytes | str) -> Verdict | None:
    """Return the worst that a result says of its gates, where it contradicts itself; None only without gates."""
    said = [gate.verdict for gate in result.gates if not gate.advisory]
    if result.verdict is not None:
        said.append(result.verdict)
    elif _was_judged(text):
        said.append(Verdict.INCONCLUSIVE)
    return Verdict.overall(said)


def _was_judged(text: bytes | str) -> bool:
    """Tell whether a result has gates, or a verdict in a word that is not known here."""
    value = _parse(text)
    if not isinstance(value, dict):
        return False
    gates = value.get("gates")
    if isinstance(gates, list):
        gates = [gate for gate in gates if not (isinstance(gate, dict) and gate.get("advisory") is True)]
    return bool(value.get("verdict") or gates)


def _read(model: type[R], text: bytes | str) -> R | None:
    value = _clean(_parse(text))
    if not isinstance(value, dict):
        return None
    for _ in range(ROUNDS):
        try:
            return model.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                if not _repair(value, one["type"], one["loc"], one.get("ctx", {})):
                    return None
            _sweep(value)
    return None


def _parse(text: bytes | str) -> object:
    whole = text.decode(errors="replace") if isinstance(text, bytes) else text
    try:
        return json.loads(whole, parse_int=lambda digits: int(digits[: _DIGITS + 1]), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _clean(value: object, depth: int = DEPTH) -> object:
    """Replace what no text can hold, and leave out what lies deeper than any report."""
    match value:
        case str():
            return _UNPRINTABLE.sub("\ufffd", value)
        case list() | dict() if depth == 0:
            return None
        case list():
            return [_clean(one, depth - 1) for one in value]
        case dict():
            return {key: _clean(one, depth - 1) for key, one in value.items()}
    return value


def _repair(value: object, kind: str, place: Iterable[int | str], bounds: dict[str, Any]) -> bool:
    """Bring one value within its bounds, or leave it out; return False where nothing would be left."""
    holders: list[tuple[Any, Any]] = []
    for key in place:
        inside = key in value if isinstance(value, dict) else isinstance(value, list) and key in range(len(value))
        if not inside:
            break
        holders.append((value, key))
        value = value[key]  # type: ignore[index]  # it was looked at above
    if not holders:
        return False
    if value is _GONE:
        return True
    holder, key = holders[-1]
    if kind in {"string_too_long", "too_long"}:
        holder[key] = value[: bounds["max_length"]]  # type: ignore[index]  # it is a text or a list
    elif kind in {"greater_than_equal", "less_than_equal"}:
        holder[key] = bounds["ge" if kind == "greater_than_equal" else "le"]
    elif kind == "enum" and key == "reason":
        # A newer driver has more reasons; what it says in words is worth more than the one word.
        holder[key] = _reason(holder)
    else:
        holder[key] = _GONE
    return True


def _reason(holder: dict[str, Any]) -> str:
    if "verdict" not in holder:
        return Reason.DRIVER_FAILED.value
    known = {Verdict.PASSED.value: Reason.GATES_PASSED, Verdict.FAILED.value: Reason.GATE_FAILED}
    return known.get(str(holder["verdict"]), Reason.INCONCLUSIVE).value


def _sweep(value: object) -> None:
    """Remove everything that is left out."""
    if isinstance(value, dict):
        for key in [key for key, one in value.items() if one is _GONE]:
            del value[key]
        for one in value.values():
            _sweep(one)
    elif isinstance(value, list):
        value[:] = [one for one in value if one is not _GONE]
        for one in value:
            _sweep(one)


def _in_utc(moment: datetime) -> datetime | None:
    """Return a time as Kubernetes writes it; one without a zone is taken for UTC, as drivers' clocks are."""
    try:
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except OverflowError:
        return None
