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
        "All evaluation runs: which wait, which run and how fast, what they cost, what failed, how they ended.",
        "now-24h",
        [several("namespace", "Namespace", "label_values(evalrun_run_info, run_namespace)"), gpu_hour_price()],
        [
            Row("Current state", [*_figures(), *_phases()]),
            Row("Unfinished runs", [_unfinished(), _history()]),
            Row("Queue", _queue()),
            Row("Speed", fleet_parts.speed()),
            Row("GPUs and cost", fleet_parts.money()),
            Row("Failures", fleet_parts.trouble()),
            Row("Finished runs", [finished.runs(FLEET), finished.gates(FLEET)]),
        ],
    )


def _figures() -> Panels:
    moving = panels.figure(
        "Is work progressing?",
        "Items that all runs together commit per second. If it is 0 for minutes while runs are Running, look for the "
        "run without items/s below.",
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
        "How many GPUs in use?",
        "GPUs that replicas hold, whether they load the model or answer. A GPU costs money as long as it is held.",
        panels.NUMBER,
        query(promql.rate(GPU_SECONDS, FLEET)),
    )
    waiting = panels.figure(
        "How long is the wait?",
        "Time since the creation of the oldest run that is still Pending or Queued. Orange from 15 minutes, red from "
        "one hour: check whether the queue's quota is used up and whether the operator is down.",
        units.Seconds,
        now(f"max({_WAIT})"),
    )
    cost = panels.figure(
        "What did runs cost?",
        "GPU-hours held in the time shown, times the price of a GPU-hour, which you enter at the top.",
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
        waiting.no_value("none").thresholds(panels.steps(GOOD, (900, WARNING), (3600, BAD))),
        cost.thresholds(panels.steps(NEUTRAL)).decimals(2).no_value("nothing"),
        failed.decimals(0).no_value("none").thresholds(panels.steps(GOOD, (0.5, WARNING))),
    ]


def _phases() -> Panels:
    by_phase = f"sum by(phase)({promql.gauge('evalrun_runs', FLEET, 'run_namespace', 'phase')})"
    counted = panels.ranking(
        "In which phases are the runs?",
        "All existing runs by phase, including finished ones. Failed: the run could not be completed. Invalid: the "
        "user's input is wrong.",
        panels.NUMBER,
        now(f"{by_phase} > 0", "{{phase}}"),
    ).no_value("no runs")
    unfinished = f"{FLEET},phase!~`{FINISHED}`"
    over_time = panels.stacked_counts(
        "How many runs were in each phase?",
        "Unfinished runs over time. If the yellow area grows, the queue grows. If the blue area stays large, GPUs "
        "load models instead of answering.",
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
        "One row for each unfinished run; a name links to the run's dashboard. Time left is an estimate, absent "
        "until items are answered. Fewer replicas ready than desired: there is no capacity, or they load the model. "
        "An attempt above 1: the driver failed and was started again; nothing that is committed is lost.",
        NAMESPACE,
        Label("Run", "run", run_link(), "Open the dashboard of this run"),
        Label("Phase", "phase", colors=panels.PHASE_COLORS, width=100),
        Label("Model", "model"),
        Facts(_UNFINISHED),
        Facts(only(promql.gauge("evalrun_run_info", FLEET, *RUN_LABELS, "model"), _UNFINISHED)),
        Value("Done", only(promql.progress(FLEET), _UNFINISHED), units.PercentUnit, cell=GAUGE, width=150),
        Value("Items/s", only(answered, _UNFINISHED), decimals=1),
        Value("Time left", only(promql.per_run("evalrun_eta_seconds", FLEET), _UNFINISHED), units.Seconds, width=100),
        Value("Ready", only(ready, _UNFINISHED)),
        Value("Desired", only(desired, _UNFINISHED)),
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
        "When was each run in which phase?",
        "The phases of each run while it was unfinished. Yellow: it waits for admission. Blue: it starts and loads "
        "the model. Green: it answers items.",
        query(promql.phase_number("evalrun_run_phase", FLEET, finished=False), BY_RUN),
    )
    return history.mappings([panels.phases()]).per_page(20).height(8).data_links([run_link_of_series()])


def _queue() -> Panels:
    waiting = promql.gauge("evalrun_runs", f"{FLEET},phase=~`{WAITING}`", "run_namespace", "phase")
    over_time = panels.stacked_counts(
        "How many runs are waiting?",
        "Pending: the operator has not acted on them. If this lasts longer than a moment, the operator is down. "
        "Queued: they wait for Kueue to admit them.",
        query(f"sum by(phase)({waiting})", "{{phase}}"),
    )
    return [
        panels.shaded(over_time, panels.PHASE_COLORS),
        panels.ranking(
            "Which runs have waited longest?",
            f"The {TOP} oldest waiting runs, by the time since their creation.",
            units.Seconds,
            now(f"topk({TOP},{_WAIT})", BY_RUN),
        )
        .no_value("none")
        .thresholds(panels.steps(GOOD, (900, WARNING), (3600, BAD)))
        .data_links([run_link_of_series()]),
    ]
