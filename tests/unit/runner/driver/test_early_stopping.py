"""Whole runs in one process that stop early, and what the next ones make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec, Phase, Reason, RunConfig, RunLocation, RunResult, Verdict
from evalrun_api.wire.outputs import Results, StopRecord
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.early_stopping import DamagedPrefix, Submit
from evalrun_runner.driver.results import read_result
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError, RunFailed
from evalrun_runner.ledger import layout
from support.one_process import OneReplica, Watching, config_of, sums

ITEMS = 1000
FAILS = {"task": "sums", "metric": "exact_match", "min": 0.5}
PASSES = {"task": "sums", "metric": "exact_match", "max": 0.5}
"""The mock engine is never right: its score is 0."""
Look = Callable[[], StopRecord | DamagedPrefix | None]


def at_once() -> Submit:
    """Take looks in the loop's thread."""

    def submit(look: Look) -> Future[StopRecord | DamagedPrefix | None]:
        done: Future[StopRecord | DamagedPrefix | None] = Future()
        done.set_result(look())
        return done

    return submit


def dying(*, after: bool) -> Callable[[], Submit]:
    """Die at the first look, or after the first one that has recorded a stop."""

    def submit(look: Look) -> Future[StopRecord | DamagedPrefix | None]:
        if after and not isinstance(look(), StopRecord):
            return at_once()(look)
        raise RunFailed("killed")

    return lambda: submit


HERE = Adapters(start_fleet=OneReplica, looks=at_once)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sums(tmp_path_factory.mktemp("stop") / "suite", ITEMS)


def config(suite: Path, output: Path, *gates: dict[str, Any], stop: dict[str, Any] | None = None) -> RunConfig:
    made = config_of(suite, output)
    more: dict[str, Any] = {"gates": list(gates)}
    if stop is not None:
        more["policy"] = {"stopEarly": stop}
    spec = EvalRunSpec.model_validate({**made.spec.to_dict(), **more})
    return made.model_copy(update={"spec": spec})


def go(given: RunConfig, adapters: Adapters = HERE) -> RunResult:
    return run(given, DriverOptions(), Watching(), adapters)


def results_of(output: Path) -> Results:
    return Results.read((output / layout.RESULTS).read_bytes())


@pytest.mark.parametrize(("gate", "verdict"), [(FAILS, Verdict.FAILED), (PASSES, Verdict.PASSED)])
def test_a_run_stops_at_the_first_look_that_decides_its_gates(
    suite: Path, tmp_path: Path, gate: dict[str, Any], verdict: Verdict
) -> None:
    result = go(config(suite, tmp_path / "out", gate, stop={"rule": "gates"}))
    assert (result.phase, result.verdict) == (Phase.SUCCEEDED, verdict)
    assert (result.counts.planned, result.counts.ok, result.counts.skipped) == (ITEMS, 200, 800)
    assert result.stopped == ("every verdict was decided at look 1 of 5; 800 of 1,000 items (80%) were not needed")
    account = results_of(tmp_path / "out").evalrun
    assert (account.counts.planned, account.counts.ok, account.counts.skipped) == (ITEMS, 200, 800)
    assert (account.tasks["sums"].skipped, account.stopped) == (800, result.stopped)
    assert read_result(RunLocation(uri=(tmp_path / "out").as_uri())).gates == result.gates


def test_the_bounds_of_a_run_that_stopped_account_for_its_looks(suite: Path, tmp_path: Path) -> None:
    result = go(config(suite, tmp_path / "out", FAILS, stop={"rule": "gates"}))
    (gate,) = result.gates
    assert gate.confidence == 0.95
    assert gate.interval is not None
    # Clopper and Pearson of 0 of 200 at the level of the first of five looks, 1.17e-5: 1 - level^(1/200).
    assert gate.interval[1] == pytest.approx(1 - 1.1726447e-5 ** (1 / 200), rel=1e-5)
    intervals = results_of(tmp_path / "out").evalrun.intervals
    assert intervals is not None
    (record,) = intervals
    assert record.high is not None
    # Wilson's 3.8415 / (200 + 3.8415), times 4.8769 / 1.9600 for the first look.
    assert record.high == pytest.approx(0.0188455 * 4.876885 / 1.959964, rel=1e-4)
    assert "adjusted for 1 of 5 looks" in (record.note or "")


def test_a_run_without_a_clear_effect_goes_to_its_end(suite: Path, tmp_path: Path) -> None:
    gate = {**PASSES, "max": 0.001}
    result = go(config(suite, tmp_path / "out", gate, stop={"rule": "gates"}))
    assert (result.counts.ok, result.counts.skipped, result.stopped) == (ITEMS, 0, None)
    assert not (tmp_path / "out" / layout.STOPPED).exists()
    assert result.gates[0].message.endswith("(judged at look 5 of 5, which its bounds account for)")


def test_a_run_stops_once_its_intervals_are_narrow_enough(suite: Path, tmp_path: Path) -> None:
    wide = go(config(suite, tmp_path / "wide", stop={"rule": "width", "width": 0.1}))
    assert (wide.counts.ok, wide.counts.skipped) == (200, 800)
    narrow = go(config(suite, tmp_path / "narrow", stop={"rule": "width", "width": 0.007}))
    # Wilson's width of 0 of n is 3.84 / (n + 3.84).
    assert (narrow.counts.ok, narrow.counts.skipped) == (600, 400)


def test_a_bare_score_stops_the_run_once_the_rest_cannot_change_it(suite: Path, tmp_path: Path) -> None:
    gate = {**PASSES, "max": 0.1, "rule": "point"}
    result = go(config(suite, tmp_path / "out", gate, stop={"rule": "gates"}))
    assert result.verdict is Verdict.PASSED
    assert 900 <= result.counts.ok < ITEMS
    assert (result.stopped or "").startswith("no answer of the rest could change a verdict")


@pytest.mark.parametrize("after", [False, True], ids=["before the record", "after the record"])
def test_a_driver_that_is_killed_at_a_look_leaves_a_run_that_ends_the_same(
    suite: Path, tmp_path: Path, *, after: bool
) -> None:
    given = config(suite, tmp_path / "out", FAILS, stop={"rule": "gates"})
    with pytest.raises(RunFailed, match="killed"):
        go(given, Adapters(start_fleet=OneReplica, looks=dying(after=after)))
    assert (tmp_path / "out" / layout.STOPPED).exists() is after
    result = go(given)
    whole = config(suite, tmp_path / "whole", FAILS, stop={"rule": "gates"})
    assert (result.counts, result.gates) == ((expected := go(whole)).counts, expected.gates)
    mine, other = (results_of(tmp_path / name) for name in ("out", "whole"))
    assert (mine.results, mine.evalrun) == (other.results, other.evalrun)


def test_a_damaged_part_is_redone_before_a_look(suite: Path, tmp_path: Path) -> None:
    damaged: list[Path] = []

    def submit(look: Look) -> Future[StopRecord | DamagedPrefix | None]:
        if not damaged:
            damaged.append(tmp_path / "out" / layout.part("sums", 0))
            damaged[0].write_bytes(damaged[0].read_bytes()[:100])
        return at_once()(look)

    given = config(suite, tmp_path / "out", FAILS, stop={"rule": "gates"})
    result = go(given, Adapters(start_fleet=OneReplica, looks=lambda: submit))
    assert (result.phase, result.counts.planned) == (Phase.SUCCEEDED, ITEMS)
    assert result.counts.ok + result.counts.skipped == ITEMS
    assert result.counts.skipped > 0
    assert list((tmp_path / "out").rglob("corrupt/**/*.parquet"))


def test_a_run_that_resumes_without_stop_early_evaluates_the_rest(suite: Path, tmp_path: Path) -> None:
    go(config(suite, tmp_path / "part", FAILS, stop={"rule": "gates"}))
    resumed = config(suite, tmp_path / "rest", FAILS)
    resumed = resumed.model_copy(update={"resume_from": RunLocation(uri=(tmp_path / "part").as_uri())})
    result = go(resumed)
    assert (result.counts.ok, result.counts.skipped, result.stopped) == (ITEMS, 0, None)
    assert result.work is not None
    assert result.work.kept >= 200
    go(config(suite, tmp_path / "plain", FAILS))
    assert results_of(tmp_path / "rest").results == results_of(tmp_path / "plain").results


def test_a_run_that_stopped_is_no_baseline(suite: Path, tmp_path: Path) -> None:
    go(config(suite, tmp_path / "part", FAILS, stop={"rule": "gates"}))
    uri = (tmp_path / "part").as_uri()
    gate = {"task": "sums", "metric": "exact_match", "baseline": {"uri": uri}, "maxRegression": 0.1}
    compared = config(suite, tmp_path / "new", gate)
    compared = compared.model_copy(update={"baselines": (RunLocation(uri=uri),)})
    with pytest.raises(InputError, match=r"is no baseline, because it stopped early[^$]*hint: evaluate the rest") as no:
        go(compared)
    assert no.value.reason is Reason.BASELINE_MISSING


def test_a_run_is_not_stopped_that_was_planned_in_another_order(suite: Path, tmp_path: Path) -> None:
    plain = config(suite, tmp_path / "out", FAILS)
    go(plain)
    (tmp_path / "out" / layout.COMPLETE).unlink()
    with pytest.raises(InputError, match=r"in the order of their documents[^$]*hint: take stopEarly out"):
        go(config(suite, tmp_path / "out", FAILS, stop={"rule": "gates"}))


def test_the_plan_says_how_its_items_were_drawn(suite: Path, tmp_path: Path) -> None:
    go(config(suite, tmp_path / "out", FAILS, stop={"rule": "gates", "looks": 4}))
    plan = json.loads((tmp_path / "out" / layout.PLAN).read_text())
    assert plan["order"] == {"looks": 4, "seed": 1234}


def test_the_samples_of_a_run_that_stopped_are_those_of_its_items(suite: Path, tmp_path: Path) -> None:
    given = config(suite, tmp_path / "out", FAILS, stop={"rule": "gates"})
    go(given)
    sampled = EvalRunSpec.model_validate(
        {**given.spec.to_dict(), "output": {"uri": (tmp_path / "out").as_uri(), "samples": True}}
    )
    again = go(given.model_copy(update={"spec": sampled}))
    assert (again.counts.ok, again.counts.skipped, again.work and again.work.kept) == (200, 800, 200)
    lines = (tmp_path / "out" / layout.samples("sums")).read_text().splitlines()
    assert len({json.loads(line)["doc_id"] for line in lines}) == len(lines) == 200
