"""The metrics of runs: the series of each one, and their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.core import Metric as Family

from evalrun_api import (
    Condition,
    ConditionStatus,
    EvalRun,
    EvalRunStatus,
    GateResult,
    Phase,
    Progress,
    Reason,
    ReplicaStatus,
    RunReference,
    Score,
    ScoreInterval,
    Verdict,
)
from evalrun_api.metrics import label_value
from evalrun_operator.metrics.exposition import Exposition
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.settings import MetricsSettings
from support.evalruns import NOON, make_run
from support.expositions import Told, told

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
KEYS = ("run_namespace", "run")


class Nothing:
    """An operator without metrics of its own."""

    def families(self) -> Iterator[Family]:
        return iter(())


@dataclass
class Book:
    """The metrics of runs, with a clock."""

    settings: MetricsSettings = field(default_factory=MetricsSettings)
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.runs = ObservedRuns(self.settings)

    def sees(self, *runs: EvalRun, invalid: bool = False) -> Book:
        for run in runs:
            self.runs.see(run, run.status, self.now, invalid=invalid)
        return self

    def after(self, time: timedelta) -> Book:
        self.now += time
        return self

    def says(self) -> Told:
        return told(Exposition(self.runs, Nothing(), lambda: self.now).pieces())  # type: ignore[arg-type]

    def named(self) -> set[str]:
        """Return the names of the runs with their own series."""
        return {name for name, _ in self.says().get("evalrun_run_created_timestamp_seconds", {})}

    def counted(self) -> dict[str, float]:
        """Return the number of runs by phase, without empty phases."""
        counts: dict[str, float] = {}
        for (phase, _), count in self.says().get("evalrun_runs", {}).items():
            counts[phase] = counts.get(phase, 0) + count
        return {phase: count for phase, count in counts.items() if count}

    def left_out(self) -> dict[str, float]:
        return {why: count for (why,), count in self.says()["evalrun_operator_runs_not_exported"].items()}


def run(name: str = "nightly", phase: Phase | None = Phase.RUNNING, **status: Any) -> EvalRun:
    return make_run(name).with_status(EvalRunStatus(phase=phase, **status)).build()


def finished(name: str = "nightly", end: datetime = NOON, uid: str | None = None, **status: Any) -> EvalRun:
    made = make_run(name)
    made.uid = uid or made.uid
    return made.with_status(EvalRunStatus(phase=Phase.SUCCEEDED, finished_at=end, **status)).build()


def score(**more: Any) -> Score:
    return Score(**{"task": "gsm8k", "metric": "exact_match", "filter": "strict", "value": 0.5, "n": 10} | more)


def gate(verdict: Verdict = Verdict.PASSED, **more: Any) -> GateResult:
    given = {"task": "gsm8k", "metric": "exact_match", "verdict": verdict, "reason": Reason.GATES_PASSED}
    return GateResult(**given | more)


def conditions(**statuses: tuple[str, str]) -> dict[str, Any]:
    made = [
        Condition(type=kind, status=ConditionStatus(status), reason=reason, last_transition_time=NOON)
        for kind, (status, reason) in statuses.items()
    ]
    return {"conditions": tuple(made)}


# One run ----------------------------------------------------------------------------------------------------------


def test_unfinished_run_has_its_series() -> None:
    started = NOON + MINUTE
    spec = make_run("nightly").with_replicas(3).with_spec(engine={"vllm": {"tensorParallelSize": 4}})
    status = EvalRunStatus(
        phase=Phase.RUNNING, attempt=2, started_at=started, replicas=ReplicaStatus(desired=3, ready=2)
    )
    says = Book().sees(spec.with_status(status).build()).says()
    assert {name: values for name, values in says.items() if name.startswith("evalrun_run_")} == {
        "evalrun_run_info": {("vllm", "tiny", "nightly", "team"): 1},
        "evalrun_run_phase": {("Running", "nightly", "team"): 1},
        "evalrun_run_created_timestamp_seconds": {("nightly", "team"): NOON.timestamp()},
        "evalrun_run_started_timestamp_seconds": {("nightly", "team"): started.timestamp()},
        "evalrun_run_attempt": {("nightly", "team"): 2},
        "evalrun_run_replicas": {("nightly", "team", "desired"): 3, ("nightly", "team", "ready"): 2},
        "evalrun_run_gpus": {("nightly", "team"): 12},
    }
    assert says["evalrun_runs"]["Running", "team"] == 1 and says["evalrun_runs"]["Failed", "team"] == 0


def test_changed_run_has_new_series() -> None:
    book = Book()
    for ready in (0, 2, 1):
        book.sees(run(replicas=ReplicaStatus(desired=2, ready=ready)))
        assert book.says()["evalrun_run_replicas"]["nightly", "team", "ready"] == ready


def test_run_without_a_status_is_pending() -> None:
    says = Book().sees(make_run("nightly").build()).says()
    assert says["evalrun_run_phase"] == {("Pending", "nightly", "team"): 1}
    assert says["evalrun_run_replicas"]["nightly", "team", "ready"] == 0
    assert says["evalrun_run_info"] == {("mock", "tiny", "nightly", "team"): 1}
    assert says["evalrun_run_gpus"] == {("nightly", "team"): 0}
    assert "evalrun_run_attempt" not in says


def test_engine_of_an_invalid_spec_is_unknown() -> None:
    says = Book().sees(run(phase=Phase.INVALID, finished_at=NOON), invalid=True).says()
    assert says["evalrun_run_info"] == {("unknown", "tiny", "nightly", "team"): 1}


def test_finished_run_has_items_and_scores_but_no_replicas() -> None:
    book = Book().sees(run())
    counts = Progress(planned=20, ok=17, failed=2, quarantined=1)
    interval = ScoreInterval(low=0.2, high=0.8, confidence=0.95, method="wilson")
    scores = (score(stderr=0.1, interval=interval), score(task="wiki", metric="ppl", value=7.5, lower_is_better=True))
    says = book.sees(finished(end=NOON + MINUTE, progress=counts, scores=scores)).says()
    assert says["evalrun_run_finished_timestamp_seconds"] == {("nightly", "team"): (NOON + MINUTE).timestamp()}
    assert says["evalrun_run_phase"] == {("Succeeded", "nightly", "team"): 1}
    assert {labels[-1]: value for labels, value in says["evalrun_run_final_items"].items()} == {
        "ok": 17,
        "failed": 2,
        "quarantined": 1,
        "skipped": 0,
    }
    # better, filter, final, metric, model, run, run_namespace, task
    gsm8k = ("higher", "strict", "true", "exact_match", "tiny", "nightly", "team", "gsm8k")
    wiki = ("lower", "strict", "true", "ppl", "tiny", "nightly", "team", "wiki")
    assert says["evalrun_score"] == {gsm8k: 0.5, wiki: 7.5}
    assert says["evalrun_score_stderr"] == {gsm8k: 0.1}
    assert (says["evalrun_score_low"], says["evalrun_score_high"]) == ({gsm8k: 0.2}, {gsm8k: 0.8})
    assert says["evalrun_score_items"] == {gsm8k: 10, wiki: 10}
    assert not {"evalrun_run_replicas", "evalrun_run_gpus"} & says.keys()


def test_undefined_score_has_no_series() -> None:
    says = Book().sees(finished(scores=(score(value=None, stderr=0.1),))).says()
    assert not {"evalrun_score", "evalrun_score_stderr", "evalrun_score_items"} & says.keys()


def test_duplicate_score_is_one_series() -> None:
    says = Book().sees(finished(scores=(score(value=0.25), score(value=0.75)))).says()
    assert list(says["evalrun_score"].values()) == [0.25]


def test_gate_has_a_verdict_per_criterion_and_its_bounds() -> None:
    gates = (gate(Verdict.FAILED, min=0.5, max=0.9, baseline=RunReference(run_name="last"), max_regression=0.1),)
    says = Book().sees(finished(gates=gates)).says()
    # filter, gate, metric, model, run, run_namespace, task, verdict
    assert {(labels[1], labels[-1]) for labels in says["evalrun_gate"]} == {
        ("min", "Failed"),
        ("max", "Failed"),
        ("baseline", "Failed"),
    }
    assert {labels[1]: bound for labels, bound in says["evalrun_gate_bound"].items()} == {"min": 0.5, "max": 0.9}


def test_gate_by_the_name_of_a_benchmark_has_the_labels_of_its_score() -> None:
    named = gate(task="nightly-math", stands_for="gsm8k", min=0.6)
    says = Book().sees(finished(gates=(named,))).says()
    assert says["evalrun_gate_bound"] == Book().sees(finished(gates=(gate(min=0.6),))).says()["evalrun_gate_bound"]


def test_worst_verdict_and_strictest_bound_of_equal_gates_count() -> None:
    gates = (
        gate(Verdict.PASSED, min=0.5, max=0.9),
        gate(Verdict.INCONCLUSIVE, min=0.7),
        gate(Verdict.PASSED, min=0.6),
        gate(Verdict.FAILED, max=0.8),
    )
    says = Book().sees(finished(gates=gates)).says()
    assert {labels[1]: labels[-1] for labels in says["evalrun_gate"]} == {"min": "Inconclusive", "max": "Failed"}
    assert {labels[1]: bound for labels, bound in says["evalrun_gate_bound"].items()} == {"min": 0.7, "max": 0.8}


# What the models let through: a lone surrogate is no text to them.
NAMES = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=128)


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_name_breaks_the_page(model: str, task: str, metric: str, filter_: str) -> None:
    given_: dict[str, Any] = {"task": task, "metric": metric, "filter": filter_}
    status = EvalRunStatus(
        phase=Phase.SUCCEEDED, finished_at=NOON, scores=(score(**given_),), gates=(gate(min=0, **given_),)
    )
    named = make_run("nightly").build()
    spec = named.spec.model_copy(update={"model": named.spec.model.model_copy(update={"name": model})})
    says = Book().sees(named.model_copy(update={"spec": spec, "status": status})).says()
    ((_, filter_said, _, metric_said, model_said, _, _, task_said),) = says["evalrun_score"]
    assert (model_said, task_said, metric_said, filter_said) == tuple(map(label_value, (model, task, metric, filter_)))
    assert len(says["evalrun_gate"]) == len(says["evalrun_gate_bound"]) == 1


# Which runs -------------------------------------------------------------------------------------------------------


def test_the_newest_finished_runs_and_all_unfinished_ones_have_series_of_their_own() -> None:
    book = Book(MetricsSettings(finished_runs=2))
    ends = {"old": 1, "oldest": 0, "newest": 9, "newer": 5}
    book.sees(*(finished(name, NOON + minute * MINUTE) for name, minute in ends.items()), run("a"), run("b"), run("c"))
    assert book.named() == {"newest", "newer", "a", "b", "c"}
    assert book.counted() == {"Succeeded": 4, "Running": 3}
    assert book.left_out() == {"number": 2, "age": 0}


def test_thousand_runs_are_all_exported() -> None:
    names = {f"r{number}" for number in range(1000)}
    assert Book().sees(*map(run, names)).named() == names


def test_too_old_finished_run_loses_its_series() -> None:
    book = Book(MetricsSettings(finished_days=2))
    book.sees(finished("first", NOON), finished("second", NOON + DAY))
    assert book.named() == {"first", "second"}
    assert book.after(2 * DAY + MINUTE).named() == {"second"}
    assert book.left_out() == {"number": 0, "age": 1}
    assert book.counted() == {"Succeeded": 2}
    assert book.sees(finished("first", NOON)).named() == {"second"}, "another look changes nothing"


def test_without_room_for_finished_runs_they_are_counted() -> None:
    book = Book(MetricsSettings(finished_runs=0)).sees(finished("x"), run("a"))
    assert book.named() == {"a"} and book.left_out() == {"number": 1, "age": 0}


def test_displaced_run_returns_when_there_is_room() -> None:
    book = Book(MetricsSettings(finished_runs=1)).sees(finished("old", NOON), finished("new", NOON + MINUTE))
    assert book.named() == {"new"}
    book.runs.forget(("team", "new"))
    assert book.left_out() == {"number": 1, "age": 0}
    assert book.sees(finished("old", NOON)).named() == {"old"} and book.left_out() == {"number": 0, "age": 0}


def test_forgotten_run_disappears_from_the_page() -> None:
    book = Book().sees(finished("x", scores=(score(),)), run("a"))
    for name in ("x", "a", "never-seen"):
        book.runs.forget(("team", name))
    says = book.says()
    assert not {"evalrun_runs", "evalrun_run_info", "evalrun_score"} & says.keys()


@pytest.mark.parametrize("forgotten", [True, False])
def test_recreated_run_replaces_the_former_one(forgotten: bool) -> None:
    book = Book().sees(finished(scores=(score(),), uid="first"))
    if forgotten:
        book.runs.forget(("team", "nightly"))
    again = make_run("nightly")
    again.uid = "second"
    says = book.sees(again.with_status(EvalRunStatus(phase=Phase.STARTING)).build()).says()
    assert says["evalrun_run_phase"] == {("Starting", "nightly", "team"): 1}
    assert "evalrun_score" not in says and book.counted() == {"Starting": 1}
    says = book.sees(finished(scores=(score(value=0.9),), uid="second")).says()
    assert list(says["evalrun_score"].values()) == [0.9]


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.RUNNING])
def test_run_recreated_unobserved_is_another_run(phase: Phase) -> None:
    book = Book()
    for uid, value in (("first", 0.1), ("second", 0.2)):
        made = make_run("nightly")
        made.uid = uid
        status = EvalRunStatus(phase=phase, finished_at=NOON, scores=(score(value=value),), **conditions())
        if uid == "second":
            status = status.model_copy(update=conditions(Complete=("True", "Succeeded")))
        book.sees(made.with_status(status).build())
    says = book.says()
    assert list(says.get("evalrun_score", {}).values()) == ([0.2] if phase.finished else [])
    assert "evalrun_condition_transitions_total" not in says
    assert sum(book.counted().values()) == 1


# Changes ----------------------------------------------------------------------------------------------------------


def seconds(book: Book) -> dict[str, float]:
    return {phase: value for (phase,), value in book.says().get("evalrun_phase_seconds_sum", {}).items()}


def test_phase_is_timed_when_it_ends() -> None:
    book = Book(now=NOON + 2 * MINUTE).sees(make_run("nightly").build(), run(phase=Phase.STARTING))
    assert seconds(book) == {"Pending": 120}, "since it was made"
    book.after(MINUTE).sees(run(phase=Phase.STARTING)).after(MINUTE).sees(run())
    assert seconds(book) == {"Pending": 120, "Starting": 120}
    book.after(MINUTE).sees(finished()).after(DAY).sees(finished())
    assert seconds(book) == {"Pending": 120, "Starting": 120, "Running": 60}


def test_phase_that_began_unobserved_is_not_timed() -> None:
    book = Book(now=NOON + MINUTE).sees(run()).after(MINUTE).sees(run(phase=Phase.FINISHING))
    assert seconds(book) == {}
    assert seconds(book.after(MINUTE).sees(finished())) == {"Finishing": 60}
    pending_again = run("other", Phase.PENDING, attempt=1)
    assert "Pending" not in seconds(book.sees(pending_again).after(MINUTE).sees(run("other")))


def test_conditions_are_counted_when_their_status_changes() -> None:
    book = Book().sees(make_run("nightly").build())
    book.sees(run(**conditions(Complete=("False", "Preflight"), GatePassed=("Unknown", "Pending"))))
    book.sees(run(**conditions(Complete=("False", "Running"), GatePassed=("Unknown", "Pending"))))
    book.sees(finished(**conditions(Complete=("True", "Succeeded"), GatePassed=("False", "GateFailed"))))
    book.sees(finished(**conditions(Complete=("True", "Succeeded"), GatePassed=("False", "GateFailed"))))
    assert book.says()["evalrun_condition_transitions_total"] == {
        ("Complete", "Preflight", "False"): 1,
        ("Complete", "Succeeded", "True"): 1,
        ("GatePassed", "GateFailed", "False"): 1,
    }


def test_first_observation_is_not_a_transition() -> None:
    book = Book().sees(
        run(**conditions(Complete=("False", "Running"))),
        finished("other", **conditions(Complete=("True", "Succeeded"))),
    )
    assert "evalrun_condition_transitions_total" not in book.says()


def test_foreign_conditions_and_reasons_make_no_series() -> None:
    book = Book().sees(make_run("nightly").build())
    for number in range(20):
        status = "True" if number % 2 else "False"
        book.sees(run(**conditions(Theirs=(status, "Why"), Complete=(status, f"Word{number}"))))
    assert book.says()["evalrun_condition_transitions_total"] == {
        ("Complete", "other", "True"): 10,
        ("Complete", "other", "False"): 10,
    }


# Whatever happens -------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from([None, Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED, "gone", "a day later"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(STEPS, st.integers(0, 4))
def test_page_is_correct_after_any_sequence_of_events(
    steps: list[tuple[str, Phase | str | None, int]], most: int
) -> None:
    book = Book(MetricsSettings(finished_runs=most, finished_days=3))
    there: dict[str, EvalRun] = {}
    for name, what, uid in steps:
        if what == "a day later":
            book.after(DAY)
        elif what == "gone":
            there.pop(name, None)
            book.runs.forget(("team", name))
        else:
            phase = Phase(what) if what else None
            # Each end is a time of its own, and of each run always the same.
            end = NOON + (uid * DAY + ord(name) * MINUTE) if phase and phase.finished else None
            made = make_run(name)
            made.uid = f"{name}-{uid}"
            there[name] = made.with_status(EvalRunStatus(phase=phase, finished_at=end, scores=(score(),))).build()
            book.sees(there[name])
        ended = [one for one in there.values() if one.status and one.status.finished_at]
        says = book.says()
        assert sum(says.get("evalrun_runs", {}).values()) == len(there)
        named = {name for name, _ in says.get("evalrun_run_created_timestamp_seconds", {})}
        assert sum(says["evalrun_operator_runs_not_exported"].values()) + len(named) == len(there)
        assert len(named & {one.metadata.name for one in ended}) <= most
    book.sees(*there.values())
    ends = {name: one.status.finished_at for name, one in there.items() if one.status and one.status.finished_at}
    young = [name for name in sorted(ends, key=lambda name: ends[name]) if ends[name] >= book.now - 3 * DAY]
    newest = young[-most:] if most else []
    assert book.named() == {*newest, *(there.keys() - ends.keys())}
    assert book.left_out() == {"number": len(young) - len(newest), "age": len(ends) - len(young)}
    assert {labels[5] for labels in book.says().get("evalrun_score", {})} == set(newest)
