"""Metrics that the operator exports: about runs, with or without a driver, and about itself."""

from __future__ import annotations

from evalrun_api.metrics.metric import RUN, Metric, MetricType, Source


def _gauge(name: str, help: str, labels: tuple[str, ...] = RUN) -> Metric:
    return Metric(name, MetricType.GAUGE, help, labels, Source.OPERATOR)


def _counter(name: str, help: str, labels: tuple[str, ...]) -> Metric:
    return Metric(name, MetricType.COUNTER, help, labels, Source.OPERATOR)


def _histogram(name: str, help: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Metric:
    return Metric(name, MetricType.HISTOGRAM, help, labels, Source.OPERATOR, buckets)


# Runs, all of them
RUNS = _gauge("evalrun_runs", "All existing runs by phase.", ("run_namespace", "phase"))
PHASE_SECONDS = _histogram(
    "evalrun_phase_seconds",
    "Seconds that a run spent in a phase that ended. Phases that began before the operator started are not counted.",
    ("phase",),
    (1, 5, 15, 30, 60, 120, 300, 900, 1800, 3600, 10800, 43200),
)
CONDITION_TRANSITIONS = _counter(
    "evalrun_condition_transitions_total",
    "Conditions of runs that changed their status; a missing one counts as Unknown.",
    ("condition", "status", "reason"),
)

# Each run: all unfinished ones, and the newest of the finished ones
RUN_INFO = _gauge(
    "evalrun_run_info",
    "1: facts about the run. `engine` is vllm, mock or recorded, or unknown where the spec is invalid.",
    (*RUN, "model", "engine"),
)
RUN_PHASE = _gauge("evalrun_run_phase", "1 for the phase that the run is in.", (*RUN, "phase"))
RUN_CREATED = _gauge("evalrun_run_created_timestamp_seconds", "When the EvalRun was created, Unix time.")
RUN_STARTED = _gauge("evalrun_run_started_timestamp_seconds", "When its first attempt started, Unix time.")
RUN_FINISHED = _gauge("evalrun_run_finished_timestamp_seconds", "When it reached its end, Unix time.")
RUN_ATTEMPT = _gauge("evalrun_run_attempt", "The present or last attempt, counted from 1.")
RUN_REPLICAS = _gauge(
    "evalrun_run_replicas", "Replicas of an unfinished run: desired, and ready to answer.", (*RUN, "state")
)
RUN_GPUS = _gauge("evalrun_run_gpus", "GPUs that an unfinished run requests.")
RUN_ITEMS = _gauge(
    "evalrun_run_final_items", "Items of a finished run by outcome: ok, failed, quarantined, skipped.", (*RUN, "status")
)
RUNS_NOT_EXPORTED = _gauge(
    "evalrun_operator_runs_not_exported",
    "Finished runs without their own series, because there are too many (number) or they are too old (age).",
    ("why",),
)

# The operator
OPERATOR_INFO = _gauge("evalrun_operator_info", "1: facts about the operator.", ("version",))
LEADER = _gauge("evalrun_operator_leader", "1 for the operator that leads, 0 for those that stand by to take over.", ())
RECONCILE_SECONDS = _histogram(
    "evalrun_operator_reconcile_seconds",
    "Seconds of one reconcile of a run: reading, deciding, writing. `outcome` is ok, gone (run deleted) or failed.",
    ("outcome",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
RECONCILE_ERRORS = _counter(
    "evalrun_operator_reconcile_errors_total", "Failed reconciles, by type of error.", ("error",)
)
QUEUE_DEPTH = _gauge("evalrun_operator_queue_depth", "Runs that are due for a reconcile or being reconciled.", ())
QUEUE_WAIT = _histogram(
    "evalrun_operator_queue_wait_seconds",
    "Seconds from when a run was due to the start of its reconcile.",
    (),
    (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
)
QUEUE_STALLED = _gauge(
    "evalrun_operator_queue_stalled_seconds", "Seconds for which runs have been due and no reconcile has ended.", ()
)
API_REQUESTS = _counter(
    "evalrun_operator_api_requests_total",
    "Calls to the API server, except watches. `status` is the HTTP status, or `none` without an answer.",
    ("verb", "kind", "status"),
)
API_SECONDS = _histogram(
    "evalrun_operator_api_request_seconds",
    "Seconds of a call to the API server, except watches.",
    ("verb",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WATCH_AGE = _gauge(
    "evalrun_operator_watch_age_seconds",
    "Seconds since the watch of this kind last proved to deliver all changes.",
    ("kind",),
)
RESYNC_AGE = _gauge("evalrun_operator_resync_age_seconds", "Seconds since everything was last listed successfully.", ())
NAMESPACES_REFUSED = _gauge(
    "evalrun_operator_namespaces_refused",
    "Namespaces of watch.namespaces in which the API server refuses lists or watches, as when one is gone. Their runs "
    "are left alone meanwhile, all others are not; /readyz names them.",
    (),
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
