"""Verdicts on a real cluster: condition, printer column and event of gates; a run that stops early."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api.wire.outputs import StopRecord
from evalrun_runner.ledger import layout
from support.e2e import ITEMS, NAMESPACE, Object, Platform, Run

pytestmark = pytest.mark.timeout(600)

SCORE = {"task": "sums", "metric": "exact_match"}
"""The mock engine is right for 36 of the 600 items: surely below 0.5, and perhaps above 0.06 in other items."""
GATES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "gate-passes": ({**SCORE, "max": 0.5}, "Passed", "True", "GatesPassed"),
    "gate-fails": ({**SCORE, "min": 0.5}, "Failed", "False", "GateFailed"),
    "gate-is-open": ({**SCORE, "max": 0.06}, "Inconclusive", "Unknown", "Inconclusive"),
}
"""Gates, with the verdict, and the status and reason of the condition."""


def column(run: Run, name: str) -> str:
    """Return what ``kubectl get`` shows of a run."""
    path = f"custom-columns=X:.status.display.{name}"
    return run.cluster.kubectl("-n", NAMESPACE, "get", "evr", run.name, "-o", path, "--no-headers").strip()


def events(run: Run, reason: str) -> list[Object]:
    fields = f"involvedObject.uid={run.uid},reason={reason}"
    return list(run.cluster.api.list("events", NAMESPACE, fields=fields))


@pytest.fixture(scope="module")
def judged(platform: Platform) -> dict[str, Run]:
    """Create a run for each gate at once."""
    return {name: platform.run(name, count=1, gates=[gate]) for name, (gate, *_) in GATES.items()}


@pytest.mark.parametrize("name", GATES)
def test_a_verdict_is_in_the_condition_the_column_and_an_event(judged: dict[str, Run], name: str) -> None:
    run = judged[name]
    _, verdict, happened, reason = GATES[name]

    status = run.ended_well()

    assert run.condition("GatePassed")[:2] == (happened, reason)
    message = run.condition("GatePassed")[2]
    assert status["gates"][0]["verdict"] == verdict
    assert status["gates"][0]["message"] in message
    assert column(run, "gate") == verdict
    row = run.cluster.kubectl("-n", NAMESPACE, "get", "evr", run.name).splitlines()[-1]
    assert verdict in row.split()
    run.until(lambda: events(run, reason), f"an event {reason}", 60)
    (event,) = events(run, reason)
    assert event["type"] == ("Normal" if verdict == "Passed" else "Warning")
    assert event["message"] == message
    held = run.condition("Stalled")[0]
    assert held == ("False" if verdict == "Passed" else "True"), "what is not passed holds a promotion"


def test_the_score_is_shown_with_its_interval(judged: dict[str, Run]) -> None:
    run = judged["gate-passes"]
    status = run.ended_well()
    (score, *_) = status["scores"]
    low, high = score["interval"]["low"], score["interval"]["high"]
    assert low < score["value"] < high
    assert column(run, "score") == f"{score['value']:.4f}[{low:.4f},{high:.4f}]"


def test_a_run_stops_early_once_its_gate_is_decided(platform: Platform) -> None:
    run = platform.run(
        "stops-early", count=1, seconds=60, gates=[{**SCORE, "min": 0.5}], policy={"stopEarly": {"rule": "gates"}}
    )

    status = run.until_phase("Succeeded", "Failed", "Invalid")

    assert status["phase"] == "Succeeded", status
    happened, reason, message = run.condition("Complete")
    assert (happened, reason) == ("True", "StoppedEarly")
    counts = status["progress"]
    skipped = counts["skipped"]
    assert 0 < skipped < ITEMS
    assert counts["planned"] == ITEMS == counts["ok"] + counts["failed"] + counts["quarantined"] + skipped
    assert f"{skipped:,} were skipped" in message
    assert run.condition("GatePassed")[:2] == ("False", "GateFailed")
    assert run.results()["evalrun"]["counts"]["skipped"] == skipped
    stop = StopRecord.read(run.store.get(layout.STOPPED))
    assert (stop.planned, stop.evaluated) == (ITEMS, ITEMS - skipped)
    run.until(lambda: events(run, "StoppedEarly"), "an event StoppedEarly", 60)
    run.until_no_gpu_pods(120)
