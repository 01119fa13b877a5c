"""Tables: each row is a run, a score or a replica, each column a label or a number. Cells are plain text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as boards
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models import units

from evalrun_monitoring.panels import DATASOURCE, NUMBER, Property, lettered, now, steps, verdicts

COLOR_TEXT: Mapping[str, object] = {"type": commons.TableCellDisplayMode.COLOR_TEXT.value}
GAUGE: Mapping[str, object] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}

VERDICT_WIDTH = 104
"""Pixels of ``Inconclusive``."""


@dataclass(frozen=True, slots=True)
class Label:
    """A column of a label's values. ``url`` links each cell; ``label`` comes from one of the queries."""

    title: str
    label: str
    url: str = ""
    tooltip: str = ""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Colors by value."""
    width: int | None = None
    """Pixels, for values that are known to be short; the other columns share the remaining width."""
    hidden: bool = False
    """Whether the column is only used in links."""


@dataclass(frozen=True, slots=True)
class Value:
    """A column of numbers: the value of ``expr`` for each row, matched by labels."""

    title: str
    expr: str
    unit: str = NUMBER
    decimals: int | None = None
    cell: Mapping[str, object] | None = None
    thresholds: tuple[tuple[float, str], ...] = ()
    """(from, color), from low to high."""
    mapping: boards.ValueMap | None = None
    width: int = 78
    """Pixels."""
    hidden: bool = False
    """Whether the column is only used in links."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A query of which only the labels are used; its value, 1, is not shown."""

    expr: str


# Widths of the columns that several tables share: team-a, prompt_level_strict_acc, flexible-extract, a few seconds ago.
NAMESPACE = Label("Namespace", "run_namespace", width=96)
METRIC = Label("Metric", "metric", width=170)
FILTER = Label("Filter", "filter", width=116)


def gates(expr: str) -> Value:
    """Make a column of verdicts, as ``promql.verdict`` numbers them."""
    return Value("Gates", expr, mapping=verdicts(), cell=COLOR_TEXT, width=VERDICT_WIDTH)


def when(expr: str) -> Value:
    """Make a column of times, given as Unix time in milliseconds."""
    return Value("When", expr, units.DateTimeFromNow, width=124)


def table(title: str, text: str, *columns: Label | Value | Facts) -> builders.Panel:
    """Build a table of the values at the end of the time shown; its columns are in the order given."""
    asked = [column for column in columns if not isinstance(column, Label)]
    targets = [now(column.expr).format(queries.PromQueryFormat.TABLE) for column in asked]
    panel = builders.Panel().title(title).description(text).datasource(DATASOURCE).targets(lettered(tuple(targets)))
    panel = panel.cell_height(commons.TableCellHeight.SM).show_header(True).align(commons.FieldTextAlignment.AUTO)
    panel = panel.with_transformation(boards.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.footer(_footer(pages=True))
    # With Grafana's default of 150 the last columns would not fit on the page.
    panel = panel.min_width(60).span(24).height(9)
    names = _names(columns)
    panel = panel.with_transformation(boards.DataTransformerConfig(id_val="organize", options=_order(columns, names)))
    for column in columns:
        match column:
            case Label(title=heading) if properties := _label_properties(column):
                panel = panel.override_by_name(heading, properties)
            case Value(title=heading):
                panel = panel.override_by_name(heading, _value_properties(column))
    return panel


def sorted_by(panel: builders.Panel, title: str, *, descending: bool = False) -> builders.Panel:
    """Sort the table by a column initially."""
    return panel.sort_by([common.TableSortByFieldState().display_name(title).desc(descending)])


def unpaged(panel: builders.Panel) -> builders.Panel:
    """Show all rows of the table on one page, where there are few of them and little space."""
    return panel.footer(_footer(pages=False))


def _footer(*, pages: bool) -> common.TableFooterOptions:
    return common.TableFooterOptions().show(False).reducer([]).enable_pagination(pages)


def _names(columns: tuple[Label | Value | Facts, ...]) -> dict[int, str]:
    """Return Grafana's name of each column: labels by their name, numbers by the letter of their query."""
    letters = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return {
        place: column.label if isinstance(column, Label) else f"Value #{next(letters)}"
        for place, column in enumerate(columns)
    }


def _order(columns: tuple[Label | Value | Facts, ...], names: dict[int, str]) -> dict[str, object]:
    shown = {names[place]: column.title for place, column in enumerate(columns) if not isinstance(column, Facts)}
    facts = [names[place] for place, column in enumerate(columns) if isinstance(column, Facts)]
    return {
        # "Value" is the number of the first query if it is the only one with a result.
        "excludeByName": dict.fromkeys(["Time", "Value", *facts], True),
        "indexByName": {name: place for place, name in enumerate(shown)},
        "renameByName": shown,
    }


def _label_properties(column: Label) -> list[Property]:
    properties = []
    if column.url:
        link = {"title": column.tooltip, "url": column.url, "targetBlank": False}
        properties.append(Property("links", [link]))
    if column.colors:
        shown = {value: boards.ValueMappingResult(None, shade) for value, shade in column.colors.items()}
        properties += [Property("mappings", [boards.ValueMap(shown)]), Property("custom.cellOptions", dict(COLOR_TEXT))]
    if column.width is not None:
        properties.append(Property("custom.width", column.width))
    if column.hidden:
        properties.append(Property("custom.hidden", True))
    return properties


def _value_properties(column: Value) -> list[Property]:
    properties = [Property("unit", column.unit), Property("custom.width", column.width)]
    if column.decimals is not None:
        properties.append(Property("decimals", column.decimals))
    if column.cell is not None:
        properties.append(Property("custom.cellOptions", dict(column.cell)))
    if column.cell is GAUGE:
        properties += [Property("min", 0), Property("max", 1)]
    if column.thresholds:
        colored = steps("text", *column.thresholds).build()
        properties.append(Property("thresholds", colored))
    if column.mapping is not None:
        properties.append(Property("mappings", [column.mapping]))
    if column.hidden:
        properties.append(Property("custom.hidden", True))
    return properties
