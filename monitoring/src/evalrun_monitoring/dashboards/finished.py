"""Tables of finished runs: their outcomes, and the verdicts of their gates."""

from __future__ import annotations

from grafana_foundation_sdk.builders import table as builders
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels, promql, tables
from evalrun_monitoring.page import run_link, scores_link
from evalrun_monitoring.promql import FINISHED, MILLISECONDS, RUN_LABELS, SCORE_LABELS, only
from evalrun_monitoring.tables import COLOR_TEXT, FILTER, METRIC, NAMESPACE, Facts, Label, Value, sorted_by, table

OWN_TIME = 'from=${__data.fields["From"].numeric}&to=${__data.fields["To"].numeric}'
"""URL parameters for the time range of a finished run, from two hidden columns."""
_LINGER = 300
"""Seconds after the run's end that its dashboard shows, so that its final scores are visible."""

_SCORE_LABELS_ON = ",".join(SCORE_LABELS)
_RUN_LABELS_ON = ",".join(RUN_LABELS)


def runs(where: str) -> builders.Panel:
    """Build the table of runs that ended in the time shown."""
    ended_at = promql.finished_at(where)
    recent = f"{ended_at} > $__from / {MILLISECONDS}"
    hours = promql.gpu_hours(where, *RUN_LABELS)

    def items(statuses: str) -> str:
        counted = promql.gauge("evalrun_run_final_items", f"{where},status=~`{statuses}`", *RUN_LABELS, "status")
        return only(f"sum by({_RUN_LABELS_ON})({counted})", recent)

    started = promql.per_run("evalrun_run_started_timestamp_seconds", where)
    ended = table(
        "Which runs ended, and how?",
        "Runs that ended in the time shown and still exist. A name links to the run's dashboard, at the time of the "
        "run. Gates: the worst verdict of all. Duration: from the start of the first attempt to the end. Items "
        "failed: failed and quarantined. GPU-hours and cost are those of the time shown.",
        NAMESPACE,
        Label("Run", "run", run_link(times=OWN_TIME), "Open the dashboard of this run"),
        Label("Model", "model"),
        Label("Ended", "phase", colors=panels.PHASE_COLORS, width=100),
        Facts(only(promql.in_phase(where, FINISHED), recent)),
        Facts(only(promql.gauge("evalrun_run_info", where, *RUN_LABELS, "model"), recent)),
        tables.gates(only(promql.verdict(where, *RUN_LABELS), recent)),
        Value("Items ok", items("ok")),
        Value(
            "Items failed", items("failed|quarantined"), cell=COLOR_TEXT, thresholds=((1, panels.WARNING),), width=90
        ),
        Value("Duration", only(f"{ended_at} - {started}", recent), units.Seconds, width=100),
        Value("GPU-hours", only(hours, recent), decimals=2, width=100),
        Value("Cost", only(f"{hours} * $gpu_hour_price", recent), units.Dollars, decimals=2),
        tables.when(only(milliseconds(ended_at), recent)),
        *(Value(title, only(expr, recent), hidden=True) for title, expr in own_time(where).items()),
    )
    return sorted_by(ended, "When", descending=True)


def gates(where: str) -> builders.Panel:
    """Build the table of gates of finished runs, the newest first."""
    labels = (*SCORE_LABELS, "gate", "verdict")
    verdicts = f"({promql.gauge('evalrun_gate', where, *labels)} == 1)"
    ended_at = milliseconds(promql.finished_at(where))
    bound = promql.gauge("evalrun_gate_bound", where, *SCORE_LABELS, "gate")

    def beside(labels_on: str, expr: str) -> str:
        return f"{verdicts} * on({labels_on}) group_left() {expr}"

    decided = table(
        "What are the verdicts of the gates?",
        "One row for each gate of the finished runs that still exist. Bound: what the score must reach, for min and "
        "max gates; a baseline gate compares with another run. Inconclusive: items are missing, or the bound lies "
        "within the score's error.",
        NAMESPACE,
        Label("Run", "run", run_link(times=OWN_TIME), "Open the dashboard of this run"),
        Label("Model", "model"),
        Label(
            "Task", "task", scores_link(("task", "task"), ("model", "model")), "Show the scores of this task over time"
        ),
        METRIC,
        FILTER,
        Label("Gate", "gate", width=90),
        Label("Verdict", "verdict", colors=panels.VERDICT_COLORS, width=tables.VERDICT_WIDTH),
        Facts(verdicts),
        Value("Bound", beside(f"{_SCORE_LABELS_ON},gate", bound), units.NoUnit, decimals=4),
        Value("Score", beside(_SCORE_LABELS_ON, promql.final_scores("evalrun_score", where)), units.NoUnit, decimals=4),
        tables.when(beside(_RUN_LABELS_ON, ended_at)),
        *(Value(title, beside(_RUN_LABELS_ON, expr), hidden=True) for title, expr in own_time(where).items()),
    )
    return sorted_by(decided, "When", descending=True)


def own_time(where: str) -> dict[str, str]:
    """Return the queries of the columns of ``OWN_TIME``."""
    created = promql.per_run("evalrun_run_created_timestamp_seconds", where)
    return {"From": milliseconds(created), "To": milliseconds(f"{promql.finished_at(where)} + {_LINGER}")}


def milliseconds(seconds: str) -> str:
    """Convert Unix time for Grafana. Whole seconds, because URLs take no fractions."""
    return f"(round({seconds}) * {MILLISECONDS})"
