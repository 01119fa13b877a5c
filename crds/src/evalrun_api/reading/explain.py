"""Conversion of pydantic's errors into Problems: the field, what is allowed, and why."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from evalrun_api.base import BROKEN_RULES, SHAPES, Model
from evalrun_api.descriptions import describe
from evalrun_api.reading.engine_refusals import why_refused, why_value_refused
from evalrun_api.reading.problems import Problem
from evalrun_api.spec.engine_args import EngineArgs

Location = Sequence[int | str]


def explain(error: ValidationError, model: type[Model]) -> list[Problem]:
    """Explain, field by field, what is wrong with a mapping that should have been a ``model``."""
    describe(model)
    errors = error.errors(include_url=False)
    # pydantic counts only the valid entries of a list: an invalid entry would also be reported as a missing one.
    wrong = [details["loc"] for details in errors]
    errors = [each for each in errors if each["type"] != "too_short" or not _holds_any(each["loc"], wrong)]
    return [problem for details in errors for problem in _problems(details, model)]


def _holds_any(location: Location, others: Iterable[Location]) -> bool:
    return any(len(other) > len(location) and tuple(other[: len(location)]) == tuple(location) for other in others)


def _problems(details: ErrorDetails, root: type[Model]) -> Iterator[Problem]:
    location = list(details["loc"])
    if details["type"] == BROKEN_RULES:
        for field, message in details["ctx"]["broken"]:
            yield Problem(path_of([*location, *([field] if field else [])]), message)
        return
    in_key = location[-1:] == ["[key]"]
    if in_key:
        location.pop()
    parent, info = lookup(root, location)
    if details["type"] == "extra_forbidden":
        message = _unknown(str(location[-1]), parent)
    else:
        message = _refusal(location, details["input"], parent) or _message(details) + _why(info)
    unknown = details["type"] in {"extra_forbidden", "enum", "literal_error"}
    yield Problem(path_of(location), f"the key itself is wrong: {message}" if in_key else message, unknown)


def _refusal(location: Location, value: object, parent: type[Model] | None) -> str | None:
    """Return why this value of an engine argument is refused, with those that are not; None where there is none."""
    if parent is not EngineArgs or (why := why_value_refused(str(location[-1]), value)) is None:
        return None
    allowed = EngineArgs.model_fields[str(location[-1])].annotation
    choices = [choice for option in typing.get_args(allowed) for choice in typing.get_args(option)]
    return f"{shown(value)} is refused: {why}\nhint: use one of {', '.join(choices)}"


def _message(details: ErrorDetails) -> str:
    """Say what is wrong with a value and what is expected."""
    kind, given = details["type"], details["input"]
    ctx: Mapping[str, Any] = details.get("ctx", {})
    if kind in {"enum", "literal_error"}:
        return f"must be {ctx['expected']}, not {shown(given)}{_near(given, ctx['expected'])}"
    if kind == "string_pattern_mismatch":
        return f"must look like {SHAPES.get(ctx['pattern'], ctx['pattern'])}, not {shown(given)}"
    if kind in _COMPLETE:
        return _COMPLETE[kind].format(**ctx)
    return f"{_EXPECTED.get(kind, details['msg']).format(**ctx)}, not {shown(given)}"


_COMPLETE = {
    "missing": "is missing",
    "too_short": "needs at least {min_length} of them",
    "too_long": "may have at most {max_length} of them, not {actual_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "may have at most {max_length} characters",
}
"""Messages that do not show the value, by pydantic's error type."""

_EXPECTED = {
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be more than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be text (quote it)",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
}
"""Messages that are followed by the value, by pydantic's error type."""


def _unknown(name: str, parent: type[Model] | None) -> str:
    if parent is None:
        return "unknown field"
    if issubclass(parent, EngineArgs):
        return why_refused(name)
    names = aliases(parent)
    near = _closest(name, names)
    hint = f"did you mean {near}?" if near else f"these are known here: {', '.join(names)}"
    return f"unknown field; {hint}"


def _closest(name: str, names: Sequence[str]) -> str | None:
    """Return the name that was probably meant, ignoring case and underscores."""

    def plain(text: str) -> str:
        return text.replace("_", "").replace("-", "").lower()

    by_plain = {plain(each): each for each in names}
    near = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.6)
    return by_plain[near[0]] if near else None


def _near(value: object, expected: str) -> str:
    choices = expected.replace(" or ", ", ").replace("'", "").split(", ")
    near = _closest(value, choices) if isinstance(value, str) else None
    return f"; did you mean {near}?" if near and len(choices) > 1 else ""


def _why(field: FieldInfo | None) -> str:
    """Return the first sentence of the field's description, which says what the field is for."""
    if field is None or not field.description:
        return ""
    text = " ".join(field.description.replace("``", "").split())
    return f" ({text.partition('. ')[0].rstrip('.')})"


def shown(value: object) -> str:
    """Format a value like YAML, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def path_of(location: Location) -> str:
    """Format ``("spec", "benchmarks", 0, "task")`` as ``spec.benchmarks[0].task``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif "." in part or "/" in part:
            path += f"[{part}]" if path else part
        else:
            path += f".{part}" if path else part
    return path


def aliases(model: type[Model]) -> list[str]:
    """List the fields of a model as YAML spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def field_of(model: type[Model], alias: str) -> FieldInfo | None:
    """Return the field of a model with this YAML name, else None."""
    name = _names(model).get(alias)
    return None if name is None else model.model_fields[name]


@cache
def _names(model: type[Model]) -> Mapping[str, str]:
    """Map YAML names to attributes. Not to fields: descriptions are added to these later, in copies."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def model_in(annotation: object) -> type[Model] | None:
    """Return the model inside an annotation, be it optional, in a list or in a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next(filter(None, map(model_in, typing.get_args(annotation))), None)


def lookup(root: type[Model], location: Location) -> tuple[type[Model] | None, FieldInfo | None]:
    """Return the model that a location's last field belongs to, and that field; None where there is none."""
    parent: type[Model] | None = None
    field: FieldInfo | None = None
    model: type[Model] | None = root
    for part in location:
        if isinstance(part, int):
            continue
        if model is None:  # a key of a plain mapping: the mapping's own field describes it
            continue
        parent, field = model, field_of(model, part)
        model = model_in(field.annotation) if field else None
    return parent, field
