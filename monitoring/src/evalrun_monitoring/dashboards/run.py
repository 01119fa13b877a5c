"""Dashboard of one run: phase, progress, speed, scores. Its other rows are in ``run_parts``."""

from __future__ import annotations

from functools import partial

from grafana_foundation_sdk.builders import statetimeline, timeseries
from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import dashboard as boards
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql, tables
from evalrun_monitoring.dashboards import parts, run_parts
from evalrun_monitoring.page import RUN as UID
from evalrun_monitoring.page import DashboardSpec, Panels, Row, chosen, gpu_hour_price, scores_link, several
from evalrun_monitoring.panels import BAD, GOOD, IDLE, NEUTRAL, WARNING, now, query
from evalrun_monitoring.promql import ENDED, RUN
from evalrun_monitoring.score_lines import Z95, Scores, score_lines
from evalrun_monitoring.tables import Facts, Label, Value, sorted_by, table, unpaged

_SCORE = ("task", "metric", "filter")
_ANY = '__name__=~"evalrun_run_info|evalrun_driver_info"'
"""Selector of what every run has: a waiting run has no driver, one without a cluster has no operator."""


def page() -> DashboardSpec:
    """Build the dashboard of one run."""
    tasks = several("task", "Task", f"label_values(evalrun_score{{{RUN}}}, task)")
    return DashboardSpec(
        UID,
        "EvalRun / One run",
        "One run: its progress, its speed and its scores; the state of its replicas, its store and its driver.",
        "now-3h",
        [
            chosen("namespace", "Namespace", f"label_values({{{_ANY}}}, run_namespace)"),
            chosen("run", "Run", f'label_values({{{_ANY},run_namespace="$namespace"}}, run)'),
            tasks,
            gpu_hour_price(),
        ],
        [
            Row("Current state", [*_figures(), *_facts()]),
            Row("Progress", [_items(), _speed(), _phases(), _tokens()]),
            Row("Scores", [_scores()]),
            Row("Replicas", run_parts.replicas()),
            Row("Requests", run_parts.requests()),
            Row("Tail", run_parts.tail()),
            Row("Errors", run_parts.errors()),
            Row("Store", run_parts.store()),
            Row("GPUs and cost", run_parts.money()),
            Row("Driver", run_parts.driver()),
            Row("Scores over time, by task", [_score_lines()]),
        ],
    )


def _figures() -> Panels:
    ended = f"sum({promql.gauge('evalrun_items', f'{RUN},status=~`{ENDED}`', 'status', last=True)})"
    planned = promql.gauge("evalrun_items_planned", RUN, last=True)
    planned_all = f"{promql.gauge('evalrun_planning_done', RUN, last=True)} == 1"
    lost = f"sum({promql.gauge('evalrun_items', f'{RUN},status=~`failed|quarantined`', 'status', last=True)})"
    final = f"sum({promql.gauge('evalrun_run_final_items', RUN, 'status')})"
    final_lost = f"sum({promql.gauge('evalrun_run_final_items', f'{RUN},status!=`ok`', 'status')})"
    phase = panels.figure(
        "Which phase is it in?",
        "The phase of the run. Queued: it waits for admission. Starting: it checks its input, then replicas load the "
        "model. Running: items are answered. Finishing: scores are computed. Failed: the run's conditions say why.",
        units.NoUnit,
        now(f"{promql.phase_number('evalrun_run_phase', RUN)} or {promql.phase_number('evalrun_driver_phase', RUN)}"),
    )
    done = panels.figure(
        "How far is it?",
        "Items that ended, as a share of those planned so far. Planning continues while the first items are "
        "answered; until it is done, the share may fall.",
        units.PercentUnit,
        # No scrape may have seen the driver's final values: for a finished run the operator's are right.
        now(f"{final} / {planned} or max({promql.progress(RUN, last=True)})"),
    )
    left = panels.figure(
        "How much longer?",
        "An estimate from the speed so far; absent until items are answered.",
        units.Seconds,
        now(promql.gauge("evalrun_eta_seconds", RUN)),
    )
    items = panels.figure(
        "How many items?",
        "Items that ended, and items planned. `planned so far`: planning continues.",
        panels.NUMBER,
        now(f"{final} or {ended}", "ended"),
        now(f"{planned} and {planned_all}", "planned"),
        now(f"{planned} unless {planned_all}", "planned so far"),
    )
    failed = panels.figure(
        "Did items fail?",
        "Failed and quarantined items. If there are more than policy.maxFailedItems, the run fails.",
        panels.NUMBER,
        now(f"{final_lost} or {lost}"),
    )
    gates = panels.figure(
        "Do its gates pass?",
        "The worst verdict of all gates, once the run is finished.",
        units.NoUnit,
        now(promql.verdict(RUN)),
    )
    return [
        phase.mappings([panels.phases()])
        .no_value("unknown")
        .thresholds(panels.steps(IDLE))
        .color_scheme(panels.color(boards.FieldColorModeId.THRESHOLDS)),
        done.decimals(1).min(0).max(1).thresholds(panels.steps(NEUTRAL, (1, GOOD))),
        left.thresholds(panels.steps(NEUTRAL)).no_value("unknown"),
        items.thresholds(panels.steps(NEUTRAL)).decimals(0),
        failed.thresholds(panels.steps(GOOD, (1, WARNING))),
        gates.mappings([panels.verdicts()]).no_value("no verdict").thresholds(panels.steps(IDLE)),
    ]


def _facts() -> Panels:
    facts = ("model", "attempt", "engine", "numerics", "version")
    hours = promql.gpu_hours(RUN)
    facts_table = table(
        "What does it run?",
        "What its drivers report about themselves, one row for each attempt in the time shown. Engine mock: answers "
        "are made up for a test.",
        Label("Model", "model"),
        Label("Engine", "engine", width=80),
        Label("Numerics", "numerics", width=100),
        Label("Attempt", "attempt", width=80),
        Label("Version", "version", width=100),
        Facts(promql.gauge("evalrun_driver_info", RUN, *facts, last=True)),
    )
    return [
        unpaged(facts_table).span(12).height(4),
        panels.figure(
            "Which attempt is it?",
            "The current or last attempt. Each attempt continues from what is committed.",
            panels.NUMBER,
            now(promql.gauge("evalrun_run_attempt", RUN)),
        )
        .no_value("unknown")
        .thresholds(panels.steps(NEUTRAL, (2, WARNING), (3, BAD))),
        panels.figure(
            "How many GPU-hours?",
            "GPU-hours that its replicas held in the time shown. Choose a time range that includes the whole run.",
            panels.GPU_HOURS,
            now(hours),
        )
        .decimals(2)
        .thresholds(panels.steps(NEUTRAL))
        .no_value("none"),
        panels.figure(
            "What did it cost?",
            "These GPU-hours times the price of a GPU-hour, which you enter at the top.",
            units.Dollars,
            now(f"{hours} * $gpu_hour_price"),
        )
        .decimals(2)
        .thresholds(panels.steps(NEUTRAL))
        .no_value("nothing"),
    ]


def _items() -> timeseries.Panel:
    items = panels.stacked_counts(
        "Is it making progress?",
        "Items by state: ok, failed and quarantined have ended; leased are with replicas; waiting are with none; "
        "skipped are not evaluated, because the run stopped early. The green area should grow. Reused: their results "
        "were there before this driver started.",
        query(promql.gauge("evalrun_items", RUN, "status"), "{{status}}"),
        query(promql.gauge("evalrun_items_kept", RUN), "reused"),
    )
    return panels.bound(panels.shaded(items, panels.ITEM_COLORS), "reused")


def _speed() -> timeseries.Panel:
    committed = promql.rate("evalrun_items_committed_total", RUN, "status")
    speed = panels.stacked(
        "How fast is it?",
        "Items per second that replicas commit, by how the items ended.",
        panels.ITEMS_PER_SECOND,
        query(committed, "{{status}}"),
    )
    return panels.shaded(speed, panels.ITEM_COLORS)


def _phases() -> statetimeline.Panel:
    timeline = panels.timeline(
        "When was it in which phase?",
        "The phase of the run as the operator sees it, and the phase of its driver. A gap in the driver's line: "
        "there was no driver.",
        query(promql.phase_number("evalrun_run_phase", RUN), "run"),
        query(promql.phase_number("evalrun_driver_phase", RUN), "driver"),
    )
    return timeline.mappings([panels.phases()]).span(12).height(8)


def _tokens() -> timeseries.Panel:
    return panels.lines(
        "How many tokens are processed?",
        "Prompt and generated: tokens per second of committed items. By engines: both together, committed or not. It "
        "is less than the prompts where one call answers all choices of a question. If it stays far above the other "
        "two, work is lost: see the tail and the errors.",
        panels.TOKENS_PER_SECOND,
        *parts.token_rates(RUN),
    )


def _final_or_running(metric: str, *labels: str, last: bool = False) -> str:
    """Query the final score where one exists, else the running one.

    Args:
        metric: The metric of the score.
        labels: The labels to keep.
        last: For the running score as in ``promql.gauge``.
    """
    task = f"{RUN},task=~`${{task:regex}}`"
    final = promql.gauge(metric, f'{task},final="true"', *labels)
    running = promql.gauge(metric, f'{task},final="false"', *labels, last=last)
    return f"{final} or ({running} unless on({','.join(_SCORE)}) {final})"


def _scores() -> builders.Panel:
    labels = (*_SCORE, "model", "final", "better")
    so_far = partial(_final_or_running, last=True)
    scores = table(
        "What does it score?",
        "While the run is unfinished (final: false), means over the items answered so far, of metrics that are "
        "means: costly items come first, so that the means drift. At its end (final: true), the scores of "
        "results.json. ±: the 95% interval. Better: whether a higher or a lower score is better. A task links to its "
        "scores over checkpoints.",
        Label("Task", "task", scores_link(("task", "task"), ("model", "model")), "Show this task over checkpoints"),
        Label("Metric", "metric"),
        Label("Filter", "filter"),
        Label("Better", "better", width=90),
        Label("Final", "final", width=80),
        Label("Model", "model", hidden=True),
        Facts(so_far("evalrun_score", *labels)),
        Value("Score", so_far("evalrun_score", *_SCORE), units.NoUnit, decimals=4),
        Value("±", f"{Z95} * ({so_far('evalrun_score_stderr', *_SCORE)})", units.NoUnit, decimals=4),
        Value("Items", so_far("evalrun_score_items", *_SCORE)),
        tables.gates(promql.verdict(RUN, *_SCORE)),
    )
    return sorted_by(scores, "Task")


def _score_lines() -> timeseries.Panel:
    failed = promql.newly_failed(RUN, *_SCORE)
    score = _final_or_running("evalrun_score", *_SCORE)
    scores = Scores(
        score,
        _final_or_running("evalrun_score_stderr", *_SCORE),
        "{{metric}} {{filter}}",
        f"count by({','.join(_SCORE)})(evalrun_score{{{RUN},task=~`${{task:regex}}`}})",
        promql.gauge("evalrun_gate_bound", RUN, *_SCORE, "gate"),
        promql.only(score, failed, *_SCORE),
    )
    panel = score_lines(
        "What does it score on ${task}?",
        "The score so far, between the dashed ends of its 95% interval, which narrows as items are answered; at its "
        "end, the final score. Thin horizontal lines: bounds of gates. Red point: the score failed a gate.",
        scores,
    )
    return panel.repeat("task").repeat_direction("h").max_per_row(2)
