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
        "Does it have all its replicas?",
        "Replicas that load the model and that are ready, and how many the run asks for. Fewer than desired for "
        "long: there is no capacity, or they crash as they start.",
        query(promql.gauge("evalrun_replicas", RUN, "state"), "{{state}}"),
        query(promql.gauge("evalrun_replicas_wanted", RUN), "desired"),
    )
    return [
        panels.bound(panels.shaded(there, panels.REPLICA_COLORS), "desired"),
        parts.departures(
            "Replicas that departed while there was work: crashed, hung (killed because they made no progress), lost "
            "(their node is gone or was preempted), drained (asked to leave).",
            RUN,
        ),
        _each_replica(),
        panels.lines(
            "Are the engines busy?",
            "Requests that one engine is answering at this moment: the lowest, mean and highest number of all "
            "replicas. If the lowest is 0 before the tail, a replica is idle.",
            panels.NUMBER,
            *_spread("evalrun_replica_requests", f'{RUN},state="running"'),
        ).fill_opacity(0),
        panels.lines(
            "Do requests wait in the engines?",
            "Requests that wait in one engine for room in its batch. Some are good, because they keep the batch "
            "full. If there are many while the cache below is full, a smaller batch would do.",
            panels.NUMBER,
            *_spread("evalrun_replica_requests", f'{RUN},state="waiting"'),
        ).fill_opacity(0),
        panels.lines(
            "How full are the KV caches?",
            "Share of each engine's KV cache that is used. At 100% the engine preempts requests and computes them "
            "again.",
            units.PercentUnit,
            *_spread("evalrun_replica_kv_cache_usage_ratio", RUN),
        )
        .max(1)
        .fill_opacity(0)
        .span(8),
        panels.lines(
            "What share of prompt tokens is cached?",
            "Share of the prompt tokens that are found in the prefix cache and need not be computed, because an "
            "earlier prompt began alike: few-shot examples, system prompts, the choices of a question.",
            units.PercentUnit,
            query(
                f"{promql.rate('evalrun_prefix_cache_hit_tokens_total', RUN)} / "
                f"({promql.rate('evalrun_prefix_cache_queried_tokens_total', RUN)} > 0)",
                "cached",
            ),
        )
        .max(1)
        .span(8),
        panels.bars(
            "Do engines preempt requests?",
            "Requests that were preempted because the KV cache was full, to be computed again. If there are many, "
            "lower max_num_seqs or give the cache more memory.",
            query(promql.events("evalrun_engine_preemptions_total", RUN), "preempted"),
        )
        .override_by_name("preempted", [panels.fixed_color(WARNING)])
        .span(8),
    ]


def _spread(metric: str, where: str) -> list[panels.Target]:
    each = promql.gauge(metric, where, "replica")
    return [query(f"{agg}({each})", legend) for legend, agg in _SPREAD.items()]


def _each_replica() -> builders.Panel:
    def requests(state: str) -> str:
        return promql.gauge("evalrun_replica_requests", f'{RUN},state="{state}"', "replica")

    each = table(
        "How does each replica perform?",
        "One row for each slot; a replica that replaces another takes its slot. Its name is that in logs and parts, "
        "its host is its pod. If one is far slower than the others, check its node.",
        Label("Slot", "replica", width=70),
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
    return sorted_by(each, "Slot")


def requests() -> Panels:
    """Build the panels of the durations of requests and commits."""
    return [
        panels.lines(
            "How long does a request take?",
            "From its entry into an engine, where it may wait, to its answer: median, 90th and 99th percentile.",
            units.Seconds,
            *parts.quantiles("evalrun_request_seconds", RUN),
        )
        .fill_opacity(0)
        .span(8),
        panels.density(
            "How are request times distributed?",
            "The darker a cell, the more requests took this long. Two dark bands: two kinds of requests, such as "
            "choices and generated answers.",
            units.Seconds,
            promql.growth("evalrun_request_seconds_bucket", RUN, "le", over=_STEP),
        ).span(8),
        panels.lines(
            "How long do commits take?",
            "From the end of a chunk's last item to its part in the store: scoring and writing. What is not "
            "committed is answered again if the replica dies.",
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
        "Chunks by state. Suspect: they were in an engine that died, and wait to be run alone. In the tail no chunk "
        "waits, and replicas run out of work.",
        query(promql.gauge("evalrun_chunks", RUN, "state"), "{{state}}"),
    )
    twice = panels.bars(
        "How much work is done twice?",
        "Hedged: a late chunk is given to a second replica, so that the run ends sooner. Duplicate: chunks that were "
        "committed before, so that this work was wasted. Many duplicates compared with commits: the store or a "
        "replica is slow.",
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
        "Do failed items stay within the limit?",
        "Failed and quarantined items, and how many policy.maxFailedItems allows. Above the line the run fails; what "
        "is committed stays.",
        query(promql.gauge("evalrun_items", f'{RUN},status=~"failed|quarantined"', "status"), "{{status}}"),
        query(promql.gauge("evalrun_items_failed_allowed", RUN), "allowed"),
    )
    cut = panels.stacked_counts(
        "How did answers end?",
        "Items with a score whose answer was cut by its length or never left its thinking (truncated), was refused, "
        "filtered, or is empty. Scores do not depend on it. Many truncated answers: raise max_gen_toks, or give the "
        "thinking a budget.",
        query(promql.gauge("evalrun_answers", f'{RUN},answer!="complete"', "answer"), "{{answer}}"),
    )
    dropped = promql.gauge("evalrun_series_dropped", RUN, "of")
    return [
        panels.bound(panels.shaded(lost, panels.ITEM_COLORS), "allowed").span(7),
        panels.shaded(cut, {"truncated": WARNING, "refused": NEUTRAL, "filtered": NEUTRAL, "empty": NEUTRAL}).span(5),
        panels.bars(
            "How many items are redone?",
            "Items answered again because their first answers were lost before they were committed: a replica died, "
            "or its lease ended.",
            query(promql.events("evalrun_items_redone_total", RUN), "redone"),
        )
        .override_by_name("redone", [panels.fixed_color(WARNING)])
        .span(6),
        panels.ranking(
            "Which series are not exported?",
            "Series that the driver does not export because there are too many scores or replicas. Results are "
            "complete.",
            panels.NUMBER,
            panels.now(dropped, "{{of}}"),
        )
        .span(6)
        .thresholds(panels.steps(GOOD, (1, WARNING))),
    ]


def store() -> Panels:
    """Build the panels of the store: its calls, and whether the run waits for it."""
    degraded = panels.timeline(
        "Does the run wait for the store?",
        "Degraded: writes wait because the store is unavailable or full, or denies what it allowed before. Nothing "
        "is lost; the run continues when the store answers.",
        query(promql.gauge("evalrun_store_degraded", RUN), "store"),
    )
    return [
        degraded.mappings([panels.words(("healthy", GOOD), ("degraded", BAD))]).height(4),
        panels.stacked(
            "Which calls does the store answer?",
            "Answered calls per second, by operation.",
            units.RequestsPerSecond,
            query(promql.rate("evalrun_store_requests_total", RUN, "operation"), "{{operation}}"),
        ).span(8),
        panels.bars(
            "Why are store calls retried?",
            "Calls that failed and were retried, by the driver or the replicas: the store was unavailable or full, "
            "or denied what it allowed before.",
            query(promql.events("evalrun_store_retries_total", RUN, "side", "reason"), "{{side}} {{reason}}"),
        ).span(8),
        panels.lines(
            "How long do calls wait for the store?",
            "Seconds per second that calls waited before they were retried, summed over all waiting calls.",
            units.Seconds,
            query(promql.rate("evalrun_store_wait_seconds_total", RUN, "side"), "{{side}}"),
        ).span(8),
    ]


def money() -> Panels:
    """Build the panels of held GPUs and replicas, and of their cost."""
    gpus = parts.gpus_by_state(
        "Do its GPUs answer or load the model?",
        "GPUs held, by what their replicas do. Loading costs money but answers nothing: fewer restarts, or a cache "
        "for the model, reduce it.",
        RUN,
    )
    there = panels.stacked(
        "How many replicas load or answer?",
        "Present replicas, by what they do; also for runs without GPUs.",
        panels.NUMBER,
        query(promql.rate("evalrun_replica_seconds_total", RUN, "state"), "{{state}}"),
    )
    return [
        gpus.span(8),
        parts.hourly_cost(
            "What does an hour cost?",
            "GPUs held, times the price of a GPU-hour: the cost per hour at this rate. The total cost is at the top.",
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
            "Resident memory of the process. Near its pod's limit it is killed, and the run continues with the next "
            "attempt.",
            units.BytesIEC,
            query(its("process_resident_memory_bytes"), "{{instance}}"),
        ),
        panels.lines(
            "How much CPU does the driver use?",
            "Cores. Near one core for long: the driver hands out work more slowly than replicas could take it.",
            panels.NUMBER,
            query(its("rate(process_cpu_seconds_total[$__rate_interval])"), "{{instance}}"),
        ),
    ]
