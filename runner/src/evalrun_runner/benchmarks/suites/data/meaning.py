"""What a task's templates make of its columns: which ones they name, and where they take a cell for more than its text.

The cells of a CSV are text. Two uses of them need another type:

- **An index.** Where ``doc_to_target`` names a column beside ``doc_to_choice``, lm-eval takes a number for the place of
  the right choice, counted from zero. If all its cells that are not blank are whole numbers in the range of the
  choices, the column is one of numbers, without a value where a cell is blank. If the cells are also the texts of
  choices, and mean others by that, neither is certain.
- **A calculation or a condition.** ``label == 1`` is never true of a text, ``label * 2`` repeats it, ``if label`` is
  true of "0". A template that does so with cells that look like numbers or truth values would give a wrong answer
  silently.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import jinja2
from jinja2 import nodes
from lm_eval import utils

from evalrun_runner.benchmarks.suites.data.columns import ColumnKind
from evalrun_runner.benchmarks.suites.data.tables import DataTable, column_values
from evalrun_runner.errors import InputError

_RENDERED = (
    *("doc_to_text", "doc_to_target", "doc_to_choice", "description", "gen_prefix", "doc_to_decontamination_query"),
)
_FEWSHOT = ("doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_TYPED = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|true|false", re.IGNORECASE)


def templates(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a task's configuration that are rendered with a document."""
    fewshot = config.get("fewshot_config")
    fewshot = fewshot if isinstance(fewshot, Mapping) else {}
    found = {field: config.get(field) for field in _RENDERED}
    found |= {f"fewshot_config.{field}": fewshot.get(field) for field in _FEWSHOT}
    return {field: text for field, text in found.items() if isinstance(text, str)}


def named_columns(config: Mapping[str, Any], columns: Collection[str]) -> set[str]:
    """Return the columns that a task uses; all of them if it has code."""
    if _has_code(config):
        return set(columns)
    named: set[str] = set()
    for text in templates(config).values():
        named |= {text} if text in columns else set(_names(_parsed(text)))
    return named.intersection(columns)


def index_column(config: Mapping[str, Any], splits: Mapping[str, DataTable]) -> str | None:
    """Return the column of a CSV whose cells are places of the right choice; None if there is none.

    Raises:
        InputError: Every cell is in range, and is also the text of another choice.
    """
    target = config.get("doc_to_target")
    if not isinstance(target, str) or config.get("doc_to_choice") is None:
        return None
    tables = [table for table in splits.values() if table.kinds.get(target) is ColumnKind.TEXT]
    cells = [cell for table in tables for cell in column_values(table, target) if not _is_blank(cell)]
    if not cells or not all(map(_is_index, cells)):
        return None
    texts_too, differ = True, False
    for cell, choices in chain.from_iterable(_with_choices(config, table, target) for table in tables):
        if _is_blank(cell):
            continue  # It has no answer, whatever the others are.
        place = int(cell.strip())
        if place >= len(choices):
            return None
        text = str(cell).strip()
        texts_too = texts_too and text in choices
        differ = differ or choices[place] != text
    if texts_too and differ:
        raise InputError(
            f"the column {target!r} (doc_to_target) holds whole numbers that are both places of a choice, counted from "
            "0, and texts of choices\nhint: say which, by dataset_kwargs: "
            f"{{features: {{{target}: int64}}}} for places, or {{features: {{{target}: string}}}} for texts"
        )
    return target


def check_templates(config: Mapping[str, Any], splits: Mapping[str, DataTable]) -> None:
    """Refuse a template that calculates with cells, or decides by them, as if these were numbers or truth values.

    Raises:
        InputError: The message names the field, the column and what to write.
    """
    columns = {name for table in splits.values() for name, kind in table.kinds.items() if kind is ColumnKind.TEXT}
    for field, text in templates(config).items():
        if text in columns:
            continue
        for name in dict.fromkeys(_as_values(_parsed(text))):
            if name in columns and all(_looks_typed(table, name) for table in splits.values()):
                raise InputError(
                    f"{field} takes the column {name!r} for numbers or truth values, and the cells of a CSV are text\n"
                    f"hint: give it a type, dataset_kwargs: {{features: {{{name}: int64}}}} (or float64, or bool), or "
                    f"convert it in the template, {name}|int"
                )


def _has_code(node: Any) -> bool:
    if isinstance(node, Mapping):
        return any(_has_code(value) for value in node.values())
    return any(_has_code(value) for value in node) if isinstance(node, list | tuple) else callable(node)


def _parsed(text: str) -> nodes.Template:
    try:
        return utils.env.parse(text)  # type: ignore[no-any-return]  # lm-eval ships no types
    except jinja2.TemplateSyntaxError:
        return nodes.Template([])  # lm-eval names the error when it renders the template.


def _names(root: nodes.Node) -> Iterator[str]:
    return (node.name for node in root.find_all(nodes.Name) if node.ctx == "load")


def _as_values(root: nodes.Template) -> Iterator[str]:
    """Yield the names that a template calculates with, compares with numbers or takes for places or conditions."""
    for compare in root.find_all(nodes.Compare):
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        if any(_is_typed(side) for side in sides):
            yield from _bare(sides)
    for product in root.find_all((nodes.Mul, nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Pow)):
        yield from _bare([product.left, product.right])
    for total in root.find_all((nodes.Add, nodes.Mod)):
        if _is_typed(total.left) or _is_typed(total.right):  # else it may join two texts
            yield from _bare([total.left, total.right])
    for place in root.find_all(nodes.Getitem):
        if not isinstance(place.node, nodes.Dict) or any(_is_typed(pair.key) for pair in place.node.items):
            yield from _bare([place.arg])
    tests: Iterable[nodes.Node] = chain(
        (node.test for node in root.find_all(nodes.CondExpr)), (node.test for node in root.find_all(nodes.If))
    )
    for test in tests:
        yield from _bare(_operands(test))


def _operands(test: nodes.Node) -> Iterator[nodes.Node]:
    match test:
        case nodes.Not():
            yield from _operands(test.node)
        case nodes.And() | nodes.Or():
            yield from _operands(test.left)
            yield from _operands(test.right)
        case _:
            yield test


def _bare(expressions: Iterable[nodes.Node]) -> Iterator[str]:
    return (one.name for one in expressions if isinstance(one, nodes.Name))


def _is_typed(expression: nodes.Node) -> bool:
    if isinstance(expression, nodes.List | nodes.Tuple):
        return any(_is_typed(item) for item in expression.items)
    if isinstance(expression, nodes.Neg):
        return True
    return isinstance(expression, nodes.Const) and isinstance(expression.value, int | float)


def _looks_typed(table: DataTable, name: str) -> bool:
    """Return whether pandas would have given the column's cells another type than text."""
    if table.kinds.get(name) is not ColumnKind.TEXT:
        return True
    cells = [cell for cell in column_values(table, name) if cell and cell.strip()]
    return all(_TYPED.fullmatch(cell.strip()) for cell in cells)


def _is_blank(cell: str | None) -> bool:
    return cell is None or not cell.strip()


def _is_index(cell: str | None) -> bool:
    return cell is not None and _INDEX.fullmatch(cell.strip()) is not None


def _with_choices(config: Mapping[str, Any], table: DataTable, target: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the cells of the target with the choices of their rows."""
    given = config["doc_to_choice"]
    if isinstance(given, list | Mapping):
        choices = list(given.values()) if isinstance(given, Mapping) else given
        yield from ((cell, choices) for cell in column_values(table, target))
        return
    names = named_columns({"doc_to_choice": given}, table.features) | {target}
    rows = zip(*(column_values(table, name) for name in sorted(names)), strict=True)
    for row in rows:
        doc = dict(zip(sorted(names), row, strict=True))
        try:
            choices = doc[given] if given in doc else ast.literal_eval(utils.apply_template(given, doc))
        except Exception:  # noqa: BLE001  a template may raise anything; the document itself is named when it is built
            choices = []
        yield doc[target], choices if isinstance(choices, list | tuple) else []
