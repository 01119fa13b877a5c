"""Dashboard of all runs: queue, progress, speed, cost, errors, outcomes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import statetimeline
from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql
from evalrun_monitoring.dashboards import finished, fleet_parts
from evalrun_monitoring.dashboards.fleet_parts import GPU_SECONDS, LOST
from evalrun_monitoring.page import FLEET as UID
from evalrun_monitoring.page import DashboardSpec, Panels, Row, gpu_hour_price, run_link, run_link_of_series, several
from evalrun_monitoring.panels import BAD, BY_RUN, GOOD, IDLE, NEUTRAL, TOP, WARNING, now, query
from evalrun_monitoring.promql import FINISHED, FLEET, RUN_LABELS, WAITING, only
from evalrun_monitoring.tables import COLOR_TEXT, GAUGE, NAMESPACE, Facts, Label, Value, sorted_by, table

_UNFINISHED = promql.in_phase(FLEET, FINISHED, "!~")
_AGE = f"time() - {promql.per_run('evalrun_run_created_timestamp_seconds', FLEET)}"
_WAIT = only(_AGE, promql.in_phase(FLEET, WAITING))


def page() -> DashboardSpec:
    """Build the dashboard of all runs."""
    return DashboardSpec(
        UID,
        "EvalRun / All runs",
        "Every evaluation run: what waits, what runs and how fast, what it costs, what went wrong, how it ended.",
        "now-24h",
        [several("namespace", "Namespace", "label_values(evalrun_run_info, run_namespace)"), gpu_hour_price()],
        [
            Row("Right now", [*_figures(), *_phases()]),
            Row("Unfinished runs", [_unfinished(), _history()]),
            Row("Queue", _queue()),
            Row("Speed", fleet_parts.speed()),
            Row("GPUs and money", fleet_parts.money()),
            Row("Trouble", fleet_parts.trouble()),
            Row("Finished runs", [finished.runs(FLEET), finished.gates(FLEET)]),
        ],
    )


def _figures() -> Panels:
    moving = panels.figure(
        "Is anything moving?",
        "Items that all runs together bring into their results per second. 0 for minutes while runs are Running: look "
        "for the run without items/s below.",
        panels.ITEMS_PER_SECOND,
        query(promql.rate("evalrun_items_committed_total", FLEET)),
    )
    unfinished = panels.figure(
        "How many unfinished?",
        "Runs that wait, start, run, finish or are suspended.",
        panels.NUMBER,
        now(f"sum({promql.gauge('evalrun_runs', f'{FLEET},phase!~`{FINISHED}`', 'run_namespace', 'phase')})"),
    )
    held = panels.figure(
        "How many GPUs held?",
        "GPUs that replicas hold, whether they load the model or answer. What a GPU costs, it costs while it is held.",
        panels.NUMBER,
        query(promql.rate(GPU_SECONDS, FLEET)),
    )
    waiting = panels.figure(
        "Does a run wait?",
        "The longest time since a run was created that is still Pending or Queued. Orange from 15 minutes, red from "
        "an hour: is the queue's quota used up, or the operator away?",
        units.Seconds,
        now(f"max({_WAIT})"),
    )
    cost = panels.figure(
        "What did it cost?",
        "GPU-hours held in the time shown, times the price of a GPU-hour, which is typed in above.",
        units.Dollars,
        now(f"{promql.gpu_hours(FLEET)} * $gpu_hour_price"),
    )
    failed = panels.figure(
        "Did items fail?",
        "Items that failed or were quarantined in the time shown. They are never scored; gates on their tasks are "
        "inconclusive.",
        panels.NUMBER,
        now(promql.growth("evalrun_items_committed_total", LOST)),
    )
    return [
        moving.decimals(1).no_value("nothing runs").thresholds(panels.steps(IDLE, (0.001, GOOD))),
        unfinished.thresholds(panels.steps(NEUTRAL)).no_value("none"),
        held.decimals(0).thresholds(panels.steps(NEUTRAL)).no_value("none"),
        waiting.no_value("none waits").thresholds(panels.steps(GOOD, (900, WARNING), (3600, BAD))),
        cost.thresholds(panels.steps(NEUTRAL)).decimals(2).no_value("nothing"),
        failed.decimals(0).no_value("none").thresholds(panels.steps(GOOD, (0.5, WARNING))),
    ]


def _phases() -> Panels:
    by_phase = f"sum by(phase)({promql.gauge('evalrun_runs', FLEET, 'run_namespace', 'phase')})"
    counted = panels.ranking(
        "In which phases are the runs?",
        "All runs that there are, finished ones included, by phase. Failed: the run could not reach its end. Invalid: "
        "what the user gave is wrong.",
        panels.NUMBER,
        now(f"{by_phase} > 0", "{{phase}}"),
    ).no_value("no runs")
    unfinished = f"{FLEET},phase!~`{FINISHED}`"
    over_time = panels.stacked_counts(
        "How many runs were in which phase?",
        "Unfinished runs over time. A growing yellow area is a queue that grows; a long blue one is GPUs that load "
        "models instead of answering.",
        query(f"sum by(phase)({promql.gauge('evalrun_runs', unfinished, 'run_namespace', 'phase')})", "{{phase}}"),
    )
    return [panels.shaded(counted, panels.PHASE_COLORS), panels.shaded(over_time, panels.PHASE_COLORS)]


def _unfinished() -> builders.Panel:
    answered = promql.rate("evalrun_items_committed_total", FLEET, *RUN_LABELS)
    ready, desired = (
        promql.per_run("evalrun_run_replicas", f'{FLEET},state="{state}"') for state in ("ready", "desired")
    )
    unfinished = table(
        "Which runs are unfinished, and how far are they?",
        "A row for each unfinished run; its name leads to its own dashboard. Time left is an estimate, absent until "
        "items are answered. Fewer replicas ready than wanted: no capacity, or they load the model. An attempt above "
        "1: the driver failed and was started again; nothing that is committed is lost.",
        NAMESPACE,
        Label("Run", "run", run_link(), "How this run goes"),
        Label("Phase", "phase", colors=panels.PHASE_COLORS, width=100),
        Label("Model", "model"),
        Facts(_UNFINISHED),
        Facts(only(promql.gauge("evalrun_run_info", FLEET, *RUN_LABELS, "model"), _UNFINISHED)),
        Value("Done", only(promql.progress(FLEET), _UNFINISHED), units.PercentUnit, cell=GAUGE, width=150),
        Value("Items/s", only(answered, _UNFINISHED), decimals=1),
        Value("Time left", only(promql.per_run("evalrun_eta_seconds", FLEET), _UNFINISHED), units.Seconds, width=100),
        Value("Ready", only(ready, _UNFINISHED)),
        Value("Wanted", only(desired, _UNFINISHED)),
        Value("GPUs", only(promql.per_run("evalrun_run_gpus", FLEET), _UNFINISHED)),
        Value(
            "Attempt",
            only(promql.per_run("evalrun_run_attempt", FLEET), _UNFINISHED),
            cell=COLOR_TEXT,
            thresholds=((2, WARNING), (3, BAD)),
        ),
        Value("Age", only(_AGE, _UNFINISHED), units.Seconds, width=100),
    )
    return sorted_by(unfinished, "Age", descending=True)


def _history() -> statetimeline.Panel:
    history = panels.timeline(
        "What did each run do when?",
        "The phases of each run while it was unfinished. Yellow: it waits for its turn. Blue: it starts and loads the "
        "model. Green: it answers items.",
        query(promql.phase_number("evalrun_run_phase", FLEET, finished=False), BY_RUN),
    )
    return history.mappings([panels.phases()]).per_page(20).height(8).data_links([run_link_of_series()])


def _queue() -> Panels:
    waiting = promql.gauge("evalrun_runs", f"{FLEET},phase=~`{WAITING}`", "run_namespace", "phase")
    over_time = panels.stacked_counts(
        "How many runs wait?",
        "Pending: the operator has not acted on them; more than a moment of it means that the operator is away. "
        "Queued: they wait for Kueue to admit them.",
        query(f"sum by(phase)({waiting})", "{{phase}}"),
    )
    return [
        panels.shaded(over_time, panels.PHASE_COLORS),
        panels.ranking(
            "Which runs have waited longest?",
            f"The {TOP} oldest runs that wait, by the time since they were created.",
            units.Seconds,
            now(f"topk({TOP},{_WAIT})", BY_RUN),
        )
        .no_value("none waits")
        .thresholds(panels.steps(GOOD, (900, WARNING), (3600, BAD)))
        .data_links([run_link_of_series()]),
    ]
