"""Rows of the dashboard of one run: replicas, requests, tail, errors, store, cost, driver."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql
from evalrun_monitoring.dashboards import parts
from evalrun_monitoring.page import Panels
from evalrun_monitoring.panels import BAD, GOOD, IDLE, NEUTRAL, WARNING, query
from evalrun_monitoring.promql import RUN
from evalrun_monitoring.tables import GAUGE, Facts, Label, Value, sorted_by, table

_STEP = "$__rate_interval"
_SPREAD = {"lowest": "min", "mean": "avg", "highest": "max"}
"""Lines that summarize all replicas, whether two or a thousand."""


def replicas() -> Panels:
    """Build the panels of the replicas and of their engines."""
    there = panels.stacked_counts(
        "Are all replicas there?",
        "Replicas that load the model and that are ready, and how many the run asks for. Fewer than wanted for long: "
        "no capacity, or they crash as they start.",
        query(promql.gauge("evalrun_replicas", RUN, "state"), "{{state}}"),
        query(promql.gauge("evalrun_replicas_wanted", RUN), "wanted"),
    )
    return [
        panels.bound(panels.shaded(there, panels.REPLICA_COLORS), "wanted"),
        parts.departures(
            "Replicas that left while there was work: crashed, hung (killed as they made no progress), lost (their "
            "node is gone or was preempted), drained (asked to leave).",
            RUN,
        ),
        _each_replica(),
        panels.lines(
            "Are the engines busy?",
            "Requests that are answered at this moment in one engine: the least, the mean and the most of all "
            "replicas. A lowest of 0 before the tail: a replica idles.",
            panels.NUMBER,
            *_spread("evalrun_replica_requests", f'{RUN},state="running"'),
        ).fill_opacity(0),
        panels.lines(
            "Do requests wait in the engines?",
            "Requests that wait in one engine for room in its batch. Some are right, they keep it full; many while the "
            "cache below is full: a smaller batch would do.",
            panels.NUMBER,
            *_spread("evalrun_replica_requests", f'{RUN},state="waiting"'),
        ).fill_opacity(0),
        panels.lines(
            "How full are the KV caches?",
            "Part of each engine's KV cache that is used. At 100% it sets requests aside and computes them again.",
            units.PercentUnit,
            *_spread("evalrun_replica_kv_cache_usage_ratio", RUN),
        )
        .max(1)
        .fill_opacity(0)
        .span(8),
        panels.lines(
            "How much of the prompts is in the prefix cache?",
            "Part of the prompt tokens that need not be computed, as an earlier prompt began alike: few-shot examples, "
            "system prompts, the choices of a question.",
            units.PercentUnit,
            query(
                f"{promql.rate('evalrun_prefix_cache_hit_tokens_total', RUN)} / "
                f"({promql.rate('evalrun_prefix_cache_queried_tokens_total', RUN)} > 0)",
                "found",
            ),
        )
        .max(1)
        .span(8),
        panels.bars(
            "Do engines set requests aside?",
            "Requests that were set aside as the KV cache was full, to be computed again. Many: lower max_num_seqs, or "
            "give the cache more memory.",
            query(promql.events("evalrun_engine_preemptions_total", RUN), "set aside"),
        )
        .override_by_name("set aside", [panels.fixed_color(WARNING)])
        .span(8),
    ]


def _spread(metric: str, where: str) -> list[panels.Target]:
    each = promql.gauge(metric, where, "replica")
    return [query(f"{agg}({each})", legend) for legend, agg in _SPREAD.items()]


def _each_replica() -> builders.Panel:
    def requests(state: str) -> str:
        return promql.gauge("evalrun_replica_requests", f'{RUN},state="{state}"', "replica")

    each = table(
        "How does each replica do?",
        "A row for each place; a replica that replaces another takes its place. Its name is that in logs and parts, "
        "its host is its pod. One that is far slower than the others: look at its node.",
        Label("Place", "replica", width=70),
        Label("Name", "name"),
        Label("Host", "host"),
        Facts(promql.gauge("evalrun_replica_info", RUN, "replica", "name", "host")),
        Value("Running", requests("running")),
        Value("Waiting", requests("waiting")),
        Value(
            "KV cache",
            promql.gauge("evalrun_replica_kv_cache_usage_ratio", RUN, "replica"),
            units.PercentUnit,
            decimals=0,
            cell=GAUGE,
            width=150,
        ),
        Value("Leased items", promql.gauge("evalrun_replica_leased_items", RUN, "replica"), width=110),
        Value("Items/s", promql.rate("evalrun_replica_items_total", RUN, "replica"), decimals=1),
        Value("Tokens/s", promql.rate("evalrun_replica_engine_tokens_total", RUN, "replica"), decimals=0),
    )
    return sorted_by(each, "Place")


def requests() -> Panels:
    """Build the panels of the durations of requests and commits."""
    return [
        panels.lines(
            "How long does a request take?",
            "From its entry into an engine, where it may wait, to its answer: half, nine of ten and 99 of 100 took no "
            "longer.",
            units.Seconds,
            *parts.quantiles("evalrun_request_seconds", RUN),
        )
        .fill_opacity(0)
        .span(8),
        panels.density(
            "How are these times spread?",
            "The darker a cell, the more requests took this long. Two dark bands: two kinds of requests, such as "
            "choices and generated answers.",
            units.Seconds,
            promql.growth("evalrun_request_seconds_bucket", RUN, "le", over=_STEP),
        ).span(8),
        panels.lines(
            "How long until answers are safe?",
            "From the end of a chunk's last item to its part in the store: scoring and writing. What is not there yet "
            "is answered again if its replica dies.",
            units.Seconds,
            *parts.quantiles("evalrun_commit_seconds", RUN),
        )
        .fill_opacity(0)
        .span(8),
    ]


def tail() -> Panels:
    """Build the panels of chunks: what remains, and what is done twice so that the run ends sooner."""
    states = {"committed": GOOD, "leased": NEUTRAL, "suspect": WARNING, "waiting": IDLE}
    chunks = panels.stacked_counts(
        "How many chunks are left?",
        "Chunks by state. Suspect: they were in an engine that died, and wait to be run alone. In the tail none waits, "
        "and replicas run out of work.",
        query(promql.gauge("evalrun_chunks", RUN, "state"), "{{state}}"),
    )
    twice = panels.bars(
        "How much is done twice?",
        "Hedged: a late chunk is given to a second replica, so that the run ends sooner. Duplicate: chunks committed "
        "again, their work was for nothing. Many duplicates against few commits: the store or a replica is slow.",
        query(promql.events("evalrun_chunks_committed_total", RUN), "committed"),
        query(promql.events("evalrun_chunks_hedged_total", RUN), "hedged"),
        query(promql.events("evalrun_chunks_duplicate_total", RUN), "duplicate"),
    )
    return [
        panels.shaded(chunks, states),
        panels.shaded(twice, {"committed": GOOD, "hedged": NEUTRAL, "duplicate": WARNING}),
    ]


def errors() -> Panels:
    """Build the panels of failed items, against their limit, and of lost work."""
    lost = panels.stacked_counts(
        "How many items may still fail?",
        "Failed and quarantined items, and how many policy.maxFailedItems allows. Above the line the run fails; what "
        "is committed stays.",
        query(promql.gauge("evalrun_items", f'{RUN},status=~"failed|quarantined"', "status"), "{{status}}"),
        query(promql.gauge("evalrun_items_failed_allowed", RUN), "allowed"),
    )
    dropped = promql.gauge("evalrun_series_dropped", RUN, "of")
    return [
        panels.bound(panels.shaded(lost, panels.ITEM_COLORS), "allowed").span(8),
        panels.bars(
            "How much is answered again?",
            "Items answered again because their first answers were lost before they were kept: a replica died, or its "
            "lease ended.",
            query(promql.events("evalrun_items_redone_total", RUN), "redone"),
        )
        .override_by_name("redone", [panels.fixed_color(WARNING)])
        .span(8),
        panels.ranking(
            "What is not shown?",
            "Series that the driver does not export, as there are too many scores or replicas. Results are complete "
            "all the same.",
            panels.NUMBER,
            panels.now(dropped, "{{of}}"),
        )
        .span(8)
        .thresholds(panels.steps(GOOD, (1, WARNING))),
    ]


def store() -> Panels:
    """Build the panels of the store: its calls, and whether the run waits for it."""
    degraded = panels.timeline(
        "Does the run wait for the store?",
        "Degraded: writes wait, as the store is away, full, or denies what it allowed before. Nothing is lost; the "
        "run goes on when it answers.",
        query(promql.gauge("evalrun_store_degraded", RUN), "store"),
    )
    return [
        degraded.mappings([panels.words(("well", GOOD), ("degraded", BAD))]).height(4),
        panels.stacked(
            "What is asked of the store?",
            "Calls per second that were answered, by operation.",
            units.RequestsPerSecond,
            query(promql.rate("evalrun_store_requests_total", RUN, "operation"), "{{operation}}"),
        ).span(8),
        panels.bars(
            "Why are calls made again?",
            "Calls that failed and were made again: the store was unavailable, full, or denied what it allowed before; "
            "by the driver or the replicas.",
            query(promql.events("evalrun_store_retries_total", RUN, "side", "reason"), "{{side}} {{reason}}"),
        ).span(8),
        panels.lines(
            "How long is waited for the store?",
            "Seconds in each second that calls waited before they were made again, summed up over all that wait.",
            units.Seconds,
            query(promql.rate("evalrun_store_wait_seconds_total", RUN, "side"), "{{side}}"),
        ).span(8),
    ]


def money() -> Panels:
    """Build the panels of held GPUs and replicas, and of their cost."""
    gpus = parts.gpus_by_state(
        "Do its GPUs answer, or load the model?",
        "GPUs held, by what their replicas do. Loading is paid for but answers nothing: fewer restarts, or a cache for "
        "the model, save it.",
        RUN,
    )
    there = panels.stacked(
        "How many replicas are paid for?",
        "Replicas that are there, by what they do; for runs without GPUs too.",
        panels.NUMBER,
        query(promql.rate("evalrun_replica_seconds_total", RUN, "state"), "{{state}}"),
    )
    return [
        gpus.span(8),
        parts.hourly_cost(
            "What does an hour of it cost?",
            "GPUs held, times the price of a GPU-hour: money per hour at this rate. What it cost in all is on top.",
            RUN,
        ).span(8),
        panels.shaded(there, panels.REPLICA_COLORS).span(8),
    ]


def driver() -> Panels:
    """Build the panels of the resources that the driver's process uses."""

    def its(metric: str) -> str:
        # The scraped address is always a label, however Prometheus discovered it; namespace and pod are not.
        return promql.only(metric, f"evalrun_driver_info{{{RUN}}}", "job", "instance")

    return [
        panels.lines(
            "How much memory does the driver use?",
            "Resident memory of the process. Near its pod's limit it is killed, and the run goes on with the next "
            "attempt.",
            units.BytesIEC,
            query(its("process_resident_memory_bytes"), "{{instance}}"),
        ),
        panels.lines(
            "How much CPU does the driver use?",
            "Cores. Near one core for long: it hands out work more slowly than replicas could take it.",
            panels.NUMBER,
            query(its("rate(process_cpu_seconds_total[$__rate_interval])"), "{{instance}}"),
        ),
    ]
