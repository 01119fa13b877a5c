"""Dashboards query exported metrics, link to one another, and explain themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from evalrun_api.metrics import ALL
from evalrun_monitoring import EVERYTHING, fill, queries
from support.prometheus import promtool
from support.promql import TARGET_LABELS, labels_of, names_in, problems

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "helm" / "evalrun" / "files" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [(uid, panel) for uid, board in BOARDS.items() for panel in board["panels"] if panel["type"] != "row"]
QUERIES = queries()
UIDS = {"evalrun-fleet", "evalrun-run", "evalrun-scores", "evalrun-operator"}
COLUMNS = 24
VALUES = {
    "namespace": "team-a",
    "operator": EVERYTHING,
    "run": "llama-3-8b-step-4000",
    "model": EVERYTHING,
    "task": EVERYTHING,
    "metric": EVERYTHING,
    "gpu_hour_price": "2.50",
    "__interval": "15s",
    "__rate_interval": "1m",
    "__range": "1h",
    "__from": "1763934825123",
}

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in PANELS], ids=[f"{u}: {p['title']}" for u, p in PANELS]
)


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def texts(of: object) -> list[str]:
    """Yield every text in a piece of JSON."""
    match of:
        case str():
            return [of]
        case dict():
            return [text for value in of.values() for text in texts(value)]
        case list():
            return [text for value in of for text in texts(value)]
    return []


def links(of: object) -> list[str]:
    return [text for text in texts(of) if text.startswith("/d/")]


# -- the files -------------------------------------------------------------------------------------------------------


def test_dashboard_files_equal_generated_dashboards(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "evalrun_monitoring", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == made, "run `make generate`"


def test_file_of_a_removed_dashboard_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "evalrun-old.json").write_text("{}")
    subprocess.run([sys.executable, "-m", "evalrun_monitoring", tmp_path], check=True)
    assert {path.stem for path in tmp_path.iterdir()} == UIDS


def test_files_are_named_by_uid() -> None:
    assert {uid: board["uid"] for uid, board in BOARDS.items()} == {uid: uid for uid in UIDS}


@each_board
def test_grafana_model_round_trips_a_file(board: dict[str, Any]) -> None:
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    for panel in again["panels"]:
        # The model's reader makes one where there is none.
        if panel.get("fieldConfig", {}).get("defaults", {}).get("custom") == {}:
            del panel["fieldConfig"]["defaults"]["custom"]
    assert again == board


# -- queries ---------------------------------------------------------------------------------------------------------


def test_queries_use_catalogue_metrics() -> None:
    assert not {query: wrong for query in QUERIES if (wrong := problems(query.expr, {}))}


def test_legends_use_labels_that_queries_keep() -> None:
    for query in QUERIES:
        names = names_in(query.expr)
        raw = {label for metric in names.metrics for label in labels_of(metric, {}) or ()} | {"job", "instance"}
        assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= (set(names.grouping) or raw), query


def test_every_metric_is_on_a_dashboard() -> None:
    asked = {metric for query in QUERIES for metric in names_in(query.expr).metrics}
    assert not [metric.name for metric in ALL if not asked & set(metric.series)]


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:number_{number}", "expr": fill(query.expr, VALUES)} for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"SUCCESS: {len(QUERIES)} rules found" in promtool("check", "rules", file)


def test_counters_are_queried_by_growth() -> None:
    """Or by their first value, where they have begun since the last step."""
    counter = re.compile(r"(\w*\(?)\b(evalrun_\w+(?:_total|_bucket|_count))\b")
    begun = re.compile(r"\((evalrun_\w+(?:{[^}]*})?) unless \1 offset \$__interval\)")
    for query in QUERIES:
        for before, name in counter.findall(begun.sub("", query.expr)):
            assert before in {"rate(", "increase("}, f"{name} in {query}"


def test_user_chosen_names_cannot_terminate_a_string() -> None:
    """In backticks, where nothing but a backtick ends it; in double quotes Grafana does not escape double quotes."""
    for query in QUERIES:
        for name in ("model", "task", "metric"):
            assert f"${name}" not in query.expr
            assert query.expr.count(f"${{{name}") == query.expr.count(f"=~`${{{name}:regex}}`"), query


# -- what people see -------------------------------------------------------------------------------------------------


@each_panel
def test_panel_title_is_a_question_and_description_answers_it(panel: dict[str, Any]) -> None:
    assert panel["title"].endswith("?")
    assert panel["title"][0].isupper()
    assert len(panel["title"]) <= 60
    assert panel["description"].endswith((".", "?"))
    assert len(panel["description"]) > len(panel["title"]) / 2


@each_panel
def test_titles_fit_their_panels(panel: dict[str, Any]) -> None:
    """Seen at 1440 pixels: a column is 58 wide, a letter 7.5, and the sign for the description takes its room."""
    assert len(panel["title"]) * 7.5 <= panel["gridPos"]["w"] * 58 - 70


@each_panel
def test_table_columns_fit_on_the_page(panel: dict[str, Any]) -> None:
    """Of 1440 pixels; columns of names share what the others leave."""
    if panel["type"] == "table":
        width = dict.fromkeys(shown(panel).values(), 0)
        for override in panel["fieldConfig"]["overrides"]:
            properties = {one["id"]: one["value"] for one in override["properties"]}
            if properties.get("custom.hidden"):
                del width[override["matcher"]["options"]]
            else:
                width[override["matcher"]["options"]] = properties.get("custom.width", 0)
        names = [title for title, pixels in width.items() if not pixels]
        assert sum(width.values()) + 130 * len(names) <= panel["gridPos"]["w"] * 58


@each_panel
def test_numbers_have_units(panel: dict[str, Any]) -> None:
    if panel["type"] == "table":
        units = {p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "unit"}
        numbers = [target for target in panel["targets"] if f"Value #{target['refId']}" in shown(panel)]
        assert units or not numbers
    else:
        assert panel["fieldConfig"]["defaults"]["unit"]


def shown(panel: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a table: Prometheus' names, and their headings."""
    renamed: dict[str, str] = panel["transformations"][1]["options"]["renameByName"]
    return renamed


@each_panel
def test_table_columns_come_from_its_queries(panel: dict[str, Any]) -> None:
    if panel["type"] == "table":
        kept = {label for target in panel["targets"] for label in names_in(target["expr"]).grouping}
        numbers = {f"Value #{target['refId']}" for target in panel["targets"]}
        assert set(shown(panel)) <= kept | numbers
        summed_up = {"le", "status"}
        assert kept - summed_up <= set(shown(panel)), "a label without a column would be shown last, as it is called"
        headings = set(shown(panel).values())
        assert {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]} <= headings
        assert {one["displayName"] for one in panel["options"].get("sortBy", [])} <= headings


@each_board
def test_panels_do_not_overlap_and_stay_on_the_page(board: dict[str, Any]) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for title, place in places:
        assert place["x"] + place["w"] <= COLUMNS, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, f"{one} and {other}"


@each_board
def test_rows_are_full(board: dict[str, Any]) -> None:
    width: dict[int, int] = {}
    for panel in board["panels"]:
        width[panel["gridPos"]["y"]] = width.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    repeated = {panel["gridPos"]["y"] for panel in board["panels"] if "repeat" in panel}
    assert {y for y, sum_ in width.items() if sum_ != COLUMNS} <= repeated


@each_board
def test_panels_have_unique_ids(board: dict[str, Any]) -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in board["panels"]]
        assert len(values) == len(set(values))


# -- where it leads, and what it can be made to do ---------------------------------------------------------------------


@each_board
def test_links_lead_to_existing_dashboards_and_variables(board: dict[str, Any]) -> None:
    found = links(board["panels"]) + [link["url"] for link in board["links"]]
    assert found
    for link in found:
        address = urlsplit(link)
        uid = address.path.removeprefix("/d/")
        assert uid in BOARDS
        asked = {name.removeprefix("var-") for name in parse_qs(address.query) if name.startswith("var-")}
        asked |= set(re.findall(r"\$\{(\w+):queryparam\}", address.query))
        assert asked <= set(variables(BOARDS[uid]))


@each_board
def test_each_dashboard_links_to_all_others(board: dict[str, Any]) -> None:
    assert {link["url"] for link in board["links"]} == {f"/d/{uid}" for uid in UIDS - {board["uid"]}}


@each_board
def test_time_range_of_scores_is_not_passed_to_other_dashboards(board: dict[str, Any]) -> None:
    for link in board["links"]:
        assert link["keepTime"] == ("evalrun-scores" not in {board["uid"], link["url"].removeprefix("/d/")})
    assert not [link for link in links(board["panels"]) if "evalrun-scores" in link and "__url_time_range" in link]


def test_listed_runs_link_to_their_dashboards() -> None:
    for uid, panel in PANELS:
        if panel["type"] == "table" and "run" in shown(panel):
            assert any(link.startswith("/d/evalrun-run?") for link in links(panel)), f"{uid}: {panel['title']}"


@each_board
def test_link_values_are_encoded(board: dict[str, Any]) -> None:
    """A name may hold what an address reads as its own: & or #, or a slash."""
    for link in links(board):
        for found in re.findall(r"\$\{([^}]*)\}", link):
            encoded = found.endswith((":percentencode", ":queryparam"))
            assert encoded or found == "__url_time_range" or found.endswith(".numeric"), link


@each_panel
def test_names_are_shown_as_plain_text(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"stat", "table", "timeseries", "bargauge", "heatmap", "state-timeline"}, "no HTML"
    cells = [
        p["value"]["type"]
        for o in panel["fieldConfig"].get("overrides", [])
        for p in o["properties"]
        if p["id"] == "custom.cellOptions"
    ]
    assert set(cells) <= {"gauge", "color-text"}
    assert "<" not in panel["title"] + panel["description"]


@each_board
def test_viewer_chooses_the_data_source(board: dict[str, Any]) -> None:
    assert variables(board)["datasource"]["type"] == "datasource"
    sources = [panel["datasource"] for panel in board["panels"] if panel["type"] != "row"]
    sources += [target["datasource"] for panel in board["panels"] for target in panel.get("targets", [])]
    sources += [variable["datasource"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


@each_board
def test_variables_are_defined_and_used(board: dict[str, Any]) -> None:
    used = {name for text in texts(board) for name in re.findall(r"\$\{?([a-z]\w*)", text)}
    assert used == set(variables(board))


@each_board
def test_variable_values_come_from_catalogue_metrics(board: dict[str, Any]) -> None:
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            either = re.fullmatch(r'{__name__=~"([\w|]+)"(?:,(.*))?}', selector)
            metrics = [f"{name}{{{either[2] or ''}}}" for name in either[1].split("|")] if either else [selector]
            for metric in metrics:
                assert not problems(metric, {})
                (name,) = names_in(metric).metrics
                assert label in TARGET_LABELS | (labels_of(name, {}) or set())
            assert bool(variable["multi"]) == bool(variable["includeAll"]) == (variable.get("allValue") == EVERYTHING)
