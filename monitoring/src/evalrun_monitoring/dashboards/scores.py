"""Dashboard of scores over checkpoints: a line per model, task by task, with errors and gates."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql, tables
from evalrun_monitoring.dashboards.finished import OWN_TIME, milliseconds, own_time
from evalrun_monitoring.page import SCORES as UID
from evalrun_monitoring.page import DashboardSpec, Panels, Row, run_link, several
from evalrun_monitoring.panels import BAD, GOOD, NEUTRAL, WARNING, now, query
from evalrun_monitoring.promql import FLEET, SCORE_LABELS, SCORES, only
from evalrun_monitoring.score_lines import Z95, Scores, score_lines
from evalrun_monitoring.tables import FILTER, METRIC, NAMESPACE, Facts, Label, Value, sorted_by, table

_NEWEST = promql.newest(SCORES)
_RUNNING = f'{SCORES},final="false"'
_LINE = tuple(label for label in SCORE_LABELS if label != "run")
"""Labels of a line over checkpoints."""
_FAILED = f"{promql.gauge('evalrun_gate', f'{SCORES},verdict=`Failed`', *SCORE_LABELS)} == 1"
_INCONCLUSIVE = f"{promql.gauge('evalrun_gate', f'{SCORES},verdict=`Inconclusive`', *SCORE_LABELS)} == 1"


def page() -> DashboardSpec:
    """Build the dashboard of scores."""
    of_model = FLEET + ",model=~`${model:regex}`"
    of_task = of_model + ",task=~`${task:regex}`"
    return DashboardSpec(
        UID,
        "EvalRun / Scores",
        "Scores over checkpoints, per model and task, with their errors and gates.",
        "now-30d",
        [
            several("namespace", "Namespace", "label_values(evalrun_score, run_namespace)"),
            several("model", "Model", f"label_values(evalrun_score{{{FLEET}}}, model)"),
            several("task", "Task", f"label_values(evalrun_score{{{of_model}}}, task)"),
            several("metric", "Metric", f"label_values(evalrun_score{{{of_task}}}, metric)"),
        ],
        [
            Row("Newest finished runs", [*_figures(), _newest()]),
            Row("Scores over checkpoints, by task", [_checkpoints()]),
            Row("All finished runs", [_finished()]),
            Row("Unfinished runs", [_running(), _running_lines()]),
        ],
    )


def _figures() -> Panels:
    def of_newest(condition: str) -> str:
        return f"count({only(condition, _NEWEST, *SCORE_LABELS)})"

    return [
        panels.figure(
            "How many scores are there?",
            "Scores of the newest finished run of each model, task, metric and filter that is selected above.",
            panels.NUMBER,
            now(f"count({_NEWEST})"),
        )
        .span(8)
        .no_value("none")
        .thresholds(panels.steps(NEUTRAL)),
        panels.figure(
            "How many failed a gate?",
            "Scores of the newest finished runs that missed the bound of a gate.",
            panels.NUMBER,
            now(of_newest(_FAILED)),
        )
        .span(8)
        .no_value("none")
        .thresholds(panels.steps(GOOD, (1, BAD))),
        panels.figure(
            "How many are inconclusive?",
            "Scores of the newest finished runs whose gates could not be decided: items are missing or failed, or the "
            "bound lies within the score's error.",
            panels.NUMBER,
            now(of_newest(_INCONCLUSIVE)),
        )
        .span(8)
        .no_value("none")
        .thresholds(panels.steps(GOOD, (1, WARNING))),
    ]


def _newest() -> builders.Panel:
    newest = _scores_table(
        "What does each model score now?",
        "The newest finished run of each model, task, metric and filter. From and to: the 95% interval. Better: "
        "whether a higher or a lower score is better.",
        lambda expr: only(expr, _NEWEST, *SCORE_LABELS),
    )
    return sorted_by(newest, "Task").height(12)


def _finished() -> builders.Panel:
    every = _scores_table(
        "What did every finished run score?",
        "All finished runs that the operator still exports, the newest first. Compare the scores of two checkpoints "
        "here: from and to are the ends of the 95% interval.",
        lambda expr: expr,
    )
    return sorted_by(every, "When", descending=True).height(12)


def _scores_table(title: str, text: str, kept: Callable[[str], str]) -> builders.Panel:
    """Build a table of final scores; ``kept`` restricts a query to the desired rows."""
    better = promql.gauge("evalrun_score", f'{SCORES},final="true"', *SCORE_LABELS, "better")

    def of_run(expr: str) -> str:
        return kept(promql.beside_score(SCORES, expr))

    return table(
        title,
        text,
        Label("Task", "task"),
        METRIC,
        FILTER,
        Label("Model", "model"),
        Label("Better", "better", width=76),
        Facts(kept(better)),
        Value("Score", kept(promql.final_scores("evalrun_score", SCORES)), units.NoUnit, decimals=4),
        Value("From", kept(promql.final_scores("evalrun_score_low", SCORES)), units.NoUnit, decimals=4),
        Value("To", kept(promql.final_scores("evalrun_score_high", SCORES)), units.NoUnit, decimals=4),
        Value("Items", kept(promql.final_scores("evalrun_score_items", SCORES))),
        tables.gates(kept(promql.verdict(SCORES, *SCORE_LABELS))),
        NAMESPACE,
        Label("Run", "run", run_link(times=OWN_TIME), "Open the dashboard of this run"),
        tables.when(of_run(milliseconds(promql.finished_at(FLEET)))),
        *(Value(column, of_run(expr), hidden=True) for column, expr in own_time(FLEET).items()),
    )


def _checkpoints() -> timeseries.Panel:
    bounds = promql.gauge("evalrun_gate_bound", SCORES, *SCORE_LABELS, "gate")
    final = promql.final_scores("evalrun_score", SCORES)
    scores = Scores(
        promql.of_newest(final, SCORES),
        promql.of_newest(promql.final_scores("evalrun_score_stderr", SCORES), SCORES),
        "{{model}} {{metric}} {{filter}} ({{run_namespace}})",
        f'count by({",".join(_LINE)})(evalrun_score{{{SCORES},final="true"}})',
        promql.of_newest(bounds, SCORES, "gate"),
        promql.of_newest(only(final, promql.newly_failed(SCORES, *SCORE_LABELS), *SCORE_LABELS), SCORES),
    )
    panel = score_lines(
        "Does ${task} improve?",
        "Each step is a finished run: the solid line is the score of the newest one, the dashed lines are the ends "
        "of its 95% interval. Where two intervals overlap, a difference may be chance. Thin horizontal lines: bounds "
        "of gates. Red point: a run ended that failed a gate. To fill the interval, choose one model and one metric "
        "above.",
        scores,
    )
    return panel.repeat("task").repeat_direction("h").max_per_row(2)


def _running() -> builders.Panel:
    running = table(
        "What do unfinished runs score so far?",
        "Means over the items answered so far, of metrics that are means. Costly items come first, so that the means "
        "drift: they do not predict the final scores.",
        Label("Task", "task"),
        METRIC,
        FILTER,
        Label("Model", "model"),
        Value("Score", promql.gauge("evalrun_score", _RUNNING, *SCORE_LABELS), units.NoUnit, decimals=4),
        Value(
            "±", f"{Z95} * {promql.gauge('evalrun_score_stderr', _RUNNING, *SCORE_LABELS)}", units.NoUnit, decimals=4
        ),
        Value("Items", promql.gauge("evalrun_score_items", _RUNNING, *SCORE_LABELS)),
        NAMESPACE,
        Label("Run", "run", run_link(), "Open the dashboard of this run"),
    )
    return sorted_by(running, "Task")


def _running_lines() -> timeseries.Panel:
    lines = panels.course(
        "Are their scores stable?",
        "The same scores in the last 12 hours. A line that still moves has seen too few items.",
        units.NoUnit,
        query(promql.gauge("evalrun_score", _RUNNING, *SCORE_LABELS), "{{run}} {{task}} {{metric}} {{filter}}"),
    )
    return (
        lines.decimals(4)
        .fill_opacity(0)
        .line_interpolation(commons.LineInterpolation.STEP_AFTER)
        .span(24)
        .time_from("12h")
    )
