"""A dashboard: its rows of panels, its variables, and the links that lead to the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as boards

from evalrun_monitoring.panels import DATASOURCE

FLEET, RUN, SCORES, OPERATOR = "evalrun-fleet", "evalrun-run", "evalrun-scores", "evalrun-operator"
"""The uids: parts of the dashboards' addresses."""
_MENU = {
    FLEET: ("All runs", "What waits, what runs, what it costs"),
    RUN: ("One run", "Progress, speed, replicas, errors and cost of a run"),
    SCORES: ("Scores", "Scores over checkpoints, with their gates"),
    OPERATOR: ("Operator", "Whether the operator is well"),
}
_CHOOSES_ONE = frozenset({RUN})
"""Whose variables take one value: what is chosen elsewhere may be several."""
_LOOKS_FAR = frozenset({SCORES})
"""Whose time is weeks, not hours: it is neither taken along nor brought."""

_EVERYTHING = ".*"
"""Of a variable: not the list of all names, which may be long and hold anything."""

Variable = Builder[boards.VariableModel]
Panels = Sequence[Builder[boards.Panel]]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right, 24 columns wide."""

    title: str
    panels: Panels


@dataclass(frozen=True, slots=True)
class DashboardSpec:
    """What a dashboard is made of. ``since`` is the time shown at first, up to now."""

    uid: str
    title: str
    text: str
    since: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    def build(self) -> boards.Dashboard:
        """The dashboard as Grafana knows it."""
        board = builders.Dashboard(self.title).uid(self.uid).description(self.text).tags(["evalrun"]).editable()
        board = board.time(self.since, "now").refresh("30s").tooltip(boards.DashboardCursorSync.CROSSHAIR)
        board = board.variables([_datasource(), *self.variables]).links([*_menu(self.uid)])
        for row in self.rows:
            board = board.with_row(builders.Row(row.title))
            for panel in row.panels:
                board = board.with_panel(panel)
        built = board.build()
        for number, placed in enumerate(built.panels or [], start=1):
            placed.id_val = number
        return built


def to_json(board: boards.Dashboard) -> str:
    """The dashboard's file."""
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def chosen(name: str, label: str, values: str) -> builders.QueryVariable:
    """A variable that takes one of a label's values; ``values`` is a ``label_values(…)``."""
    variable = builders.QueryVariable(name).label(label).query(values).datasource(DATASOURCE)
    variable = variable.refresh(boards.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(boards.VariableSort.ALPHABETICAL_ASC)


def several(name: str, label: str, values: str) -> builders.QueryVariable:
    """A variable that takes any of a label's values, at first all."""
    variable = chosen(name, label, values).multi(True).include_all(True).all_value(_EVERYTHING)
    return variable.current(boards.VariableOption(selected=True, text="All", value="$__all"))


def gpu_hour_price() -> Variable:
    """The money that a GPU costs in an hour: typed in by who looks."""
    variable = builders.TextBoxVariable("gpu_hour_price").label("Price of a GPU-hour")
    return variable.default_value("2.50").description("US dollars; any currency will do, as long as you know which.")


def run_link(namespace: str = "run_namespace", run: str = "run", times: str = "${__url_time_range}") -> str:
    """The address of a run's dashboard, from a table whose columns ``namespace`` and ``run`` are.

    Cells may hold anything: ``percentencode`` keeps them from being read as other parts of the address.
    """
    return _address(RUN, [_cell("namespace", namespace), _cell("run", run), times])


def run_link_of_series() -> Builder[boards.DashboardLink]:
    """The same from a graph whose series have the labels of a run."""
    fields = ("${__field.labels.run_namespace:percentencode}", "${__field.labels.run:percentencode}")
    url = _address(RUN, [f"var-namespace={fields[0]}", f"var-run={fields[1]}", "${__url_time_range}"])
    return builders.DashboardLink("How this run goes").type(boards.DashboardLinkType.LINK).url(url)


def scores_link(*fields: tuple[str, str]) -> str:
    """The address of the scores' dashboard at its own time, from a table; ``fields`` are (variable, column)."""
    return _address(SCORES, [_cell(variable, column) for variable, column in fields])


def _address(uid: str, parameters: list[str]) -> str:
    return f"/d/{uid}?" + "&".join(["${datasource:queryparam}", *parameters])


def _cell(variable: str, column: str) -> str:
    return f'var-{variable}=${{__data.fields["{column}"]:percentencode}}'


def _datasource() -> Variable:
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _menu(uid: str) -> Iterator[Builder[boards.DashboardLink]]:
    for other, (title, text) in _MENU.items():
        if other != uid:
            link = builders.DashboardLink(title).type(boards.DashboardLinkType.LINK).url(f"/d/{other}").tooltip(text)
            near = not _LOOKS_FAR & {uid, other}
            yield link.icon("dashboard").keep_time(near).include_vars(other not in _CHOOSES_ONE)
