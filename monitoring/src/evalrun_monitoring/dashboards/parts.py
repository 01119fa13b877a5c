"""Parts that several dashboards share: the same queries, for one run or for all of them."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql
from evalrun_monitoring.panels import Target, query

_TOKENS = {
    "generated": "evalrun_generated_tokens_total",
    "prompt": "evalrun_prompt_tokens_total",
    "by engines": "evalrun_engine_tokens_total",
}
_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def token_rates(where: str) -> list[Target]:
    """Query the tokens per second: generated, prompt, and both as the engines count them."""
    return [query(promql.rate(metric, where), legend) for legend, metric in _TOKENS.items()]


def quantiles(histogram: str, where: str) -> list[Target]:
    """Query the median, the 90th and the 99th percentile of a duration."""
    return [query(promql.quantile(q, histogram, where), legend) for legend, q in _QUANTILES.items()]


def departures(text: str, where: str) -> timeseries.Panel:
    """Show why replicas left while there was work, by cause."""
    left = panels.bars(
        "Why did replicas leave?",
        text,
        query(promql.events("evalrun_replica_departures_total", where, "cause"), "{{cause}}"),
    )
    return panels.shaded(left, panels.DEPARTURE_COLORS)


def gpus_by_state(title: str, text: str, where: str) -> timeseries.Panel:
    """Show the held GPUs, by what their replicas do."""
    held = promql.rate("evalrun_gpu_seconds_total", where, "state")
    return panels.shaded(
        panels.stacked(title, text, panels.NUMBER, query(held, "{{state}}")),
        panels.REPLICA_COLORS,
    )


def hourly_cost(title: str, text: str, where: str) -> timeseries.Panel:
    """Show the money per hour that the held GPUs cost."""
    held = promql.rate("evalrun_gpu_seconds_total", where)
    return panels.lines(title, text, units.Dollars, query(f"{held} * $gpu_hour_price", "per hour"))
