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
            f"Items per second of the {TOP} fastest runs. If a line falls to 0 before its run ends, the run's own "
            "dashboard shows why.",
            panels.ITEMS_PER_SECOND,
            query(f"topk({TOP},{promql.rate('evalrun_items_committed_total', FLEET, *RUN_LABELS)})", BY_RUN),
        ).data_links([run_link_of_series()]),
        panels.lines(
            "How many tokens are processed?",
            "Tokens per second of all runs. Prompt and generated: of committed items. By engines: both together, "
            "committed or not. It is less than the prompts where one call answers all choices of a question. If it "
            "stays far above the other two, work is lost.",
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
            "Are all requested GPUs held?",
            "Requested: by unfinished runs, whether they were admitted or wait, except suspended ones. Held: by "
            "replicas. The difference is what the cluster does not provide.",
            panels.NUMBER,
            query(f"sum({gpus} unless on({','.join(RUN_LABELS)}) {suspended})", "requested"),
            query(promql.rate(GPU_SECONDS, FLEET), "held"),
        ).fill_opacity(0),
        parts.gpus_by_state(
            "Do the GPUs answer or load models?",
            "GPUs held, by what their replicas do. Ready: they can answer. Loading: they fetch and load weights, "
            "which costs money but answers nothing.",
            FLEET,
        ),
        parts.hourly_cost(
            "What does an hour cost?",
            "GPUs held, times the price of a GPU-hour: the cost per hour at this rate.",
            FLEET,
        ).span(20),
        panels.figure(
            "How many GPU-hours?",
            "GPU-hours that the replicas of all runs held in the time shown.",
            panels.GPU_HOURS,
            now(promql.gpu_hours(FLEET)),
        )
        .span(4)
        .height(8)
        .decimals(2)
        .no_value("none")
        .thresholds(panels.steps(NEUTRAL)),
        panels.ranking(
            "Which runs held the most GPU-hours?",
            f"The {TOP} runs that held the most in the time shown.",
            panels.GPU_HOURS,
            now(f"topk({TOP},{hours})", BY_RUN),
        )
        .decimals(2)
        .data_links([run_link_of_series()]),
        panels.ranking(
            "Which runs cost the most?",
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
        "Failed: the engine refused them, or they are too long. Quarantined: they killed an engine twice, the second "
        "time alone. Both count against the run's policy.maxFailedItems.",
        query(promql.events("evalrun_items_committed_total", LOST, "status"), "{{status}}"),
    )
    left = parts.departures(
        "Replicas that departed while there was work. If a replica crashed or hung, the items that it held are "
        "suspect; if it was lost or drained, they are not.",
        FLEET,
    )
    badly = promql.gauge("evalrun_runs", f'{FLEET},phase=~"Failed|Invalid"', "run_namespace", "phase")
    ended_badly = panels.counts(
        "How many runs are Failed or Invalid?",
        "Existing runs in these phases. Failed: the run could not be completed. Invalid: the user's input is wrong.",
        query(f"sum by(phase)({badly})", "{{phase}}"),
    )
    lost = f"sum by(run_namespace,run)({promql.gauge('evalrun_items', LOST, *RUN_LABELS, 'status')}) > 0"
    return [
        panels.shaded(failed, panels.ITEM_COLORS),
        panels.ranking(
            "Which runs have failed items?",
            "Failed and quarantined items of runs that have a driver. Those of finished runs are in the table below.",
            panels.NUMBER,
            now(f"topk({TOP},{lost})", BY_RUN),
        )
        .no_value("none")
        .thresholds(panels.steps(WARNING))
        .data_links([run_link_of_series()]),
        panels.counts(
            "Does the store delay runs?",
            "Runs whose writes wait: the store is unavailable or full, or denies what it allowed before. They "
            "continue when the store answers.",
            query(promql.total("evalrun_store_degraded", FLEET), "waiting runs"),
        )
        .override_by_name("waiting runs", [panels.fixed_color(WARNING)])
        .span(8),
        left.span(8),
        panels.shaded(ended_badly, panels.PHASE_COLORS).span(8),
    ]
