"""Rows of JSON files: lines, an array, objects one after another, an object of columns, or one field of an object."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any

from evalrun_runner.benchmarks.suites.data.batches import DataBatch, batches_of
from evalrun_runner.benchmarks.suites.data.json_blocks import BlockParser
from evalrun_runner.benchmarks.suites.data.opening import TextEncoding, naming_bytes, open_text
from evalrun_runner.benchmarks.suites.data.values import DECODER, RepeatedKeyError
from evalrun_runner.benchmarks.suites.spelling import suggestion
from evalrun_runner.errors import InputError, first_line

TEXT_COLUMN = "text"
"""Column of an array's texts, as in ``datasets``."""
LEARNED_BYTES, BLOCK_BYTES = 64 << 10, 8 << 20
"""Size of the first block of JSON lines, from which the columns are learned, and of the others."""
_BLANK = " \t\r\n"

_Row = tuple[int, dict[str, Any], int]


def read_json(name: str, stream: IO[bytes], encoding: TextEncoding, field: str | None) -> Iterator[DataBatch]:
    """Yield the rows of a JSON file.

    Args:
        name: The file's name for messages.
        stream: Its bytes.
        encoding: How it is written.
        field: Key of the object whose value holds the rows; None where the file itself holds them.

    Raises:
        InputError: The file is not JSON, or its rows are no objects; the message names the row.
    """
    in_blocks = field is None and encoding.is_utf8 and encoding.errors == "strict"
    first = _block(stream, LEARNED_BYTES) if in_blocks else b""
    if _holds_lines(first):
        with naming_bytes(name, stream, encoding):
            yield from _read_blocks(name, first, stream)
        return
    # Other forms are read as a whole in any case.
    with open_text(name, io.BytesIO(first + stream.read()) if first else stream, encoding, newline="") as text:
        yield from _read_whole(name, text, field)


def _block(stream: IO[bytes], size: int) -> bytes:
    block = stream.read(size)
    return block + stream.readline() if block else b""


def _holds_lines(block: bytes) -> bool:
    line = block.removeprefix(codecs.BOM_UTF8).lstrip().split(b"\n", 1)[0]
    return line.startswith(b"{") and _is_whole(line.decode(errors="replace"))


def _read_blocks(name: str, first: bytes, stream: IO[bytes]) -> Iterator[DataBatch]:
    parser, row, block = BlockParser(), 1, first.removeprefix(codecs.BOM_UTF8)
    while block:
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        columns = parser.parse(block, lines)
        if columns is not None:
            yield DataBatch(name, range(row, row + lines), columns)
        else:
            for batch in batches_of(name, _rows_of_lines(name, row, block.decode().split("\n"))):
                parser.learn(batch.columns)
                yield batch
        row += lines
        block = _block(stream, BLOCK_BYTES)


def _read_whole(name: str, text: io.TextIOBase, field: str | None) -> Iterator[DataBatch]:
    if field is not None:
        yield from batches_of(name, _rows_of_field(name, text.read(), field))
        return
    number, line = 0, ""
    for number, line in enumerate(text, 1):  # noqa: B007  # the first line that is not blank
        if line.strip():
            break
    if line.lstrip().startswith("["):
        rows = _rows_of_array(name, line + text.read())
    elif _is_whole(line):
        rows = _rows_of_lines(name, number, chain([line], text))
    else:
        rows = _rows_of_objects(name, "\n" * (number - 1) + line + text.read())
    yield from batches_of(name, rows)


def _is_whole(line: str) -> bool:
    """Return whether a line holds a JSON value by itself, or nothing that goes on in the next line."""
    try:
        DECODER.decode(line)
    except json.JSONDecodeError:
        # An object over several lines begins with its brace alone, or with a key whose line is not yet complete.
        return line.rstrip().endswith("}")
    except (ValueError, RecursionError):
        pass
    return True


def _rows_of_lines(name: str, start: int, lines: Iterable[str]) -> Iterator[_Row]:
    decode = DECODER.raw_decode
    for number, line in enumerate(lines, start):
        if stripped := line.strip(_BLANK):
            try:
                row, end = decode(stripped)
                if end != len(stripped):
                    raise json.JSONDecodeError("more than one value in a line", stripped, end)
            except (ValueError, RecursionError) as error:
                raise InputError(f"its data cannot be read: {name}, row {number}: {_why(error)}") from error
            yield number, _mapping(name, number, row), len(stripped)


def _rows_of_array(name: str, text: str) -> Iterator[_Row]:
    place = _skip_blank(text, text.index("[") + 1)
    number = 0
    while text[place : place + 1] != "]":
        number += 1
        value, end = _value_at(name, text, place)
        yield number, {TEXT_COLUMN: value} if isinstance(value, str) else _mapping(name, number, value), end - place
        place = _skip_blank(text, end)
        if text[place : place + 1] == ",":
            place = _skip_blank(text, place + 1)
        elif text[place : place + 1] != "]":
            raise _broken(name, text, place, "expected a comma or the end of the array")
    if (place := _skip_blank(text, place + 1)) < len(text):
        raise _broken(name, text, place, "there is more after the array's end")


def _rows_of_objects(name: str, text: str) -> Iterator[_Row]:
    place = _skip_blank(text, 0)
    values: list[tuple[Any, int]] = []
    while place < len(text):
        value, end = _value_at(name, text, place)
        values.append((value, end - place))
        place = _skip_blank(text, end)
    if len(values) == 1 and isinstance(values[0][0], dict):
        yield from _rows_of_object(values[0][0])
        return
    for number, (value, length) in enumerate(values, 1):
        yield number, _mapping(name, number, value), length


def _rows_of_object(value: dict[str, Any]) -> Iterator[_Row]:
    """Yield the rows of a single object: columns if all its values are lists of one length, else it is one row."""
    columns = {key: list(one.values()) if isinstance(one, dict) else one for key, one in value.items()}
    lengths = {len(one) if isinstance(one, list) else -1 for one in columns.values()}
    if len(lengths) == 1 and lengths.pop() > 0 and len({type(one) for one in value.values()}) == 1:
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
            yield number, dict(zip(columns, cells, strict=True)), 0
    else:
        yield 1, value, 0


def _rows_of_field(name: str, text: str, field: str) -> Iterator[_Row]:
    start = _skip_blank(text, 0)
    value, _ = _value_at(name, text, start)
    if not isinstance(value, dict):
        raise InputError(f"its data cannot be read: {name} is {_kind(value)}; field: {field} needs an object")
    if field not in value:
        raise InputError(f"its data cannot be read: {name} has no field {field!r}; {suggestion(field, value)}")
    rows = value[field]
    if isinstance(rows, dict):
        yield from _rows_of_object(rows)
    elif isinstance(rows, list):
        for number, row in enumerate(rows, 1):
            yield number, {TEXT_COLUMN: row} if isinstance(row, str) else _mapping(name, number, row), 0
    else:
        raise InputError(
            f"its data cannot be read: {name}, field {field!r} is {_kind(rows)}; expected a list of objects"
        )


def _value_at(name: str, text: str, place: int) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        raise _broken(name, text, error.pos, error.msg) from error
    except (ValueError, RecursionError) as error:
        raise _broken(name, text, place, _why(error)) from error


def _broken(name: str, text: str, place: int, why: str) -> InputError:
    row = text.count("\n", 0, place) + 1
    column = place - text.rfind("\n", 0, place)
    return InputError(f"its data cannot be read: {name}, row {row}: is not JSON: {why} at character {column}")


def _why(error: Exception) -> str:
    match error:
        case RepeatedKeyError():
            return f"the key {first_line(error)!r} stands twice in one object"
        case json.JSONDecodeError():
            return f"is not JSON: {error.msg} at character {error.pos + 1}"
        case RecursionError():
            return "is nested too deeply"
    return first_line(error)


def _mapping(name: str, number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"its data cannot be read: {name}, row {number}: is {_kind(row)}; expected an object")
    return row


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "text"
        case None:
            return "null"
    return "a single value"


def _skip_blank(text: str, place: int) -> int:
    while text[place : place + 1] in (" ", "\t", "\r", "\n"):
        place += 1
    return place
