"""Dashboards and alerts on the data of a real Prometheus: each query returns data, each alert fires."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from evalrun_api import Phase
from evalrun_monitoring import fill
from support.e2e import NAMESPACE, ROOT, Object
from support.promql import Selector, names_in
from support.watched import QUICKER, RULES, RUNS, Watched

pytestmark = pytest.mark.timeout(900)

DASHBOARDS = sorted((ROOT / "helm" / "evalrun" / "files" / "dashboards").glob("*.json"))


@pytest.fixture(scope="module", autouse=True)
def _taken_away_afterwards(watched: Watched) -> Iterator[None]:
    """Provide the data, and delete the runs after this module."""
    yield
    watched.clear()


# Dashboards ---------------------------------------------------------------------------------------------------------

FILLED = {
    "datasource": "prometheus",
    "gpu_hour_price": "2.5",
    "operator": ".*",
    "metric": "exact_match",
    "__rate_interval": "10s",
    "__interval": "5s",
}
CHOICES = [
    {"namespace": namespace, "run": run, "model": model, "task": task}
    for namespace, model, task in ((".*", ".*", ".*"), (NAMESPACE, "mock", "easy"))
    for run in RUNS
]
"""Values that a viewer may choose at the top of a dashboard: everything, or one of each."""


def filled(watched: Watched, expr: str) -> set[str]:
    """Fill a query with each of the values that a viewer may choose."""
    times = {"__range": f"{watched.seconds}s", "__from": f"{watched.began * 1000:.0f}"}
    return {fill(expr, FILLED | times | choice) for choice in CHOICES}


def targets(board: Object) -> Iterator[tuple[str, str]]:
    """Yield the title and the query of every panel."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])
def test_every_query_of_a_dashboard_returns_data(watched: Watched, file: Path) -> None:
    found = list(targets(json.loads(file.read_text())))
    assert found
    silent = [title for title, expr in found if not any(watched.at_some_time(one) for one in filled(watched, expr))]
    assert silent == []


@pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])
def test_every_variable_of_a_dashboard_has_values(watched: Watched, file: Path) -> None:
    variables = [one for one in json.loads(file.read_text())["templating"]["list"] if one["type"] == "query"]
    assert variables
    for variable in variables:
        asked = re.fullmatch(r"label_values\((.+), *(\w+)\)", variable["query"], re.DOTALL)
        assert asked, variable
        selectors = filled(watched, asked[1])
        assert any(watched.prometheus.label_values(asked[2], selector) for selector in selectors), variable["name"]


# Alerts -------------------------------------------------------------------------------------------------------------

PROVEN_BY_PROMTOOL = {
    "EvalRunOperatorQueueStalled": "an operator that hangs for two minutes",
    "EvalRunDriverNotScraped": "a driver that Prometheus has not reached for ten minutes",
    "EvalRunSeriesDropped": "300 scores in one run, or a thousand finished runs",
}
"""Alerts that do not fire in this story, with what would fire them; tests/promtool covers them."""


def rules() -> list[Object]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_the_tests_copy_of_the_rules_names_only_existing_alerts() -> None:
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    assert QUICKER.keys() | PROVEN_BY_PROMTOOL.keys() <= names


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    found = watched.prometheus.rules()
    assert len(found) == len(rules())
    assert {(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"} == set()


@pytest.mark.parametrize("name", [rule["record"] for rule in rules() if "record" in rule])
def test_every_record_has_series(watched: Watched, name: str) -> None:
    assert watched.ever_had(name)


@pytest.mark.parametrize("name", [rule["alert"] for rule in rules() if "alert" in rule])
def test_every_alert_fired(watched: Watched, name: str) -> None:
    fired = watched.ever_had(f'ALERTS{{alertname="{name}",alertstate="firing"}}')
    assert fired == (name not in PROVEN_BY_PROMTOOL)


def test_texts_of_alerts_are_expanded(watched: Watched) -> None:
    for name, alert in watched.fired.items():
        for text in alert["annotations"].values():
            assert not re.search(r"error expanding|no value|%!|\{\{|\+Inf|NaN", text), f"{name}: {text}"
        print(f"\n{name}: {alert['annotations']['summary']}\n    {alert['annotations']['description']}")


# Names in queries ---------------------------------------------------------------------------------------------------


def queries() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for file in DASHBOARDS:
        yield from (expr for _, expr in targets(json.loads(file.read_text())))


def chosen(selector: Selector) -> Iterator[str]:
    """Expand a selector into one selector for each value that its matchers enumerate."""
    for label, sign, text in selector.matchers:
        if "$" not in text and sign in {"=", "=~"}:
            for value in text.split("|") if sign == "=~" else [text]:
                yield f'{selector.metric}{{{label}="{value}"}}'


UNSEEN = {
    # Drivers have only three phases; panels of phases query all of them.
    **{
        f'evalrun_driver_phase{{phase="{phase}"}}': "no driver is in it"
        for phase in Phase
        if phase not in {Phase.STARTING, Phase.RUNNING, Phase.FINISHING}
    },
    'evalrun_run_phase{phase="Failed"}': "every run of the story reaches its end, or is Invalid",
    'evalrun:run:phase{phase="Failed"}': "the same",
    'evalrun_run_phase{phase="Cancelled"}': "none is cancelled",
    'evalrun:score:history{better="lower"}': "no metric of the story is better when it is lower",
    'evalrun:score:latest{better="lower"}': "the same",
}
"""Names in queries that no series of the story has, with the reason."""

BRIEF = {
    f'{metric}{{phase="{Phase.FINISHING}"}}'
    for metric in ("evalrun_driver_phase", "evalrun_run_phase", "evalrun:run:phase")
}
"""Names of states that may last less than a scrape interval, and so may or may not be seen."""


def test_every_name_in_a_query_occurs_in_a_series(watched: Watched) -> None:
    asked = {one for query in queries() for selector in names_in(query).selectors for one in chosen(selector)}
    unseen = {one for one in asked if not watched.ever_had(one)}
    assert sorted(unseen - BRIEF) == sorted(UNSEEN)
