"""Rows of the dashboard of all runs: speed, GPUs and money, errors."""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from evalrun_api import Phase
from evalrun_monitoring import panels, promql
from evalrun_monitoring.dashboards import parts
from evalrun_monitoring.page import Panels, run_link_of_series
from evalrun_monitoring.panels import BY_RUN, NEUTRAL, TOP, WARNING, now, query
from evalrun_monitoring.promql import FLEET, RUN_LABELS

GPU_SECONDS = "evalrun_gpu_seconds_total"
LOST = f'{FLEET},status=~"failed|quarantined"'


def speed() -> Panels:
    """Build the panels of speed, in items and tokens."""
    return [
        panels.lines(
            "How fast are the runs?",
            f"Items per second of the {TOP} fastest runs. A line that falls to 0 before its run ends: see its own "
            "dashboard for why.",
            panels.ITEMS_PER_SECOND,
            query(f"topk({TOP},{promql.rate('evalrun_items_committed_total', FLEET, *RUN_LABELS)})", BY_RUN),
        ).data_links([run_link_of_series()]),
        panels.lines(
            "How many tokens are worked through?",
            "Tokens per second of all runs. Prompt and generated: of items that are committed. By engines: both "
            "together, committed or not; less than the prompts where one call answers all choices of a question, far "
            "above the other two for long where work is lost.",
            panels.TOKENS_PER_SECOND,
            *parts.token_rates(FLEET),
        ),
    ]


def money() -> Panels:
    """Build the panels of GPUs, requested and held, and of their cost."""
    hours = promql.gpu_hours(FLEET, *RUN_LABELS)
    gpus, suspended = promql.per_run("evalrun_run_gpus", FLEET), promql.in_phase(FLEET, Phase.SUSPENDED)
    return [
        panels.lines(
            "Are as many GPUs held as are asked for?",
            "Asked for: by unfinished runs, whether they were admitted or wait, suspended ones excepted. Held: by "
            "replicas. The gap is what the cluster does not give.",
            panels.NUMBER,
            query(f"sum({gpus} unless on({','.join(RUN_LABELS)}) {suspended})", "asked for"),
            query(promql.rate(GPU_SECONDS, FLEET), "held"),
        ).fill_opacity(0),
        parts.gpus_by_state(
            "Do the GPUs answer, or load models?",
            "GPUs held, by what their replicas do. Ready: they can answer. Loading: they fetch and load weights, "
            "which is paid for but answers nothing.",
            FLEET,
        ),
        parts.hourly_cost(
            "What does an hour cost?",
            "GPUs held, times the price of a GPU-hour: money per hour at this rate.",
            FLEET,
        ).span(20),
        panels.figure(
            "How many GPU-hours?",
            "GPU-hours that replicas held in the time shown, of all runs together.",
            panels.GPU_HOURS,
            now(promql.gpu_hours(FLEET)),
        )
        .span(4)
        .height(8)
        .decimals(2)
        .no_value("none")
        .thresholds(panels.steps(NEUTRAL)),
        panels.ranking(
            "Which runs held most GPU-hours?",
            f"The {TOP} runs that held most in the time shown.",
            panels.GPU_HOURS,
            now(f"topk({TOP},{hours})", BY_RUN),
        )
        .decimals(2)
        .data_links([run_link_of_series()]),
        panels.ranking(
            "Which runs cost most?",
            f"The {TOP} most expensive runs in the time shown.",
            units.Dollars,
            now(f"topk({TOP},{hours} * $gpu_hour_price)", BY_RUN),
        )
        .decimals(2)
        .data_links([run_link_of_series()]),
    ]


def trouble() -> Panels:
    """Build the panels of failures."""
    failed = panels.bars(
        "When did items fail?",
        "Failed: the engine refused them, or they are too long. Quarantined: they killed an engine twice. Both count "
        "against the run's policy.maxFailedItems.",
        query(promql.events("evalrun_items_committed_total", LOST, "status"), "{{status}}"),
    )
    left = parts.departures(
        "Replicas that left while there was work. Crashed and hung cast suspicion on the items that they held; lost "
        "and drained are nobody's fault.",
        FLEET,
    )
    badly = promql.gauge("evalrun_runs", f'{FLEET},phase=~"Failed|Invalid"', "run_namespace", "phase")
    ended_badly = panels.counts(
        "How many runs ended badly?",
        "Runs that there are in these phases. Failed: they could not reach their end. Invalid: what the user gave is "
        "wrong.",
        query(f"sum by(phase)({badly})", "{{phase}}"),
    )
    lost = f"sum by(run_namespace,run)({promql.gauge('evalrun_items', LOST, *RUN_LABELS, 'status')}) > 0"
    return [
        panels.shaded(failed, panels.ITEM_COLORS),
        panels.ranking(
            "Which runs have failed items?",
            "Failed and quarantined items of runs that have a driver; those of finished runs are in the table below.",
            panels.NUMBER,
            now(f"topk({TOP},{lost})", BY_RUN),
        )
        .no_value("none")
        .thresholds(panels.steps(WARNING))
        .data_links([run_link_of_series()]),
        panels.counts(
            "Does the store hold runs up?",
            "Runs whose writes wait: the store is away, full, or denies what it allowed before. They go on by "
            "themselves when it answers.",
            query(promql.total("evalrun_store_degraded", FLEET), "runs that wait"),
        )
        .override_by_name("runs that wait", [panels.fixed_color(WARNING)])
        .span(8),
        left.span(8),
        panels.shaded(ended_badly, panels.PHASE_COLORS).span(8),
    ]
