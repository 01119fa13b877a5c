"""Rules, their tests and their runbooks agree: names are the catalogue's, every alert has a runbook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api import ConditionType, Phase, Reason, Verdict
from evalrun_api.metrics import ALL
from support import promql

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(page for page in RUNBOOKS.glob("*.md") if page.name != "README.md")
PROMTOOL = sorted((ROOT / "tests" / "promtool").glob("*.yaml"))

GROUPS = yaml.safe_load((ROOT / "helm" / "evalrun" / "files" / "rules.yaml").read_text())["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
RECORDED: dict[str, str] = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in RULES if "alert" in rule}

each_alert = pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])

VALUES: dict[str, set[str]] = {
    "phase": set(Phase),
    "verdict": set(Verdict),
    "cause": {"crashed", "hung", "lost", "drained"},
    "condition": set(ConditionType),
    "reason": set(Reason),
    "final": {"true", "false"},
    "better": {"higher", "lower"},
}
"""Labels with fixed values, which only the prose of the catalogue names."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fences(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def shown_queries() -> Iterator[tuple[str, str]]:
    """Return (page, query) of all queries in runbooks, one per line."""
    for page in PAGES:
        for block in fences(page, "promql"):
            yield from ((page.stem, line) for line in block.splitlines())


def asked_in_annotations(alert: dict[str, Any]) -> Iterator[str]:
    """Return the queries in an alert's annotations, with placeholders for the labels' values."""
    for text in alert["annotations"].values():
        for query in re.findall(r'query \(printf "((?:\\.|[^"\\])*)"', text):
            plain = query.replace('\\"', '"').replace("%q", '"x"')
            yield re.sub(r",?%s", "", plain)


# -- the checker -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(evalrun_no_such_total[5m])", "there is no metric evalrun_no_such_total"),
        ('evalrun_items{state="ok"}', "evalrun_items has no label state"),
        ("sum by (model) (evalrun_items)", "no metric in it has the label model"),
        ("evalrun_items * on (replica) evalrun_eta_seconds", "no metric in it has the label replica"),
        ("evalrun_request_seconds", "there is no metric evalrun_request_seconds"),
        ("evalrun_request_seconds_sum{le='5'}", "evalrun_request_seconds_sum has no label le"),
    ],
)
def test_unknown_metrics_and_labels_are_reported(expression: str, problem: str) -> None:
    assert promql.problems(expression, {}) == [problem]


@pytest.mark.parametrize(
    "expression",
    [
        'histogram_quantile(0.9, sum by (le) (rate(evalrun_request_seconds_bucket{run=~"$run"}[$__rate_interval])))',
        'sum(evalrun_items{run_namespace="a}b\\"", status!~"ok|x"}) by (run) > bool 1e3 offset 5m # or nothing()',
        'count_values("finished", evalrun:x) unless on (finished, instance) up',
    ],
)
def test_known_metrics_and_labels_pass(expression: str) -> None:
    assert promql.problems(expression, {"evalrun:x": "max by (run) (evalrun_eta_seconds)"}) == []


def test_every_catalogue_metric_is_known_by_its_series() -> None:
    for metric in ALL:
        for series in metric.series:
            assert promql.problems(f"sum by ({', '.join(metric.labels) or 'job'}) ({series})", {}) == []


# -- rules -----------------------------------------------------------------------------------------------------------


def test_groups_and_rules_have_unique_names() -> None:
    names = [group["name"] for group in GROUPS]
    rules = [rule.get("alert") or rule["record"] for rule in RULES]
    assert sorted(set(names)) == sorted(names)
    assert sorted(set(rules)) == sorted(rules)
    assert len(ALERTS) >= 15


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES])
def test_every_metric_and_label_of_a_rule_is_in_the_catalogue(rule: dict[str, Any]) -> None:
    expressions = [rule["expr"], *(asked_in_annotations(rule) if "alert" in rule else ())]
    for expression in expressions:
        assert promql.problems(expression, RECORDED) == []
        for selector in promql.names_in(expression).selectors:
            for label, _, value in selector.matchers:
                if value != "x":
                    assert set(value.split("|")) <= VALUES.get(label, {*value.split("|")}), f"{label} is never {value}"


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("alert") or rule["record"] for rule in RULES])
def test_no_rule_uses_the_scraped_pod(rule: dict[str, Any]) -> None:
    names = promql.names_in(rule["expr"])
    matched = {label for selector in names.selectors for label, _, _ in selector.matchers}
    assert not {"pod", "instance", "job"} & (names.grouping | matched)


@each_alert
def test_every_alert_has_severity_and_subject(alert: dict[str, Any]) -> None:
    assert set(alert["labels"]) == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description"}
    named = {label for text in alert["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    names = promql.names_in(alert["expr"])
    made = names.grouping.union(*(promql.labels_of(metric, RECORDED) or () for metric in names.metrics))
    assert named <= made


def test_user_chosen_names_enter_queries_only_as_strings() -> None:
    for alert in ALERTS.values():
        for text in alert["annotations"].values():
            for form, arguments in re.findall(r'printf "((?:\\.|[^"\\])*)"((?: \$[\w.]+)*)', re.sub(r"\s+", " ", text)):
                verbs = re.findall(r"%[\d.]*[a-z]", form)
                for verb, argument in zip(verbs, arguments.split(), strict=False):
                    assert verb == "%q" or not argument.startswith("$labels"), f"{alert['alert']}: {form}"


# -- their tests -----------------------------------------------------------------------------------------------------


def cases() -> Iterator[tuple[str, bool]]:
    """Return (alert, whether it fires) of every promtool test."""
    for file in PROMTOOL:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                yield case["alertname"], bool(case.get("exp_alerts"))


@each_alert
def test_every_alert_has_tests_for_firing_and_not_firing(alert: dict[str, Any]) -> None:
    assert {fires for name, fires in cases() if name == alert["alert"]} == {True, False}


@pytest.mark.parametrize("file", PROMTOOL, ids=[file.stem for file in PROMTOOL])
def test_promtool_evaluates_groups_in_file_order(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["group_eval_order"] == [group["name"] for group in GROUPS]


def test_every_alert_test_is_about_an_existing_alert() -> None:
    assert {name for name, _ in cases()} == set(ALERTS)


# -- runbooks --------------------------------------------------------------------------------------------------------


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in PAGES} == set(ALERTS)


@each_page
def test_runbook_has_the_required_sections(page: Path) -> None:
    headings = re.findall(r"^(#+ .*)$", text_of(page), re.MULTILINE)
    assert headings[0] == f"# {page.stem}"
    wanted = ["## What it means", "## What it costs", "## Look", "## Causes, and what to do", "## Resolves"]
    assert [heading for heading in headings if heading.startswith("## ")] == wanted
    assert f"Severity: {ALERTS[page.stem]['labels']['severity']}." in text_of(page).partition("## ")[0].replace(
        "\n", " "
    )
    assert fences(page, "console"), "no command to look with"
    assert fences(page, "promql"), "no query to look with"


def test_index_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", text_of(RUNBOOKS / "README.md"), re.MULTILINE)
    assert dict(rows) == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}


@pytest.mark.parametrize(("page", "query"), list(shown_queries()))
def test_runbook_queries_use_existing_metrics(page: str, query: str) -> None:
    assert promql.problems(query, RECORDED) == []


@each_page
def test_runbooks_name_existing_dashboards_values_and_fields(page: Path) -> None:
    values = yaml.safe_load((ROOT / "helm" / "evalrun" / "values.yaml").read_text())
    crd = yaml.safe_load((ROOT / "helm" / "evalrun" / "files" / "evalrun.dev_evalruns.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    code = re.findall(r"`([^`\n]+)`", text_of(page))
    assert {word for word in code if word.startswith("evalrun-") and "-operator" not in word} <= {
        "evalrun-fleet",
        "evalrun-run",
        "evalrun-scores",
    }
    paths = [match[1].split(".") for word in code if (match := re.match(r"([a-z]\w*(?:\.\w+)+)(?:=|:|$)", word))]
    for path in paths:
        if path[0] in values:
            assert _in_values(values, path), f"the chart has no value {'.'.join(path)}"
        elif path[0] in spec["properties"]:
            assert _in_schema(spec, path), f"a spec has no field {'.'.join(path)}"


def _in_values(values: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def _in_schema(schema: Any, path: list[str]) -> bool:
    for name in path:
        schema = schema.get("items", schema).get("properties", {}).get(name)
        if schema is None:
            return False
    return True
