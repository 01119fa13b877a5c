"""Results of the dashboards' queries on known series, by Prometheus' own engine (promtool)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest
from grafana_foundation_sdk.models.dashboard import Panel

from evalrun_api.metrics import ALL, Metric, MetricType, Source, label_value
from evalrun_monitoring import EVERYTHING, dashboards, fill, queries
from support.prometheus import promtool

QUERIES = queries()
STEP_S, STEPS = 15, 240
HOUR_S = STEP_S * STEPS
VALUES = {
    "namespace": "team-a",
    "operator": EVERYTHING,
    "run": "busy",
    "model": EVERYTHING,
    "task": EVERYTHING,
    "metric": EVERYTHING,
    "gpu_hour_price": "2.50",
    "__interval": "15s",
    "__rate_interval": "1m",
    "__range": "1h",
    "__from": "0",
}
OPERATOR = {"job": "operator", "instance": "10.0.0.1:8081", "pod": "operator-x"}
DRIVER = {"job": "drivers", "instance": "10.0.0.2:8080", "pod": "busy-a1-x"}
NEXT_DRIVER = {"job": "drivers", "instance": "10.0.0.3:8080", "pod": "busy-a2-y"}
SCORE = {"model": "llama", "task": "arc", "metric": "acc", "filter": "none"}

Series = dict[str, str]


def series(name: str, values: str, labels: dict[str, str]) -> Series:
    """Build an input of promtool: ``a+bxN`` begins at a and grows by b in each of N steps, ``_xN`` is a gap."""
    return {"series": name + selector(labels), "values": values}


def selector(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in sorted(labels.items())) + "}"


def of(run: str, **labels: str) -> dict[str, str]:
    return {"run_namespace": "team-a", "run": run, **labels}


def constant(name: str, value: float, labels: dict[str, str]) -> Series:
    return series(name, f"{value}x{STEPS}", labels)


def asked(uid: str, panel: str, number: int = 0, **values: str) -> str:
    """Return a query of a panel, with values for its variables."""
    found = [query for query in QUERIES if (query.dashboard, query.panel) == (uid, panel)]
    return fill(found[number].expr, VALUES | values)


def asked_columns(title: str) -> dict[str, str]:
    """Return the queries of a table by the headings of its columns."""
    (panel,) = (panel for board in dashboards() for panel in board.panels or [] if panel.title == title)
    assert isinstance(panel, Panel)
    renamed: dict[str, str] = panel.transformations[1].options["renameByName"]  # type: ignore[index]
    exprs = {f"Value #{target.ref_id}": fill(target.expr, VALUES) for target in panel.targets or []}  # type: ignore[attr-defined]
    return {heading: exprs[name] for name, heading in renamed.items() if name in exprs}


class Hour:
    """An hour of series."""

    def __init__(self, folder: Path, *inputs: Series) -> None:
        self._file = folder / "hour.json"
        self._inputs = inputs

    def answers(self, *said: tuple[str, Sequence[tuple[Mapping[str, str], float]]], at: int = HOUR_S) -> None:
        """Compare queries with samples, as (query, [(labels, value), …]), ``at`` seconds after the hour began."""
        checks = [
            {
                "expr": expr,
                "eval_time": f"{at}s",
                "exp_samples": [{"labels": selector(labels), "value": value} for labels, value in samples],
            }
            for expr, samples in said
        ]
        case = {"interval": f"{STEP_S}s", "input_series": self._inputs, "promql_expr_test": checks}
        self._file.write_text(json.dumps({"evaluation_interval": f"{STEP_S}s", "tests": [case]}))
        promtool("test", "rules", self._file)


# -- all of them -----------------------------------------------------------------------------------------------------

OF_LABELS = {
    "final": ("false", "true"),
    "operation": ("create", "get"),
    "outcome": ("ok", "failed"),
    "phase": ("Running", "Succeeded", "Failed", "Pending"),
    "replica": ("0", "1"),
    "side": ("driver", "replica"),
    "state": ("waiting", "running", "loading", "ready", "leased", "desired"),
    "status": ("ok", "failed", "quarantined", "409"),
    "verdict": ("Passed", "Failed", "Inconclusive"),
}
"""Values of labels that queries select by name; other labels have their own name as value."""
NEVER_AT_ONCE = {
    ("evalrun-run", "How many items?", "planned so far"): "planning is done",
    ("evalrun-run", "How many items?", "planned"): "planning is not done",
    **{
        (query.dashboard, query.panel, query.legend): "a gate has just failed"
        for query in QUERIES
        if query.legend.startswith("gate failed")
    },
}


def told(metric: Metric) -> Iterator[Series]:
    """Build a metric with every combination of its labels: gauges are 1, counters grow by 1 in each step."""
    target = OPERATOR if metric.source is Source.OPERATOR else DRIVER
    fixed = {"run_namespace": "team-a", "run": "busy"}
    known = [(fixed[label],) if label in fixed else OF_LABELS.get(label, (label,)) for label in metric.labels]
    for values in product(*known):
        labels = dict(zip(metric.labels, values, strict=True)) | target
        match metric.kind:
            case MetricType.GAUGE:
                yield constant(metric.name, 1, labels)
            case MetricType.COUNTER:
                yield series(metric.name, f"0+1x{STEPS}", labels)
            case MetricType.HISTOGRAM:
                bounds = [*map(str, metric.buckets), "+Inf"]
                for number, bound in enumerate(bounds, start=1):
                    yield series(f"{metric.name}_bucket", f"0+{number}x{STEPS}", labels | {"le": bound})
                yield series(f"{metric.name}_count", f"0+{len(bounds)}x{STEPS}", labels)
                yield series(f"{metric.name}_sum", f"0+1x{STEPS}", labels)


def test_every_query_finds_exported_series(tmp_path: Path) -> None:
    """None asks for a label's value, or joins by labels, that no series has."""
    process = ("up", "process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds")
    counted = ("process_cpu_seconds_total", "process_max_fds")
    of_process = [
        series(name, f"1+1x{STEPS}", target) for name in (*process, *counted) for target in (OPERATOR, DRIVER)
    ]
    hour = Hour(tmp_path, *of_process, *(one for metric in ALL for one in told(metric)))
    every = [query for query in QUERIES if (query.dashboard, query.panel, query.legend) not in NEVER_AT_ONCE]
    hour.answers(*((f"count({fill(query.expr, VALUES)}) > bool 0", [({}, 1)]) for query in every))


# -- runs ------------------------------------------------------------------------------------------------------------


def test_run_with_a_replaced_driver_stays_one_line(tmp_path: Path) -> None:
    """The next driver's counters begin at 0; for a moment both are there."""
    half, name = STEPS // 2, "evalrun_items_committed_total"
    before = series(name, f"0+30x{half}", of("busy", status="ok", **DRIVER))
    after = series(name, f"_x{half} 0+60x{half - 1}", of("busy", status="ok", **NEXT_DRIVER))
    Hour(tmp_path, before, after).answers(
        (asked("evalrun-run", "How fast is it?"), [({"status": "ok"}, 4)]),
        (asked("evalrun-fleet", "Is work progressing?"), [({}, 4)]),
    )


def test_two_drivers_of_a_run_count_once(tmp_path: Path) -> None:
    items = [
        constant("evalrun_items", number, of("busy", status=status, **target))
        for status, number in (("ok", 60), ("failed", 15), ("waiting", 25))
        for target in (DRIVER, NEXT_DRIVER)
    ]
    planned = [constant("evalrun_items_planned", 100, of("busy", **target)) for target in (DRIVER, NEXT_DRIVER)]
    running = constant("evalrun_run_phase", 1, of("busy", phase="Running", **OPERATOR))
    done = "Which runs are unfinished, and how far are they?"
    Hour(tmp_path, *items, *planned, running).answers(
        (asked("evalrun-run", "How far is it?"), [({}, 0.75)]),
        (asked("evalrun-fleet", done, 2), [(of("busy"), 0.75)]),
        (asked("evalrun-run", "Did items fail?"), [({}, 15)]),
    )


def test_finished_run_shows_its_final_progress(tmp_path: Path) -> None:
    """Its driver is gone; of items that are lost with a failed run the operator knows nothing."""
    half = STEPS // 2
    gone = [
        series("evalrun_items", f"40x{half} stale", of("busy", status="ok", **DRIVER)),
        series("evalrun_items_planned", f"100x{half} stale", of("busy", **DRIVER)),
        series("evalrun_planning_done", f"1x{half} stale", of("busy", **DRIVER)),
    ]
    Hour(tmp_path, *gone).answers(
        (asked("evalrun-run", "How far is it?"), [({}, 0.4)]),
        (asked("evalrun-run", "How many items?", 0), [({}, 40)]),
        (asked("evalrun-run", "How many items?", 1), [({}, 100)]),
        (asked("evalrun-run", "How many items?", 2), []),
    )
    all_of_them = constant("evalrun_run_final_items", 100, of("busy", status="ok", **OPERATOR))
    Hour(tmp_path, *gone, all_of_them).answers(
        (asked("evalrun-run", "How far is it?"), [({}, 1)]),
        (asked("evalrun-run", "How many items?", 0), [({}, 100)]),
    )


def test_cost_is_gpu_hours_times_price(tmp_path: Path) -> None:
    """Four GPUs for an hour, at first loading."""
    held = [
        series(
            "evalrun_gpu_seconds_total",
            f"0+60x{STEPS // 4} 3600x{STEPS * 3 // 4 - 1}",
            of("busy", state="loading", **DRIVER),
        ),
        series(
            "evalrun_gpu_seconds_total",
            f"0x{STEPS // 4} 60+60x{STEPS * 3 // 4 - 1}",
            of("busy", state="ready", **DRIVER),
        ),
    ]
    amounts = [
        ("evalrun-fleet", "How many GPUs in use?", {}, 4),
        ("evalrun-run", "How many GPU-hours?", {}, 4),
        ("evalrun-fleet", "How many GPU-hours?", {}, 4),
        ("evalrun-run", "What did it cost?", {}, 10),
        ("evalrun-fleet", "Which runs cost the most?", of("busy"), 10),
    ]
    # `increase` knows nothing of what was before the first scrape in the time shown.
    Hour(tmp_path, *held).answers(
        *((f"round({asked(uid, panel)}, 0.1)", [(labels, value)]) for uid, panel, labels, value in amounts),
        (f"round({asked('evalrun-fleet', 'What did runs cost?', gpu_hour_price='1')}, 0.1)", [({}, 4)]),
    )


def test_queue_contains_runs_that_have_not_started(tmp_path: Path) -> None:
    phases = {"first": "Queued", "second": "Pending", "busy": "Running", "done": "Succeeded"}
    known = [constant("evalrun_run_phase", 1, of(run, phase=phase, **OPERATOR)) for run, phase in phases.items()]
    born = {"first": 600, "second": 3000, "busy": 0, "done": 0}
    created = [constant("evalrun_run_created_timestamp_seconds", at, of(run, **OPERATOR)) for run, at in born.items()]
    unfinished = [(of(run, phase=phases[run]), 1.0) for run in ("first", "second", "busy")]
    Hour(tmp_path, *known, *created).answers(
        (asked("evalrun-fleet", "How long is the wait?"), [({}, 3000)]),
        (asked("evalrun-fleet", "Which runs have waited longest?"), [(of("first"), 3000), (of("second"), 600)]),
        (asked("evalrun-fleet", "Which runs are unfinished, and how far are they?"), unfinished),
        (
            asked("evalrun-fleet", "When was each run in which phase?"),
            [(of("first"), 1), (of("second"), 0), (of("busy"), 3)],
        ),
        (asked("evalrun-run", "Which phase is it in?", run="done"), [({**of("done")}, 6)]),
    )


@pytest.mark.parametrize(
    ("said", "worst"),
    [(["Passed"], 0), (["Passed", "Inconclusive"], 1), (["Inconclusive", "Failed", "Passed"], 2)],
    ids=str,
)
def test_worst_verdict_of_all_gates_counts(said: list[str], worst: int, tmp_path: Path) -> None:
    gates = [
        constant(
            "evalrun_gate", 1, of("busy", **SCORE | {"task": f"task-{number}"}, gate="min", verdict=one, **OPERATOR)
        )
        for number, one in enumerate(said)
    ]
    Hour(tmp_path, *gates).answers((asked("evalrun-run", "Do its gates pass?"), [({}, worst)]))


def test_suspended_run_requests_no_gpus(tmp_path: Path) -> None:
    phases = {"busy": "Running", "first": "Queued", "resting": "Suspended"}
    known = [constant("evalrun_run_phase", 1, of(run, phase=phase, **OPERATOR)) for run, phase in phases.items()]
    gpus = [constant("evalrun_run_gpus", 8, of(run, **OPERATOR)) for run in phases]
    Hour(tmp_path, *known, *gpus).answers((asked("evalrun-fleet", "Are all requested GPUs held?"), [({}, 16)]))


# -- scores ----------------------------------------------------------------------------------------------------------


def finished(run: str, at: int, score: float, **labels: str) -> Iterator[Series]:
    """Build a run with a score and a standard error of 0.01; its series begin when it ends."""
    score_labels = of(run, **SCORE | labels, final="true", better="higher", **OPERATOR)
    yield series("evalrun_score", f"_x{at // STEP_S} {score}x{STEPS}", score_labels)
    yield series("evalrun_score_stderr", f"_x{at // STEP_S} 0.01x{STEPS}", score_labels)
    yield series("evalrun_run_finished_timestamp_seconds", f"_x{at // STEP_S} {at}x{STEPS}", of(run, **OPERATOR))


def newest(labels: dict[str, str]) -> dict[str, str]:
    return {"run_namespace": "team-a", **labels}


def test_newest_score_is_of_the_run_that_finished_last(tmp_path: Path) -> None:
    """Not that of the better one, nor of the one with the greater name; each model and task for itself."""
    other = SCORE | {"model": "qwen"}
    runs = [*finished("z-old", 900, 0.9), *finished("a-new", 1800, 0.5), *finished("b", 600, 0.25, model="qwen")]
    question = "Does ${task} improve?"
    hour = Hour(tmp_path, *runs)
    hour.answers(
        (asked("evalrun-scores", question, 0), [(newest(SCORE), 0.5), (newest(other), 0.25)]),
        (f"round({asked('evalrun-scores', question, 1)}, 0.0001)", [(newest(SCORE), 0.4804), (newest(other), 0.2304)]),
        (f"round({asked('evalrun-scores', question, 2)}, 0.0001)", [(newest(SCORE), 0.5196), (newest(other), 0.2696)]),
        (asked("evalrun-scores", "How many scores are there?"), [({}, 2)]),
    )
    hour.answers((asked("evalrun-scores", question, 0), [(newest(SCORE), 0.9), (newest(other), 0.25)]), at=1200)


def test_interval_of_a_single_score_has_the_names_for_its_band(tmp_path: Path) -> None:
    runs = [*finished("a", 900, 0.5), *finished("b", 600, 0.25, model="qwen")]
    question = "Does ${task} improve?"
    Hour(tmp_path, *runs).answers(
        (asked("evalrun-scores", question, 3), []),
        (asked("evalrun-scores", question, 4), []),
        (f"round({asked('evalrun-scores', question, 3, model='llama')}, 0.0001)", [(newest(SCORE), 0.4804)]),
        (f"round({asked('evalrun-scores', question, 4, model='llama')}, 0.0001)", [(newest(SCORE), 0.5196)]),
    )


def test_gate_is_marked_when_the_newest_run_fails_it(tmp_path: Path) -> None:
    """Once: points at every step would run together."""
    old, new = of("old", **SCORE, gate="min", **OPERATOR), of("new", **SCORE, gate="min", **OPERATOR)
    ended = 1800 // STEP_S
    gates = [
        constant("evalrun_gate", 1, old | {"verdict": "Passed"}),
        constant("evalrun_gate_bound", 0.6, old),
        series("evalrun_gate", f"_x{ended} 1x{STEPS}", new | {"verdict": "Failed"}),
        series("evalrun_gate_bound", f"_x{ended} 0.6x{STEPS}", new),
    ]
    question = "Does ${task} improve?"
    hour = Hour(tmp_path, *finished("old", 900, 0.9), *finished("new", 1800, 0.5), *gates)
    bound, marks = asked("evalrun-scores", question, 5), asked("evalrun-scores", question, 6)
    bounds = [(newest(SCORE | {"gate": "min"}), 0.6)]
    hour.answers((bound, bounds), (marks, []), at=1200)
    hour.answers((bound, bounds), (marks, [(newest(SCORE), 0.5)]), at=1800)
    hour.answers((bound, bounds), (marks, []), (asked("evalrun-scores", "How many failed a gate?"), [({}, 1)]))


def test_replaced_operator_does_not_mark_gates_again(tmp_path: Path) -> None:
    half = STEPS // 2
    gate = of("busy", **SCORE, gate="min", verdict="Failed")
    replaced = [
        series("evalrun_gate", f"1x{half} stale", gate | OPERATOR),
        series("evalrun_gate", f"_x{half + 1} 1x{half}", gate | OPERATOR | {"instance": "10.0.0.9:8081"}),
    ]
    marks = asked("evalrun-scores", "Does ${task} improve?", 6)
    hour = Hour(tmp_path, *replaced, *finished("busy", 0, 0.5))
    hour.answers((marks, []), at=(half + 1) * STEP_S)


def test_each_event_including_the_first_is_counted_in_one_step(tmp_path: Path) -> None:
    """A counter of errors begins with the first: at 1, from nothing. Bars are five minutes each."""
    label = {"error": "ApiError"}
    begun = 600 + STEP_S
    errors = series(
        "evalrun_operator_reconcile_errors_total",
        f"_x{begun // STEP_S} 1x39 2x20 4x{STEPS}",
        label | OPERATOR | {"namespace": "evalrun-system"},
    )
    failed = asked("evalrun-operator", "Why do reconciles fail?", __interval="300s", __rate_interval="315s")
    hour = Hour(tmp_path, errors)
    for at, counted in ((900, 1), (1200, 0), (1500, 1), (1800, 2), (2100, 0)):
        hour.answers((failed, [(label, counted)]), at=at)


def test_final_score_replaces_the_running_one(tmp_path: Path) -> None:
    running = series("evalrun_score", f"0.7x{STEPS}", of("busy", **SCORE, final="false", better="higher", **DRIVER))
    labels = {"task": "arc", "metric": "acc", "filter": "none"}
    hour = Hour(tmp_path, running, *finished("busy", 1800, 0.5))
    question = "What does it score on ${task}?"
    hour.answers((asked("evalrun-run", question), [(labels, 0.7)]), at=1200)
    hour.answers((asked("evalrun-run", question), [(labels, 0.5)]))


def test_row_of_a_finished_run_links_to_its_time_range(tmp_path: Path) -> None:
    created = constant("evalrun_run_created_timestamp_seconds", 600.25, of("done", **OPERATOR))
    columns = asked_columns("Which runs ended, and how?")
    Hour(tmp_path, created, *finished("done", 1800, 0.5)).answers(
        (columns["From"], [(of("done"), 600_000)]),
        (columns["To"], [(of("done"), 2_100_000)]),
    )


def test_run_that_ended_before_the_time_range_is_not_listed(tmp_path: Path) -> None:
    ended = [
        *(constant("evalrun_run_phase", 1, of(run, phase="Succeeded", **OPERATOR)) for run in ("early", "late")),
        *finished("early", 600, 0.5),
        *finished("late", 1800, 0.5),
    ]
    table = asked("evalrun-fleet", "Which runs ended, and how?", __from="1200000")
    Hour(tmp_path, *ended).answers((table, [(of("late", phase="Succeeded"), 1)]))


NAMES = [
    'a"b',
    "a\\b",
    "a.*|b",
    "{a}",
    "a'b",
    "${run}",
    "a/b",
    "</script>",
    "a&var-run=b",
    "模型",
    '"} or up{x="',
    "`} or up{x=`",
]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_found_for_any_model_name(name: str, tmp_path: Path) -> None:
    name = label_value(name)
    runs = [*finished("a", 900, 0.5, model=name), *finished("b", 900, 0.25, model="aXb"), *finished("c", 900, 0.75)]
    score = asked("evalrun-scores", "Does ${task} improve?", 0, model=name)
    every = asked("evalrun-scores", "How many scores are there?")
    Hour(tmp_path, *runs).answers((score, [(newest(SCORE | {"model": name}), 0.5)]), (every, [({}, 3)]))
