"""Samples: which items are chosen, and how they are shown in a terminal and on a page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalrun_runner.cli.app import app
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome
from evalrun_runner.report.page import MOST_BYTES, samples_html
from evalrun_runner.report.sample_content import Sample, SamplesContent, ShownAnswer, shown_answer
from evalrun_runner.report.samples import SampleRequest, choose, main_scores_of
from evalrun_runner.store.directory import DirectoryStore
from support.compared import write_evalrun
from support.reports import HOSTILE

SCORES = [1.0, 0.0, None, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, None]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write a run of ten items, three wrong and two failed."""
    write_evalrun(tmp_path / "run", {"sums": SCORES, "more": [1.0, 1.0]})
    return tmp_path / "run"


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["samples", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def docs(output: str) -> list[tuple[str, int]]:
    return [(task, int(doc)) for task, doc in re.findall(r"── (\w+), item (\d+)", output)]


def test_all_items_are_shown_by_task_and_document(run: Path) -> None:
    output = shown(run)
    assert docs(output) == [("more", 0), ("more", 1), *(("sums", doc) for doc in range(10))]
    assert output.startswith("12 of 12 items.")
    assert "    Q: What is 4 + 4?\n    A:" in output


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--wrong"], [1, 4, 7]), (["--failed"], [2, 9]), (["--wrong", "--failed"], [1, 2, 4, 7, 9])],
)
def test_wrong_and_failed_items_are_told_apart(run: Path, options: Sequence[str], expected: Sequence[int]) -> None:
    output = shown(run, *options)
    assert docs(output) == [("sums", doc) for doc in expected]
    assert f"{len(expected)} of 12 items" in output
    assert ("why:\n    failed: " in output) == ("--failed" in options)
    assert ("exact_match,none 0" in output) == ("--wrong" in options)


def test_only_items_with_another_score_than_in_the_other_run_are_shown_with_both_answers(
    run: Path, tmp_path: Path
) -> None:
    write_evalrun(tmp_path / "other", {"sums": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "more": [1.0, 1.0]})
    output = shown(run, "--diff", tmp_path / "other")
    assert docs(output) == [("sums", 1), ("sums", 2), ("sums", 5)]
    assert "4 more are not there" in output
    assert output.count("answer there:") == 3
    assert docs(shown(run, "--diff", tmp_path / "other", "--wrong")) == [("sums", 1)]


def test_runs_that_were_asked_differently_share_no_item(run: Path, tmp_path: Path) -> None:
    write_evalrun(tmp_path / "other", {"sums": [0.0] * 10}, style="Question")
    assert "10 more are not there, or were asked differently" in shown(
        run, "--diff", tmp_path / "other", "--task", "sums"
    )


def test_a_few_of_many_are_drawn_and_it_is_said_so(run: Path) -> None:
    output = shown(run, "--items", 4)
    assert len(docs(output)) == 4
    assert output == shown(run, "--items", 4)
    assert "12 of 12 items; 4 of them are shown, drawn at random." in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--task", "other"], r"--task other: .* it has more, sums"), (["--items", "0"], "expected a number from 1 to")],
)
def test_what_is_not_there_is_refused_by_name(run: Path, arguments: Sequence[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        shown(run, *arguments)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("empty").mkdir()
    with pytest.raises(InputError, match="no part is committed there; hint: is this a run's output"):
        shown(tmp_path / "empty")


def test_a_run_that_goes_on_is_judged_by_the_first_score_of_each_item(run: Path) -> None:
    (run / "COMPLETE").unlink()
    assert docs(shown(run, "--wrong")) == [("sums", 1), ("sums", 4), ("sums", 7)]


def test_where_less_is_better_the_best_score_is_zero(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "run", {"sums": [0.0, 0.5]})
    chosen = choose(
        DirectoryStore(tmp_path / "run"), SampleRequest(wrong=True), {"sums": (("exact_match", "none"), True)}
    )
    assert [place.here.row for place in chosen.places] == [1]
    assert main_scores_of(None) == {}


def test_the_page_shows_a_models_markup_as_text_and_loads_nothing() -> None:
    one = ShownAnswer(HOSTILE, ((HOSTILE, HOSTILE),), ((HOSTILE, HOSTILE),), HOSTILE)
    page = samples_html(
        SamplesContent(HOSTILE, HOSTILE, [Sample(HOSTILE, HOSTILE, HOSTILE, HOSTILE, one, one)])
    ).decode()
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|img|iframe|a)\b", page)
    assert "\x1b" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page


def test_the_page_is_bounded_and_says_what_is_left_out() -> None:
    one = ShownAnswer("x" * 3_000, (), (), "")
    sample = Sample("t", "1", "y" * 3_000, "", one)
    page = samples_html(SamplesContent("Samples", "Many.", [sample] * 5_000))
    assert len(page) <= MOST_BYTES
    assert b"The page would be too long with all of them: 625 are on it." in page or b"1250 are on it" in page


def test_the_terminal_never_gets_control_characters(tmp_path: Path) -> None:
    scores = json.dumps({"none": {"exact\x1b[31m": 0.5}})
    write_evalrun(tmp_path / "run", {"sums": [scores]}, style="\x1b]0;title\x07Q")
    output = shown(tmp_path / "run")
    assert "\x1b" not in output and "\x07" not in output
    assert "⟦U+001B⟧" in output


def test_the_page_is_written_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "samples.html"
    assert shown(run, "--wrong", "--html", file).strip() == str(file)
    assert file.read_text(encoding="utf-8").count("<details>") == 3


def test_programs_that_did_not_pass_say_how_they_ended() -> None:
    ends = [{"cause": "passed", "detail": ""}, {"cause": "timedOut", "detail": ""}]
    ends += [{"cause": "raised", "detail": "AssertionError: "}] * 3
    item = Item("code", 0, {}, (), "h", 1.0)
    result = ItemResult(0, "h", Outcome(ItemStatus.OK), "{}", "{}", executions=json.dumps(ends))
    assert shown_answer(item, result).why == (
        "its program: timedOut; its program: raised (AssertionError: ); its program: raised (AssertionError: ); "
        "1 more did not pass"
    )
