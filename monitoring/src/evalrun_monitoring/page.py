"""A dashboard: its rows of panels, its variables, and the links to the other dashboards."""

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
"""Uids of the dashboards, which are parts of their addresses."""
_MENU = {
    FLEET: ("All runs", "Waiting and running runs, and their cost"),
    RUN: ("One run", "Progress, speed, replicas, errors and cost of a run"),
    SCORES: ("Scores", "Scores over checkpoints, with their gates"),
    OPERATOR: ("Operator", "Health of the operator"),
}
_CHOOSES_ONE = frozenset({RUN})
"""Dashboards whose variables take one value, while the same variables of others may take several."""
_LOOKS_FAR = frozenset({SCORES})
"""Dashboards whose time range is weeks, not hours: links neither pass it on nor override it."""

_EVERYTHING = ".*"
"""Value of a variable for ``All``, instead of a list of all names, which may be long and contain anything."""

Variable = Builder[boards.VariableModel]
Panels = Sequence[Builder[boards.Panel]]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right, 24 columns wide."""

    title: str
    panels: Panels


@dataclass(frozen=True, slots=True)
class DashboardSpec:
    """Content of a dashboard. ``since`` is the initial beginning of the time range, which ends now."""

    uid: str
    title: str
    text: str
    since: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    def build(self) -> boards.Dashboard:
        """Build the dashboard in Grafana's model."""
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
    """Format the file of a dashboard."""
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def chosen(name: str, label: str, values: str) -> builders.QueryVariable:
    """Build a variable that takes one of a label's values; ``values`` is a ``label_values(…)``."""
    variable = builders.QueryVariable(name).label(label).query(values).datasource(DATASOURCE)
    variable = variable.refresh(boards.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.sort(boards.VariableSort.ALPHABETICAL_ASC)


def several(name: str, label: str, values: str) -> builders.QueryVariable:
    """Build a variable that takes any of a label's values, initially all."""
    variable = chosen(name, label, values).multi(True).include_all(True).all_value(_EVERYTHING)
    return variable.current(boards.VariableOption(selected=True, text="All", value="$__all"))


def gpu_hour_price() -> Variable:
    """Build the variable of the price of a GPU-hour, which the viewer types in."""
    variable = builders.TextBoxVariable("gpu_hour_price").label("Price of a GPU-hour")
    return variable.default_value("2.50").description("In US dollars, or in any other currency.")


def run_link(namespace: str = "run_namespace", run: str = "run", times: str = "${__url_time_range}") -> str:
    """Build the address of a run's dashboard for a table.

    Cells may contain anything: ``percentencode`` keeps them from being read as other parts of the address.

    Args:
        namespace: The column with the namespace.
        run: The column with the name of the run.
        times: The URL parameters of the time range.
    """
    return _address(RUN, [_cell("namespace", namespace), _cell("run", run), times])


def run_link_of_series() -> Builder[boards.DashboardLink]:
    """Build the same link for a graph whose series have the labels of a run."""
    fields = ("${__field.labels.run_namespace:percentencode}", "${__field.labels.run:percentencode}")
    url = _address(RUN, [f"var-namespace={fields[0]}", f"var-run={fields[1]}", "${__url_time_range}"])
    return builders.DashboardLink("Open the dashboard of this run").type(boards.DashboardLinkType.LINK).url(url)


def scores_link(*fields: tuple[str, str]) -> str:
    """Build the address of the scores' dashboard for a table; ``fields`` are (variable, column)."""
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
