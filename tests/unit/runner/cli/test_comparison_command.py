"""``evalrun compare`` from the outside: its first line, its JSON, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evalrun_runner.cli.app import app
from evalrun_runner.errors import InputError
from support.compared import write_evalrun

WORSE = [1.0, 0.0] * 30
BETTER = [1.0, 1.0] * 25 + [1.0, 0.0] * 5


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    write_evalrun(tmp_path / "base", {"sums": WORSE}, model="one")
    write_evalrun(tmp_path / "cand", {"sums": BETTER}, model="two")
    return [str(tmp_path / "base"), str(tmp_path / "cand")]


def compared(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], standalone_mode=False)


def test_the_first_line_says_what_came_of_it(places: list[str]) -> None:
    lines = compared(*places).output.splitlines()
    assert lines[0] == "cand is better than base by 41.7 points (between 30.1 and 54.3)."
    assert any("gained: sums document 1: exact_match 0 with base, 1 with cand" in line for line in lines)
    assert any("+0.3006 … +0.5427" in line for line in lines)


def test_json_is_one_object_with_the_numbers(places: list[str]) -> None:
    found = json.loads(compared(*places, "--json", "--items", "2").output)
    assert found["summary"] == "cand is better than base by 41.7 points (between 30.1 and 54.3)."
    (score,) = found["scores"]
    assert score["counts"] == {"bothRight": 30, "baselineOnly": 0, "candidateOnly": 25, "neither": 5}
    assert (score["finding"], score["n"]) == ("better", 60)
    assert len(found["changedItems"]) == 2


@pytest.mark.parametrize(
    ("order", "margin", "code"), [((0, 1), None, 0), ((0, 1), "0.05", 0), ((1, 0), "0.05", 3), ((0, 0), "0.01", 4)]
)
def test_the_exit_code_answers_the_margin(
    places: list[str], order: tuple[int, int], margin: str | None, code: int
) -> None:
    chosen = [places[place] for place in order]
    assert compared(*chosen, *([] if margin is None else ["--margin", margin])).return_value == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "2"], "--margin 2: expected a difference of scores, such as 0.02 for two points"),
        (["--margin", "-1"], "--margin -1: expected a loss that is accepted"),
        (["--confidence", "95"], "--confidence 95: expected a number from 0.5 to below 1, such as 0.95"),
        (["--items", "-3"], "--items -3: expected a number of items to show, 0 or more"),
        (["--range", "5"], "--range 5: expected the least and the greatest possible score, such as 1:5"),
    ],
)
def test_options_are_checked(places: list[str], arguments: list[str], message: str) -> None:
    error = compared(*places, *arguments).exception
    assert isinstance(error, InputError)
    assert str(error).startswith(message)


def test_text_of_a_model_cannot_write_on_the_terminal(tmp_path: Path, places: list[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("item,[red]a[/red],b\n\x1b[2J[bold]x,1,0\ny,0,1\n")
    output = compared(str(table)).output
    assert "\x1b" not in output
    assert "[red]a[/red]" in output
    assert "[bold]x" in output


def test_three_runs_are_ranked_and_drawn(tmp_path: Path) -> None:
    table, picture = tmp_path / "t.csv", tmp_path / "ranks.svg"
    rows = [f"{item},1,{int(item < 40)},{int(item < 10)}" for item in range(60)]
    table.write_text("\n".join(["item,a,b,c", *rows]))
    lines = compared(str(table), "--figure", str(picture)).output.splitlines()
    assert lines[0] == "a is the best of 3 runs: it scores 100.0% and is better than each other one."
    assert picture.read_text().startswith("<svg")
    found = json.loads(compared(str(table), "--json").output)
    assert [run["run"] for run in found["ranking"]] == ["a", "b", "c"]
    assert len(found["pairs"]) == 3


def test_a_margin_and_a_picture_are_for_as_many_runs_as_they_take(tmp_path: Path, places: list[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("item,a,b,c\nx,1,0,1\n")
    for arguments, message in (
        ([str(table), "--margin", "0.1"], "--margin compares two runs, and here are more"),
        ([*places, "--figure", "ranks.svg"], "--figure draws the ranks of three runs or more"),
        ([str(table), "--figure", "ranks.png"], "--figure ranks.png: expected the name of an SVG file"),
    ):
        error = compared(*arguments).exception
        assert isinstance(error, InputError)
        assert str(error).startswith(message)


def test_a_damaged_part_is_wrong_input_with_its_name_and_what_to_do(places: list[str]) -> None:
    part = next(Path(places[1]).glob("parts/*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    error = compared(*places).exception
    assert isinstance(error, InputError)
    assert f"{part.name} is damaged" in str(error)
    assert "\nhint: remove COMPLETE from that output and start the run again" in str(error)


def test_no_confidence_is_printed_as_a_certainty(places: list[str]) -> None:
    assert "how: 99.99999% intervals" in compared(*places, "--confidence", "0.9999999").output


def test_a_very_long_name_of_a_model_is_cut_in_its_middle(tmp_path: Path) -> None:
    table, name = tmp_path / "t.csv", "m" * 500
    table.write_text(f"item,{name},b\nx,1,0\ny,0,1\n")
    output = compared(str(table)).output
    assert "mmm…mmm" in output.splitlines()[0]
    assert "m" * 100 not in output


def test_two_long_names_that_would_be_one_stay_whole(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    names = [f"{'m' * 100}{number}{'m' * 100}" for number in range(2)]
    table.write_text(f"item,{names[0]},{names[1]}\nx,1,0\ny,0,1\n")
    assert names[0] in compared(str(table)).output.splitlines()[0]
