"""Dashboard of the operator: health, watches, queue, API calls, resource use."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql
from evalrun_monitoring.dashboards import parts
from evalrun_monitoring.page import OPERATOR as UID
from evalrun_monitoring.page import DashboardSpec, Panels, Row, several
from evalrun_monitoring.panels import BAD, GOOD, IDLE, NEUTRAL, WARNING, now, query
from evalrun_monitoring.tables import Label, Value, table

_WHERE = 'namespace=~"$operator"'
"""Selector by the scraped pod's namespace: each team may have its own operator."""
_TARGET = ("job", "instance")
"""Labels that identify a scraped pod, however Prometheus discovered it."""


def page() -> DashboardSpec:
    """Build the dashboard of the operator."""
    return DashboardSpec(
        UID,
        "EvalRun / Operator",
        "Whether the operator is alive, watches and keeps up, and what it does. Runs continue while it is down.",
        "now-6h",
        [several("operator", "Operator's namespace", "label_values(evalrun_operator_info, namespace)")],
        [
            Row("Is it well?", _figures()),
            Row("Watching", _watching()),
            Row("Keeping up", _keeping_up()),
            Row("Calls to the API server", _calls()),
            Row("Runs", _runs()),
            Row("What it uses", _resources()),
        ],
    )


def _itself(metric: str) -> str:
    """Restrict a metric that every process has to the operator, also just after it died."""
    return promql.only(metric, f"last_over_time(evalrun_operator_info{{{_WHERE}}}[1h])", *_TARGET)


def _figures() -> Panels:
    watch = promql.gauge("evalrun_operator_watch_age_seconds", _WHERE)
    return [
        panels.figure(
            "Is it alive?",
            "Operators that answer Prometheus: as many as the chart's operator.replicas. 0: none is there, or none can "
            "be reached. Runs go on, but none starts, and none that lost its driver goes on.",
            panels.NUMBER,
            now(f"sum({_itself('up')}) or vector(0)"),
        ).thresholds(panels.steps(BAD, (1, GOOD))),
        panels.figure(
            "Does one lead?",
            "Operators that hold the Lease and work: 1 is right. 0 for seconds while another one takes over; longer: "
            "none works.",
            panels.NUMBER,
            now(f"{promql.gauge('evalrun_operator_leader', _WHERE, agg='sum')} or vector(0)"),
        ).thresholds(panels.steps(BAD, (1, GOOD), (2, BAD))),
        panels.name(
            "Which version is it?",
            "The version of the operator that answers; two for moments of an upgrade.",
            now(promql.gauge("evalrun_operator_info", _WHERE, "version"), "{{version}}"),
        ).thresholds(panels.steps(NEUTRAL)),
        panels.figure(
            "How long is it up?",
            "Since its process began. Often a short time: look for why it restarts.",
            units.Seconds,
            now(f"time() - max({_itself('process_start_time_seconds')})"),
        ).thresholds(panels.steps(WARNING, (600, NEUTRAL))),
        panels.figure(
            "Does it watch?",
            "The longest time since it was shown that a watch delivers all that there is, which is tried each minute. "
            "Above two minutes it may be deaf; it then says that it is not healthy, and Kubernetes restarts it.",
            units.Seconds,
            now(watch),
        ).thresholds(panels.steps(GOOD, (120, WARNING), (300, BAD))),
        panels.figure(
            "Does its queue move?",
            "Time for which runs have been due and no reconcile has ended. 0 is right; minutes of it: it is stuck.",
            units.Seconds,
            now(promql.gauge("evalrun_operator_queue_stalled_seconds", _WHERE)),
        ).thresholds(panels.steps(GOOD, (60, WARNING), (300, BAD))),
    ]


def _watching() -> Panels:
    return [
        panels.lines(
            "How old is what it knows?",
            "Time since it was last shown that the watch of each kind delivers all that there is.",
            units.Seconds,
            query(promql.gauge("evalrun_operator_watch_age_seconds", _WHERE, "kind"), "{{kind}}"),
        )
        .fill_opacity(0)
        .span(8),
        panels.lines(
            "How long ago did it list everything?",
            "Time since everything was last listed successfully. A saw of a minute's teeth is right.",
            units.Seconds,
            query(promql.gauge("evalrun_operator_resync_age_seconds", _WHERE), "since the last listing"),
        ).span(8),
        panels.counts(
            "Which namespaces refuse it?",
            "Namespaces that it is to watch and that are gone, or in which it has no rights: their runs stand still, "
            "and no others. /readyz of the operator names them.",
            query(promql.gauge("evalrun_operator_namespaces_refused", _WHERE), "refused"),
        ).span(8),
    ]


def _keeping_up() -> Panels:
    reconcile, wait = "evalrun_operator_reconcile_seconds", "evalrun_operator_queue_wait_seconds"
    reconciles = panels.stacked(
        "How many reconciles are there, and how do they end?",
        "Reconciles of runs per second. gone: the run is deleted. failed: it is retried, later each time.",
        units.OpsPerSecond,
        query(promql.rate(f"{reconcile}_count", _WHERE, "outcome"), "{{outcome}}"),
    )
    return [
        panels.counts(
            "How many runs are due?",
            "Runs in its queue or being reconciled. It rises with many changes at once and falls again.",
            query(promql.gauge("evalrun_operator_queue_depth", _WHERE), "due"),
        ),
        panels.lines(
            "How long is a run due before it is reconciled?",
            "Of the reconciles in each time step: median, 90th and 99th percentile. Stuck: for how long no reconcile "
            "has ended, though runs are due.",
            units.Seconds,
            *parts.quantiles(wait, _WHERE),
            query(promql.gauge("evalrun_operator_queue_stalled_seconds", _WHERE), "stuck"),
        ).fill_opacity(0),
        panels.shaded(reconciles, {"ok": GOOD, "gone": IDLE, "failed": BAD}),
        panels.lines(
            "How long does a reconcile take?",
            "Reading, deciding, writing. It is mostly the API server's time, see below.",
            units.Seconds,
            *parts.quantiles(reconcile, _WHERE),
        ).fill_opacity(0),
        panels.density(
            "How are the times of reconciles spread?",
            "The darker a cell, the more reconciles took this long.",
            units.Seconds,
            promql.growth(f"{reconcile}_bucket", _WHERE, "le", over="$__rate_interval"),
        ),
        panels.bars(
            "Why do reconciles fail?",
            "Failed reconciles, by type of error. Conflicts and time-outs mend themselves; Forbidden does not: see the "
            "operator's roles.",
            query(promql.events("evalrun_operator_reconcile_errors_total", _WHERE, "error"), "{{error}}"),
        ),
    ]


def _calls() -> Panels:
    calls = "evalrun_operator_api_requests_total"
    return [
        panels.stacked(
            "What does it ask the API server?",
            "Calls per second by verb and kind, except watches.",
            units.RequestsPerSecond,
            query(promql.rate(calls, _WHERE, "verb", "kind"), "{{verb}} {{kind}}"),
        ),
        panels.bars(
            "Which calls are refused?",
            "Calls without a good answer. 404 and 409 are everyday: an object is gone, or was changed by another. "
            "403: a right is missing. 429 and 5xx: the API server is busy. none: it did not answer.",
            query(
                promql.events(calls, f'{_WHERE},status!~"2.."', "verb", "kind", "status"),
                "{{verb}} {{kind}} {{status}}",
            ),
        ),
        panels.lines(
            "How long do calls take?",
            "Nine of ten calls took no longer than this, by verb.",
            units.Seconds,
            query(promql.quantile(0.9, "evalrun_operator_api_request_seconds", _WHERE, "verb"), "{{verb}}"),
        )
        .span(24)
        .fill_opacity(0),
    ]


def _runs() -> Panels:
    by_phase = f"sum by(phase)({promql.gauge('evalrun_runs', _WHERE, 'run_namespace', 'phase')})"
    over_time = panels.stacked_counts(
        "How many runs does it look after?",
        "All runs that there are, by phase.",
        query(by_phase, "{{phase}}"),
    )
    return [
        panels.shaded(over_time, panels.PHASE_COLORS),
        panels.bars(
            "What changes with the runs?",
            "Conditions of runs that changed their status, with the reason.",
            query(
                promql.events("evalrun_condition_transitions_total", _WHERE, "condition", "status", "reason"),
                "{{condition}}={{status}} {{reason}}",
            ),
        ),
        _time_in_phases().span(16),
        panels.ranking(
            "Which finished runs have no series?",
            "Finished runs that the operator tells nothing of any more: too many (number), or too old (age). Both "
            "bounds are chart values; results stay in the store.",
            panels.NUMBER,
            now(promql.gauge("evalrun_operator_runs_not_exported", _WHERE, "why"), "{{why}}"),
        )
        .span(8)
        .no_value("all have"),
    ]


def _time_in_phases() -> builders.Panel:
    seconds = "evalrun_phase_seconds"
    return table(
        "How long are runs in each phase?",
        "Of the runs that left the phase in the time shown. Long in Queued: the quota is small. Long in Starting: "
        "there is no capacity, or models load slowly.",
        Label("Phase", "phase", colors=panels.PHASE_COLORS),
        Value(
            "Half left within",
            promql.quantile(0.5, seconds, _WHERE, "phase", over="$__range"),
            units.Seconds,
            width=150,
        ),
        Value(
            "Nine of ten within",
            promql.quantile(0.9, seconds, _WHERE, "phase", over="$__range"),
            units.Seconds,
            width=160,
        ),
        Value("Runs that left it", promql.growth(f"{seconds}_count", _WHERE, "phase"), decimals=0, width=140),
    ).height(8)


def _resources() -> Panels:
    return [
        panels.lines(
            "How much memory does it use?",
            "Resident memory. It grows with the number of runs; a growth without end is a defect.",
            units.BytesIEC,
            query(f"max by({','.join(_TARGET)})({_itself('process_resident_memory_bytes')})", "{{instance}}"),
        ).span(8),
        panels.lines(
            "How much CPU does it use?",
            "Cores. At the limit of its pod it is throttled and falls behind.",
            panels.NUMBER,
            query(_itself("rate(process_cpu_seconds_total[$__rate_interval])"), "{{instance}}"),
        ).span(8),
        panels.counts(
            "How many files does it hold open?",
            "Open files and connections. A growth without end is a defect.",
            query(_itself("process_open_fds"), "{{instance}}"),
        ).span(8),
    ]
