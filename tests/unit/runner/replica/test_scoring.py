"""Scoring in a process of its own: what hangs or crashes fails its item alone, and nothing outlives anything."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import LeafTask, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError, RunFailed
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemStatus, Outcome, Response
from evalrun_runner.replica.scoring import ScoringProcess
from support.suites import Suite

CODE = """
import os
import time


def moody(doc, results):
    print("a metric that talks")
    match results[0]:
        case "hang":
            time.sleep(3600)
        case "die":
            os._exit(7)
        case "raise":
            raise ArithmeticError("no")
    return {"length": len(results[0])}


def across(resps, docs):
    longest = max(len(inst[0]) for inst in resps)
    return [[str(longest - len(inst[0]))] for inst in resps]
"""

TASK = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: rows.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{question}}}}"
generation_kwargs: {{until: ["\\n"], do_sample: false}}
"""


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LeafTask]:
    folder = tmp_path_factory.mktemp("scoring")
    suite = Suite(folder / "suite").with_data("rows", [{"question": f"q{n}"} for n in range(4)])
    suite.with_file("own.py", CODE)
    suite.with_file(
        "moody.yaml",
        TASK.format(name="moody")
        + "process_results: !function own.moody\nmetric_list: [{metric: length, aggregation: mean}]\n",
    )
    suite.with_file(
        "across.yaml",
        TASK.format(name="across")
        + "filter_list: [{name: own, filter: [{function: custom, filter_fn: !function own.across}]}]\n"
        + "metric_list: [{metric: exact_match}]\n",
    )
    specs = [BenchmarkSpec(name=name, task=name, source=suite.folder) for name in ("moody", "across")]
    loaded = load_benchmarks(specs, seed=1, allow_code=True)
    return {leaf.name: leaf for leaf in loaded.leaves}


@pytest.fixture(scope="module")
def items(leaves: dict[str, LeafTask]) -> list[Item]:
    return list(iter_items(leaves["moody"], None))


@pytest.fixture
def make(leaves: dict[str, LeafTask]) -> Iterator[Callable[[float], ScoringProcess]]:
    made = []

    def process(timeout: float) -> ScoringProcess:
        made.append(ScoringProcess({name: leaf.recipe for name, leaf in leaves.items()}, timeout=timeout))
        return made[-1]

    yield process
    for one in made:
        one.close()


def said(*answers: str) -> list[Outcome]:
    return [Outcome(ItemStatus.OK, ((Response(answer, "stop", 1, 1),),)) for answer in answers]


def test_only_the_items_that_hang_crash_or_raise_fail(
    make: Callable[[float], ScoringProcess], items: list[Item]
) -> None:
    process = make(2.0)
    results = process.score("moody", items, said("hang", "fine", "die", "raise"))
    assert [result.outcome.status for result in results] == ["failed", "ok", "failed", "failed"]
    assert results[0].outcome.error == "ScoringDied: there was no answer within 2 s"
    assert results[1].scores is not None
    assert results[2].outcome.error == "ScoringDied: the scoring process ended with code 7"
    assert "ArithmeticError: no" in str(results[3].outcome.error)
    # The raw answers stay with the items, and the process works on.
    assert results[0].outcome.responses[0][0].value == "hang"
    assert [result.doc_id for result in results] == [0, 1, 2, 3]
    assert [one.outcome.status for one in process.score("moody", items, said("a", "b", "c", "d"))] == ["ok"] * 4


def test_a_process_that_was_killed_while_idle_costs_nothing(
    make: Callable[[float], ScoringProcess], items: list[Item]
) -> None:
    process = make(60.0)
    process.score("moody", items[:1], said("a"))
    child = process._child
    assert child is not None
    child.kill()
    child.wait()
    (result,) = process.score("moody", items[:1], said("a"))
    assert result.outcome.status is ItemStatus.OK
    assert process._child is not child


def test_a_filter_across_documents_is_refused_and_never_scored_alone(
    make: Callable[[float], ScoringProcess], items: list[Item]
) -> None:
    with pytest.raises(InputError, match="another answer when it stands alone"):
        make(60.0).score("across", items, said("a", "bb", "ccc", "dddd"))


def test_a_task_that_cannot_be_built_fails_the_run_not_its_items(
    make: Callable[[float], ScoringProcess], items: list[Item]
) -> None:
    with pytest.raises(RunFailed, match="task unknown: its metrics cannot be built in the scoring process: KeyError"):
        make(60.0).score("unknown", items, said("a", "b", "c", "d"))


def test_a_process_that_never_starts_fails_the_run(
    make: Callable[[float], ScoringProcess], items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunFailed, match="the scoring process ended with code"):
        make(60.0).score("moody", items, said("a", "b", "c", "d"))


PARENT = """
import pickle, sys, threading
from evalrun_runner.replica.scoring import ScoringProcess

if __name__ == "__main__":
    recipe, items, fine, last = pickle.loads(sys.stdin.buffer.read())
    process = ScoringProcess({"moody": recipe}, timeout=600)
    process.score("moody", items, fine)
    print(process._child.pid, flush=True)
    process.score("moody", items, last)
    threading.Event().wait()
"""


@pytest.mark.parametrize("last", ["fine", "hang"])
def test_the_scoring_process_ends_with_its_parent_whatever_it_does(
    leaves: dict[str, LeafTask], items: list[Item], last: str
) -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(pickle.dumps((leaves["moody"].recipe, items[:1], said("fine"), said(last))))
        parent.stdin.close()
        child = int(parent.stdout.readline())
        assert state(child) not in ("", "Z")
        parent.kill()
    until(lambda: state(child) in ("", "Z"), "the scoring process to end")


def state(pid: int) -> str:
    """The kernel's letter for a process, empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
