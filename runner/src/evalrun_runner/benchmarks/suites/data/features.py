"""Types that a task gives its columns: ``dataset_kwargs: {features: {answer: {dtype: string}}}``.

Every form of ``datasets`` is read, and the plain one ``{answer: string}``. A column that is not named keeps what stands
in the file. Features whose values are no JSON (times, bytes, images, sound) are refused, as a document is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa
from datasets.features.features import get_nested_type

from evalrun_runner.benchmarks.suites.data.values import WrittenNumber, dumps
from evalrun_runner.benchmarks.suites.spelling import near
from evalrun_runner.errors import InputError, first_line

_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_FLOATS = ("float16", "float32", "float64")
_TEXTS = ("string", "large_string")
DTYPES = (*_TEXTS, *_INTEGERS, *_FLOATS, "bool")
_PYTHON_NAMES = {"str": "string", "int": "int64", "float": "float64", "object": "string", "boolean": "bool"}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})


class _Unfit(ValueError):
    """A value that has no form of the type; the message is the type."""


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written in a CSV."""

    decimal: str = "."
    thousands: str | None = None

    def plain(self, text: str) -> str:
        """Return a number as Python writes it."""
        text = text.strip()
        if self.thousands:
            text = text.replace(self.thousands, "")
        return text.replace(self.decimal, ".") if self.decimal != "." else text


@dataclass(frozen=True)
class ColumnType:
    """Type of a column that the task gives."""

    feature: Any
    style: NumberStyle = NumberStyle()

    @property
    def arrow(self) -> pa.DataType:
        """Type of the stored values."""
        return get_nested_type(self.feature)

    def store(self, column: str, file: str, rows: Sequence[int], values: list[Any] | pa.Array) -> pa.Array:
        """Store values.

        Raises:
            InputError: A value has no form of the type; the message names file, row, column, type and value.
        """
        plain = values.to_pylist() if isinstance(values, pa.Array) else values
        stored = []
        for row, value in zip(rows, plain, strict=True):
            try:
                stored.append(_cast(value, self.feature, self.style))
            except _Unfit as error:
                raise _misfit(column, file, row, str(error), value) from error
        try:
            return pa.array(stored, type=self.arrow)
        except (OverflowError, pa.ArrowInvalid, UnicodeEncodeError) as error:
            for row, value, one in zip(rows, plain, stored, strict=True):
                try:
                    pa.array([one], type=self.arrow)
                except (OverflowError, pa.ArrowInvalid, UnicodeEncodeError):
                    raise _misfit(column, file, row, str(self.arrow), value) from error
            raise


def column_types(given: Any, style: NumberStyle) -> dict[str, ColumnType]:
    """Return the types of the columns that ``features`` names.

    Raises:
        InputError: It has no form of ``datasets``, or a type that JSON has no values for.
    """
    if given is None:
        return {}
    if isinstance(given, list):
        if not all(isinstance(one, Mapping) and "name" in one for one in given):
            raise InputError("features: expected {column: {dtype: type}}, or a list of {name: column, dtype: type}")
        given = {one["name"]: {key: value for key, value in one.items() if key != "name"} for one in given}
    if not isinstance(given, Mapping):
        raise InputError(f"features: expected {{column: {{dtype: type}}}}, got {given!r:.60}")
    return {str(name): ColumnType(_feature(f"features.{name}", one), style) for name, one in given.items()}


def _feature(field: str, given: Any) -> Any:
    if isinstance(given, str):
        return _value(field, given)
    if isinstance(given, list) and len(given) == 1 and not (isinstance(given[0], Mapping) and "name" in given[0]):
        return datasets.List(_feature(f"{field}[0]", given[0]))
    if isinstance(given, list) and given and all(isinstance(one, Mapping) and "name" in one for one in given):
        return {
            str(one["name"]): _feature(f"{field}.{one['name']}", {k: v for k, v in one.items() if k != "name"})
            for one in given
        }
    if isinstance(given, Mapping) and given:
        return _mapped(field, dict(given))
    raise InputError(f"{field}: expected {{dtype: type}}, got {given!r:.60}")


def _mapped(field: str, given: dict[str, Any]) -> Any:
    kind = given.pop("_type", None)
    given.pop("id", None)
    match kind or next(iter(given)):
        case "Value" | "dtype":
            dtype = given.get("dtype")
            return _value(field, dtype) if isinstance(dtype, str) else _feature(field, dtype)
        case "List" | "LargeList" | "Sequence":
            return datasets.List(_feature(field, given.get("feature")))
        case "list" | "large_list" | "sequence" as key:
            return datasets.List(_feature(field, given[key]))
        case "struct":
            return _feature(field, given["struct"])
        case "ClassLabel":
            return _labels(field, given)
        case "class_label":
            return _labels(field, given["class_label"])
    if kind is not None:
        raise InputError(f"{field}: the feature {kind} is not supported; expected text, numbers, lists and objects")
    return {str(name): _feature(f"{field}.{name}", one) for name, one in given.items()}


def _value(field: str, dtype: str) -> datasets.Value:
    if dtype in DTYPES:
        return datasets.Value(dtype)
    meant = _PYTHON_NAMES.get(dtype) or near(dtype, DTYPES)
    hint = f"did you mean {meant}?" if meant else f"expected one of {', '.join(DTYPES)}"
    raise InputError(f"{field}: there is no dtype {dtype!r} for documents, which are JSON; {hint}")


def _labels(field: str, given: Any) -> datasets.ClassLabel:
    names = given.get("names") if isinstance(given, Mapping) else None
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=lambda key: int(key) if str(key).isdigit() else -1)]
    try:
        return datasets.ClassLabel(names=[str(name) for name in names or ()])
    except ValueError as error:
        raise InputError(f"{field}: {first_line(error)}") from error


def _cast(value: Any, feature: Any, style: NumberStyle) -> Any:
    """Return a value in the form that a feature stores; null stays null."""
    if value is None:
        return None
    if isinstance(feature, dict):
        if not isinstance(value, Mapping):
            raise _Unfit("an object")
        return {name: _cast(value.get(name), one, style) for name, one in feature.items()}
    if isinstance(feature, datasets.List):
        if not isinstance(value, list):
            raise _Unfit("a list")
        return [_cast(one, feature.feature, style) for one in value]
    if isinstance(feature, datasets.ClassLabel):
        return _label(value, feature)
    return _scalar(value, feature.dtype, style)


def _label(value: Any, feature: datasets.ClassLabel) -> int:
    if isinstance(value, str) and value in feature.names:
        return int(feature.str2int(value))
    try:
        index = int(value)
    except (TypeError, ValueError):
        index = -1
    if isinstance(value, bool) or not 0 <= index < feature.num_classes:
        raise _Unfit(f"one of the labels {', '.join(feature.names[:12])}")
    return index


def _scalar(value: Any, dtype: str, style: NumberStyle) -> Any:
    if dtype in _TEXTS:
        return str(value) if isinstance(value, str) else dumps(value)
    if isinstance(value, str) and not value.strip():
        return None
    text = style.plain(value) if isinstance(value, str) else None
    try:
        if dtype == "bool":
            return _boolean(text.lower() if text is not None else value)
        if isinstance(value, bool | list | dict) or (text is not None and not _NUMBER.fullmatch(text)):
            raise _Unfit(dtype)
        if dtype in _FLOATS:
            return float(text if text is not None else value)
        if isinstance(value, int) or (text is not None and _WHOLE.fullmatch(text)):
            return int(text if text is not None else value)
        number = float(text if text is not None else value)
        if not number.is_integer():
            raise _Unfit(dtype)
        return int(number)
    except (ValueError, OverflowError) as error:
        raise _Unfit(dtype) from error


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value == 1:
        return True
    if value in _FALSE or value == 0:
        return False
    raise _Unfit("bool")


def _misfit(column: str, file: str, row: int, expected: str, value: Any) -> InputError:
    shown = value if isinstance(value, WrittenNumber) else repr(value)
    place = f"{file}, row {row}, column {column!r}"
    return InputError(f"its data cannot be read: {place}: expected {expected} (features), got {shown:.80}")
