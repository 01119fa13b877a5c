"""What drivers say, whatever it is: it fits the status, and never keeps the operator from acting."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evalrun_api import EvalRunStatus, Phase, Reason, RunProgress, RunResult
from evalrun_operator.observe.reports import progress_of, result_of
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import Attempt, DriverPhase, Observed, ObservedDriver, ObservedReplicas, References
from support.evalruns import NOON, Builder, make_run
from support.kstatus import Health, kstatus

LATE = NOON + timedelta(hours=2)
CRD = Path(__file__).parents[3] / "crds" / "evalrun.dev_evalruns.yaml"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@cache
def status_schema() -> Any:
    crd = yaml.safe_load(CRD.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    checker = jsonschema.FormatChecker(formats=())
    checker.checks("int64")(lambda value: not isinstance(value, int) or -(2**63) <= value < 2**63)
    checker.checks("date-time")(lambda value: TIME.fullmatch(value) is not None)
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


def running(run: Builder, text: str) -> ReconcilePlan:
    """Plan with a ready driver that answers this."""
    attempts = {1: Attempt(ObservedDriver(DriverPhase.READY, address="10.0.0.1"), ObservedReplicas(1, 1, 1))}
    return plan(Observed(run.build(), attempts, progress_of(text)), OperatorSettings(), LATE)


def ended(run: Builder, text: str, phase: DriverPhase = DriverPhase.SUCCEEDED) -> ReconcilePlan:
    """Plan with a driver whose last words are these."""
    driver = ObservedDriver(phase, result_of(text), 0 if phase is DriverPhase.SUCCEEDED else 1, ended_at=LATE)
    return plan(Observed(run.build(), {1: Attempt(driver)}, references=References()), OperatorSettings(), LATE)


def written(decided: ReconcilePlan) -> EvalRunStatus:
    """Check that the API server takes the status, and the operator reads it again."""
    status = decided.status.to_dict()
    json.dumps(status, allow_nan=False).encode()
    status_schema().validate(status)
    return EvalRunStatus.model_validate_json(json.dumps(status), by_alias=True, by_name=False)


def started(run: Builder) -> Builder:
    return run.with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=1, started_at=NOON, active_since=NOON))


def nested(levels: int) -> Any:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


# Cases ------------------------------------------------------------------------------------------------------------

COUNTS = {"planned": 10, "ok": 1}
WORDS = {
    "an eta without a zone": {"eta": "2026-01-01T15:00:00"},
    "an eta at the end of time": {"eta": "9999-12-31T23:59:59-12:00"},
    "an eta at its beginning": {"eta": "0001-01-01T00:00:00+12:00"},
    "an eta that is none": {"eta": "soon"},
    "more done than planned": {"counts": {"planned": 10, "ok": 11}},
    "a huge count": {"counts": {"planned": 2**70, "ok": 1}},
    "a count with very many digits": {"counts": {"planned": int("9" * 4000), "ok": 1}},
    "a count in words": {"counts": {"planned": "9" * 30, "ok": "many"}},
    "a negative count": {"counts": {"planned": 10, "ok": -1}},
    "a count that is half": {"counts": {"planned": 10.5, "ok": 1e40}},
    "no counts": {"counts": None},
    "a negative rate": {"itemsPerSecond": -3.0},
    "a rate beyond numbers": {"itemsPerSecond": 1e308, "outputTokensPerSecond": float("inf")},
    "many replicas": {"replicasReady": 2**66},
    "a long note": {"note": "x" * 100_000},
    "a note of control characters": {"note": "\x00\x1b[2Jy\ud800", "degraded": "\x07" * 5000},
    "a field that is unknown": {"mood": "good"},
    "another run's phase": {"phase": "Suspended"},
    "a text that nobody can walk": {"mood": nested(900), "note": nested(500)},
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_c11_no_progress_keeps_deadline_suspension_or_status_from_being_acted_upon(words: dict[str, Any]) -> None:
    text = json.dumps({"phase": "Running", "counts": COUNTS} | words)
    late = running(started(make_run().with_policy(activeDeadlineSeconds=60)), text)
    assert written(late).phase is Phase.FAILED
    suspended = running(started(make_run().suspended()), text)
    assert written(suspended).phase is Phase.SUSPENDED
    working = written(running(started(make_run()), text))
    assert working.phase is Phase.RUNNING
    assert working.progress is not None and 0 <= (working.progress.percent or 0) <= 100


def test_words_are_clamped_not_dropped() -> None:
    progress = progress_of(f'{{"phase":"Running","counts":{{"planned":{2**70},"ok":-7}},"itemsPerSecond":-1}}')
    assert progress is not None
    assert (progress.counts.planned, progress.counts.ok, progress.items_per_second) == (2**53 - 1, 0, 0)
    naive = progress_of('{"phase":"Running","eta":"2026-01-01T15:00:00"}')
    assert naive is not None and naive.eta == datetime(2026, 1, 1, 15, tzinfo=UTC)


SCORE = {"task": "gsm8k", "metric": "acc", "value": 0.5, "n": 10}
GATE = {"task": "gsm8k", "metric": "acc", "verdict": "Passed", "reason": "GatesPassed", "message": "fine"}
GOOD = {"phase": "Succeeded", "counts": {"planned": 10, "ok": 10}, "resultsUri": "s3://evals/x/"}
LAST_WORDS = {
    "a long address": {"resultsUri": "s3://e/" + "x" * 2100},
    "a score of a huge value": {"scores": [SCORE | {"value": 1e308, "stderr": -1e300}]},
    "a score of a long name": {"scores": [SCORE | {"task": "t" * 999, "metric": "m" * 999}]},
    "a score without a metric": {"scores": [{"task": "gsm8k"}, SCORE]},
    "a score that is none": {"scores": [SCORE, 7, None, "acc"]},
    "scores that are none": {"scores": "good"},
    "very many scores and gates": {"scores": [SCORE] * 500, "gates": [GATE] * 500, "verdict": "Passed"},
    "a gate of a long message": {"gates": [GATE | {"message": "m" * 9999}], "verdict": "Passed"},
    "a gate of a newer version": {"gates": [GATE | {"reason": "Lucky", "mood": 1}], "verdict": "Passed"},
    "a gate with half an interval": {"gates": [GATE | {"interval": [0.1]}], "verdict": "Passed"},
    "a gate with a baseline of nowhere": {"gates": [GATE | {"baseline": {}}], "verdict": "Passed"},
    "a verdict of a newer version": {"gates": [GATE], "verdict": "Splendid"},
    "warnings of a long text": {"warnings": [{"about": "a" * 999, "message": "m" * 9999}]},
    "work of many items": {"work": {"kept": 2**80, "redone": -1}},
    "a text that nobody can walk": {"mood": nested(900), "scores": nested(500)},
    "control characters": {"gates": [GATE | {"message": "\x00\x1b[31m\udfff"}], "verdict": "Passed"},
}


@pytest.mark.parametrize("words", LAST_WORDS.values(), ids=LAST_WORDS.keys())
def test_c11_results_are_never_lost_for_words_that_do_not_fit(words: dict[str, Any]) -> None:
    status = written(ended(started(make_run()), json.dumps(GOOD | words)))
    assert status.phase is Phase.SUCCEEDED and status.progress is not None and status.progress.ok == 10
    assert status.results_uri is not None and status.results_uri.startswith("s3://evals/")
    assert not any("None" in one.message for one in status.conditions)
    if "scores" in words:
        assert all(score.n == 10 for score in status.scores)


@pytest.mark.parametrize(
    "words",
    [
        {"verdict": "Splendid"},
        {"gates": [GATE], "verdict": "Splendid"},
        {"gates": [GATE | {"verdict": "Splendid"}], "verdict": "Splendid"},
        {"gates": [GATE | {"verdict": "Splendid"}]},
        {"gates": "fine"},
        {"verdict": 7},
        {"gates": [GATE | {"verdict": "Inconclusive"}], "verdict": "Passed"},
    ],
)
def test_a_verdict_that_is_not_known_promotes_nothing(words: dict[str, Any]) -> None:
    status = written(ended(started(make_run()), json.dumps(GOOD | words)))
    assert status.display is not None and status.display.gate == "Inconclusive"
    assert kstatus(make_run().with_status(status).manifest()) is Health.FAILED


def test_a_result_that_contradicts_itself_counts_for_the_worst_that_it_says() -> None:
    words = {"gates": [GATE, GATE | {"verdict": "Failed", "reason": "GateFailed"}]}
    for verdict in ({}, {"verdict": "Passed"}, {"verdict": "Inconclusive"}):
        status = written(ended(started(make_run()), json.dumps(GOOD | words | verdict)))
        assert status.display is not None and status.display.gate == "Failed"


def test_an_advisory_gate_decides_nothing() -> None:
    advisory = GATE | {"verdict": "Failed", "reason": "GateFailed", "advisory": True}
    for gates, verdict in (([GATE, advisory], "Passed"), ([advisory], None)):
        found = result_of(json.dumps(GOOD | {"gates": gates} | ({"verdict": verdict} if verdict else {})))
        assert found is not None
        assert found.verdict == verdict


def test_a_result_without_a_verdict_promotes_no_run_that_has_gates() -> None:
    run = started(make_run().with_spec(gates=[{"task": "gsm8k", "metric": "acc", "min": 0.9}]))
    status = written(ended(run, json.dumps(GOOD)))
    gate = next(one for one in status.conditions if one.type == "GatePassed")
    assert (gate.status, gate.reason) == ("Unknown", Reason.INCONCLUSIVE) and "hint:" in gate.message
    assert status.display is not None and status.display.gate == "Inconclusive"
    assert kstatus(run.with_status(status).manifest()) is Health.FAILED


def test_failure_of_a_newer_driver_keeps_its_words() -> None:
    text = json.dumps({"phase": "Invalid", "failure": {"reason": "MoonPhase", "message": "wait for the full moon\x1b"}})
    status = written(ended(started(make_run()), text, DriverPhase.FAILED))
    failed = next(one for one in status.conditions if one.type == "Failed")
    assert (status.phase, failed.reason) == (Phase.INVALID, Reason.DRIVER_FAILED)
    assert failed.message.startswith("wait for the full moon")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"Running"', "null", "{}", '{"phase":"Dreaming"}', "[" * 100_000])
def test_what_is_no_report_is_none(text: str) -> None:
    assert progress_of(text) is None and result_of(text) is None


def test_reports_that_fit_are_read_as_they_are() -> None:
    result = RunResult.from_json(json.dumps(GOOD | {"scores": [SCORE], "gates": [GATE], "verdict": "Passed"}))
    assert result_of(result.to_json()) == result_of(result.fit()) == result
    progress = RunProgress(phase=Phase.RUNNING, eta=NOON, note="schön\n", items_per_second=1.5)
    assert progress_of(progress.to_json()) == progress


# Anything ---------------------------------------------------------------------------------------------------------

_NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=True, allow_infinity=True)
_TEXTS = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    ["Running", "Succeeded", "Failed", "Passed", "GatesPassed", "2026-01-01T13:00:00", "x" * 3000, "s3://b/"]
)


def _names(model: Any, depth: int = 3) -> set[str]:
    """Return the keys of a model's JSON, and of those within it."""
    schema = model.model_json_schema()
    found = set(schema["properties"])
    for each in schema.get("$defs", {}).values():
        found |= set(each.get("properties", ()))
    return found


def _anything(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from(sorted(_names(model)))
    values = st.recursive(
        st.none() | st.booleans() | _NUMBERS | _TEXTS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=25,
    )
    phases = st.fixed_dictionaries({"phase": st.sampled_from([*Phase])})
    return st.tuples(st.dictionaries(keys, values, max_size=10), phases).map(lambda both: both[0] | both[1])


MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(_anything(RunProgress))
@example({"phase": "Running", "counts": {"ok": float("nan")}})
def test_any_progress_leaves_a_status_that_can_be_written(words: dict[str, Any]) -> None:
    text = json.dumps(words)
    for run in (make_run(), make_run().suspended(), make_run().with_policy(activeDeadlineSeconds=60)):
        written(running(started(run), text))


@MANY
@given(_anything(RunResult), st.sampled_from([DriverPhase.SUCCEEDED, DriverPhase.FAILED]))
def test_any_last_words_leave_a_status_that_can_be_written(words: dict[str, Any], phase: DriverPhase) -> None:
    decided = written(ended(started(make_run()), json.dumps(words), phase))
    if phase is DriverPhase.SUCCEEDED and words["phase"] == "Succeeded":
        assert decided.phase is Phase.SUCCEEDED
