"""Metrics that the driver of a run exports while it lives. Counters start at zero with each driver process."""

from __future__ import annotations

from evalrun_api.metrics.metric import RUN, Metric, MetricType, Source

_REPLICA = (*RUN, "replica")


def _gauge(name: str, help: str, labels: tuple[str, ...] = RUN) -> Metric:
    return Metric(name, MetricType.GAUGE, help, labels, Source.DRIVER)


def _counter(name: str, help: str, labels: tuple[str, ...] = RUN) -> Metric:
    return Metric(name, MetricType.COUNTER, help, labels, Source.DRIVER)


DRIVER_INFO = _gauge(
    "evalrun_driver_info",
    "1: facts about the driver. `engine` is vllm, or mock where answers are made up for a test.",
    (*RUN, "model", "attempt", "engine", "numerics", "version"),
)
DRIVER_PHASE = _gauge("evalrun_driver_phase", "1 for the phase that the driver is in.", (*RUN, "phase"))

# Items
ITEMS_PLANNED = _gauge("evalrun_items_planned", "Items planned so far.")
PLANNING_DONE = _gauge("evalrun_planning_done", "1 if evalrun_items_planned is final.")
ITEMS = _gauge(
    "evalrun_items",
    "Planned items by state: ok, failed and quarantined are in the ledger, from any driver; leased are with "
    "replicas; waiting are unassigned; skipped are not evaluated, because the run stopped early. Their sum is "
    "evalrun_items_planned.",
    (*RUN, "status"),
)
ANSWERS = _gauge(
    "evalrun_answers",
    "Items with status ok by how their answers ended: complete, truncated (cut by its length, or never out of its "
    "thinking), refused, filtered or empty. It changes no score.",
    (*RUN, "answer"),
)
ITEMS_ALLOWED = _gauge(
    "evalrun_items_failed_allowed", "policy.maxFailedItems: failed and quarantined items that the run may have."
)
ITEMS_KEPT = _gauge("evalrun_items_kept", "Items that were in the ledger before this driver started.")
ITEMS_REDONE = _counter(
    "evalrun_items_redone_total",
    "Items answered again because their first answers were lost before they were committed.",
)
ITEMS_COMMITTED = _counter(
    "evalrun_items_committed_total", "Items that this driver's replicas committed to the ledger.", (*RUN, "status")
)
ETA = _gauge("evalrun_eta_seconds", "Seconds left until the last item is answered; absent while it is unknown.")

# Chunks
CHUNKS = _gauge(
    "evalrun_chunks",
    "Chunks by state: waiting, leased, suspect (waiting to be run alone, as they were in an engine that died), "
    "committed, skipped.",
    (*RUN, "state"),
)
CHUNKS_COMMITTED = _counter("evalrun_chunks_committed_total", "Chunks that this driver's replicas committed first.")
CHUNKS_HEDGED = _counter("evalrun_chunks_hedged_total", "Copies of chunks leased to a second replica, in the tail.")
CHUNKS_DUPLICATE = _counter(
    "evalrun_chunks_duplicate_total",
    "Chunks committed again: hedged copies and late answers. Their work was wasted.",
)

# Tokens and times
PROMPT_TOKENS = _counter("evalrun_prompt_tokens_total", "Prompt tokens of the items that replicas committed.")
GENERATED_TOKENS = _counter("evalrun_generated_tokens_total", "Generated tokens of the items that replicas committed.")
ENGINE_TOKENS = _counter(
    "evalrun_engine_tokens_total", "Prompt and generated tokens that the engines processed, committed or not."
)
REQUEST_SECONDS = Metric(
    "evalrun_request_seconds",
    MetricType.HISTOGRAM,
    "Seconds from a request's entry into an engine, where it may queue, to its answer.",
    RUN,
    Source.DRIVER,
    (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
COMMIT_SECONDS = Metric(
    "evalrun_commit_seconds",
    MetricType.HISTOGRAM,
    "Seconds from the end of a chunk's last item to its part in the store: scoring and writing.",
    RUN,
    Source.DRIVER,
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)

# Replicas
REPLICAS = _gauge("evalrun_replicas", "Replicas by state: loading the model, or ready.", (*RUN, "state"))
REPLICAS_WANTED = _gauge("evalrun_replicas_wanted", "Replicas that the run asks for.")
DEPARTURES = _counter(
    "evalrun_replica_departures_total",
    "Replicas that left while there was work. `cause` is crashed, hung (it was killed), lost (with its node) or "
    "drained.",
    (*RUN, "cause"),
)
REPLICA_SECONDS = _counter(
    "evalrun_replica_seconds_total", "Seconds that replicas existed, summed over replicas.", (*RUN, "state")
)
GPU_SECONDS = _counter(
    "evalrun_gpu_seconds_total",
    "Seconds that replicas held GPUs, summed over the GPUs: the cost of a run. Without GPUs it stays 0.",
    (*RUN, "state"),
)

# Each replica. `replica` is a slot, 0, 1, …, that a replacement takes over: as many as ever existed at once.
REPLICA_INFO = _gauge(
    "evalrun_replica_info",
    "1: the replica in this slot: its name in logs and parts, and its host, which is the beginning of its pod's name.",
    (*_REPLICA, "name", "host"),
)
REPLICA_REQUESTS = _gauge(
    "evalrun_replica_requests",
    "Requests in the replica's engine by state, running or waiting, as vLLM counts them.",
    (*_REPLICA, "state"),
)
REPLICA_CACHE = _gauge(
    "evalrun_replica_kv_cache_usage_ratio",
    "Used fraction of the KV cache of the replica's engine, 0 to 1, by vLLM's count.",
    _REPLICA,
)
REPLICA_LEASED = _gauge("evalrun_replica_leased_items", "Items leased to the replica.", _REPLICA)
REPLICA_ITEMS = _counter("evalrun_replica_items_total", "Items that this slot's replicas committed.", _REPLICA)
REPLICA_TOKENS = _counter(
    "evalrun_replica_engine_tokens_total", "Prompt and generated tokens that this slot's engines answered.", _REPLICA
)
PREFIX_QUERIED = _counter(
    "evalrun_prefix_cache_queried_tokens_total",
    "Prompt tokens looked up in the engines' prefix caches, by vLLM's count.",
)
PREFIX_HIT = _counter(
    "evalrun_prefix_cache_hit_tokens_total", "Prompt tokens found in the engines' prefix caches, by vLLM's count."
)
PREEMPTIONS = _counter(
    "evalrun_engine_preemptions_total",
    "Requests that engines preempted because their KV cache was full, by vLLM's count.",
)

# The store. `side` is driver or replica.
STORE_REQUESTS = _counter(
    "evalrun_store_requests_total", "Calls to the store that were answered, by operation.", (*RUN, "side", "operation")
)
STORE_RETRIES = _counter(
    "evalrun_store_retries_total",
    "Calls to the store that failed and were retried: it was unavailable, full, or denied what it allowed before.",
    (*RUN, "side", "reason"),
)
STORE_WAIT = _counter(
    "evalrun_store_wait_seconds_total", "Seconds that calls waited before they were retried.", (*RUN, "side")
)
STORE_DEGRADED = _gauge(
    "evalrun_store_degraded",
    "1 while writes to the store wait: it is unavailable, full, or denies what it allowed before.",
)

SERIES_DROPPED = _gauge(
    "evalrun_series_dropped",
    "Scores and replicas without their own series, because there are too many: `of` is scores or replicas.",
    (*RUN, "of"),
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
