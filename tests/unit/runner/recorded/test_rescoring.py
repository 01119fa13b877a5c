"""Runs of recorded answers: what a fresh run would score, without an engine; what does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec, Phase, RunConfig, RunLocation, RunResult
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.store.directory import DirectoryStore
from support.one_process import OneReplica, Watching, config_of
from support.suites import Suite

ITEMS = 40
HERE = Adapters(start_fleet=OneReplica)
NUMBER = {"name": "number", "filter": [{"function": "regex", "regex_pattern": r"is (\d+)"}, {"function": "take_first"}]}
WORD = {"name": "word", "filter": [{"function": "regex", "regex_pattern": r"(\w+)"}, {"function": "take_first"}]}


def suite(
    folder: Path, *, prompt: str = "{{question}}", target: Callable[[int], str] = lambda n: str(n % 20), **task: Any
) -> Path:
    """Write a suite of generated answers and of choices."""
    made = Suite(folder).with_data("rows", [{"question": f"{n} + {n} =", "answer": target(n)} for n in range(ITEMS)])
    made.with_task(
        "generated",
        data="rows",
        output_type="generate_until",
        doc_to_text=prompt,
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 200},
        **{"filter_list": [NUMBER], "metric_list": [{"metric": "exact_match"}], **task},
    )
    made.with_data("letters", [{"question": f"letter {n}", "answer": n % 4} for n in range(ITEMS)])
    made.with_task(
        "letters",
        data="letters",
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice=["A", "B", "C", "D"],
        doc_to_target="answer",
        metric_list=[{"metric": "acc"}],
    )
    return made.folder


def go(folder: Path, output: Path, recorded: Path | None = None, **policy: Any) -> RunResult:
    """Run both tasks by the mock engine, or with recorded answers."""
    return run(configure(folder, output, recorded, **policy), DriverOptions(), Watching(), HERE)


def configure(folder: Path, output: Path, recorded: Path | None = None, **policy: Any) -> RunConfig:
    """Configure a run of both tasks; of a file of answers, of the generated ones."""
    tasks = ["generated"] if recorded is not None and recorded.suffix == ".jsonl" else ["generated", "letters"]
    config = config_of(folder, output, tasks[0])
    spec = config.spec.to_dict()
    spec["benchmarks"] = [{"task": task, "source": {"path": str(folder)}} for task in tasks]
    spec["policy"] = policy
    if recorded is not None:
        spec["engine"] = {"recorded": {"uri": recorded.as_uri()}}
    return config.model_copy(
        update={
            "spec": EvalRunSpec.model_validate(spec, by_alias=True),
            "suites": dict.fromkeys(tasks, config.suites[tasks[0]]),
            "recorded": None if recorded is None else RunLocation(uri=recorded.as_uri()),
        }
    )


def results_of(output: Path) -> dict[str, Any]:
    """Return the results without the time at which the run was begun."""
    results: dict[str, Any] = json.loads((output / "results.json").read_text())
    return {name: value for name, value in results.items() if name != "date"}


def rows_of(output: Path, task: str = "generated") -> list[Any]:
    """Return the rows of a task, in order."""
    ledger = Ledger(DirectoryStore(output))
    index = ledger.task_index(task)
    assert index is not None
    chunks = [chunk for segment in range(index.segments) for chunk in ledger.read_chunks(task, segment)]
    return [row for chunk in chunks for row in ledger.read_part(chunk).rows]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished run."""
    folder = tmp_path_factory.mktemp("recorded")
    assert go(suite(folder / "suite"), folder / "out").phase is Phase.SUCCEEDED
    return folder / "out"


def test_the_same_scorer_gives_the_same_results_and_rows(recorded: Path, tmp_path: Path) -> None:
    assert go(suite(tmp_path / "suite"), tmp_path / "again", recorded).phase is Phase.SUCCEEDED
    assert results_of(tmp_path / "again") == results_of(recorded)
    for task in ("generated", "letters"):
        assert rows_of(tmp_path / "again", task) == rows_of(recorded, task)


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "filters": {"filter_list": [WORD, NUMBER]},
    "metrics": {"metric_list": [{"metric": "exact_match", "ignore_case": True}, {"metric": "bleu"}]},
    "targets": {"target": lambda n: str((n + 3) % 20)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_scorer_gives_what_a_fresh_run_would_give(recorded: Path, tmp_path: Path, change: str) -> None:
    changed = suite(tmp_path / "suite", **CHANGES[change])
    go(changed, tmp_path / "fresh")
    go(changed, tmp_path / "rescored", recorded)
    fresh, rescored = results_of(tmp_path / "fresh"), results_of(tmp_path / "rescored")
    assert rescored == fresh != results_of(recorded)
    assert [row.scores for row in rows_of(tmp_path / "rescored")] == [row.scores for row in rows_of(tmp_path / "fresh")]


def test_it_is_written_down_what_was_scored(recorded: Path, tmp_path: Path) -> None:
    go(suite(tmp_path / "suite"), tmp_path / "again", recorded)
    engine = json.loads((tmp_path / "again" / "run.json").read_text())["engine"]
    digest = json.loads((recorded / "COMPLETE").read_text())["results_sha256"]
    assert engine["recorded"] == {"uri": recorded.as_uri(), "digest": f"sha256:{digest}"}
    assert (engine["name"], engine["numerics"]) == ("mock", "fast")
    assert "made up" in engine["warning"], "what made the answers is not forgotten"
    assert (tmp_path / "again" / "report.html").exists()


def test_answers_to_other_prompts_are_never_scored(recorded: Path, tmp_path: Path) -> None:
    other = suite(tmp_path / "suite", prompt="Question: {{question}}")
    result = go(other, tmp_path / "again", recorded)
    assert result.phase is Phase.FAILED
    assert result.failure is not None
    assert "NoRecordedAnswer: the recorded answer is to another request" in result.failure.message
    kept = go(other, tmp_path / "some", recorded, maxFailedItems=ITEMS)
    assert (kept.counts.ok, kept.counts.failed) == (ITEMS, ITEMS)
    assert all(row.scores is None for row in rows_of(tmp_path / "some"))


def test_a_rescoring_that_was_cut_off_goes_on_to_the_same_results(recorded: Path, tmp_path: Path) -> None:
    folder = suite(tmp_path / "suite", **CHANGES["filters"])
    go(folder, tmp_path / "whole", recorded)
    go(folder, tmp_path / "again", recorded)
    for name in ("COMPLETE", "results.json", "report.html"):
        (tmp_path / "again" / name).unlink()
    parts = sorted((tmp_path / "again" / "parts").rglob("*.parquet"))
    for part in parts[::2]:
        part.unlink()
    parts[1].write_bytes(b"damaged")
    result = go(folder, tmp_path / "again", recorded)
    assert result.phase is Phase.SUCCEEDED
    assert results_of(tmp_path / "again") == results_of(tmp_path / "whole")


def test_a_rescoring_never_goes_on_with_other_answers(recorded: Path, tmp_path: Path) -> None:
    folder = suite(tmp_path / "suite")
    go(folder, tmp_path / "again", recorded)
    go(suite(tmp_path / "other", **CHANGES["targets"]), tmp_path / "source")
    with pytest.raises(InputError, match=r"holds another plan; these differ: engine\.recorded\.digest"):
        go(folder, tmp_path / "again", tmp_path / "source")


def test_a_run_that_is_not_finished_is_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spec\.engine\.recorded: .* expected the output of a finished run"):
        go(suite(tmp_path / "suite"), tmp_path / "again", tmp_path / "suite")
    assert not (tmp_path / "again").exists()


def answers(folder: Path, recorded: Path, change: Callable[[list[dict[str, Any]]], object] = lambda _: None) -> Path:
    """Write the recorded answers as a file."""
    lines = [
        {"id": row.doc_id, "text": row.outcome.responses[0][0].value, "prompt": f"{row.doc_id} + {row.doc_id} ="}
        for row in rows_of(recorded)
    ]
    change(lines)
    file = folder / "answers.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def test_answers_from_elsewhere_have_the_scores_that_a_run_would_give_them(recorded: Path, tmp_path: Path) -> None:
    file = answers(tmp_path, recorded, lambda lines: lines.reverse())
    result = go(suite(tmp_path / "suite"), tmp_path / "again", file)
    assert result.phase is Phase.SUCCEEDED
    assert results_of(tmp_path / "again")["results"]["generated"] == results_of(recorded)["results"]["generated"]
    assert results_of(tmp_path / "again")["evalrun"]["engine"] == "recorded"
    assert [row.scores for row in rows_of(tmp_path / "again")] == [row.scores for row in rows_of(recorded)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines.append(lines[3]), r"1 documents have more than one answer: id 3;"),
        (
            lambda lines: lines.append({"id": 99, "text": "x"}),
            r"1 answers of task generated are .* not: id 99; it has 40",
        ),
        (lambda lines: lines.pop(7), r"1 items have no answer: generated 7;"),
        (lambda lines: lines.clear(), "has no answers"),
        (
            lambda lines: lines.append({"id": "7", "text": "x"}),
            r"answers\.jsonl, line 41: id is '7'; expected the number",
        ),
        (lambda lines: lines[4].update(text=None), r"line 5: text is None; expected the answer as text"),
        (lambda lines: lines[4].update(task="letters"), "39 answers name no task, and others name letters"),
    ],
)
def test_answers_that_do_not_fit_are_named_before_anything_is_scored(
    recorded: Path, tmp_path: Path, change: Callable[[list[dict[str, Any]]], object], says: str
) -> None:
    file = answers(tmp_path, recorded, change)
    with pytest.raises(InputError, match=says):
        go(suite(tmp_path / "suite"), tmp_path / "again", file)
    assert not (tmp_path / "again").exists()


def test_missing_answers_that_may_fail_are_no_scores(recorded: Path, tmp_path: Path) -> None:
    file = answers(tmp_path, recorded, lambda lines: lines.pop(7))
    result = go(suite(tmp_path / "suite"), tmp_path / "again", file, maxFailedItems=1)
    assert (result.counts.ok, result.counts.failed) == (ITEMS - 1, 1)
    row = rows_of(tmp_path / "again")[7]
    assert row.scores is None
    assert row.outcome.error == "NoRecordedAnswer: answers.jsonl has no answer with id 7 for task generated"


def test_it_is_said_how_answers_from_elsewhere_ended(recorded: Path, tmp_path: Path) -> None:
    def change(lines: list[dict[str, Any]]) -> None:
        lines[1].update(finish_reason="length")
        lines[2].update(text=" ")

    result = go(suite(tmp_path / "suite"), tmp_path / "again", answers(tmp_path, recorded, change))
    assert result.counts.answers is not None
    assert (result.counts.answers.truncated, result.counts.answers.empty) == (1, 1)


def test_an_answer_to_another_prompt_is_no_answer(recorded: Path, tmp_path: Path) -> None:
    file = answers(tmp_path, recorded, lambda lines: lines[2].update(prompt="Who?"))
    result = go(suite(tmp_path / "suite"), tmp_path / "again", file)
    assert result.phase is Phase.FAILED
    assert result.failure is not None
    assert "generated document 2: failed: NoRecordedAnswer: the answer is to another prompt" in result.failure.message
