"""``evalrun compare`` with tables as people really write them: refused in words, or compared without a nan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evalrun_runner.cli.app import app
from evalrun_runner.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def compared(file: Path, text: str, *arguments: str) -> Result:
    file.write_text(text)
    return CliRunner().invoke(app, ["compare", str(file), *arguments], standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its first line names no model"),
        ("item;a;b\nx;1;0\n", "hint: cells are separated by commas"),
        ("item,a,b,a\nx,1,0,1\n", "names the model 'a' twice"),
        ("item,a,b,\nx,1,0,\n", "has a column without a name"),
        ("item,a,b\nx,1_0,0\n", "'1_0' is no score"),
        ("item,a,b\nx,-inf,0\n", "'-inf' is no score"),
        ("item,a,b\nx,1e308,0\n", "'1e308' is no score"),
        ("item,a,b\n", "a, b cannot be compared: no item has a score in two of them"),
        ("item,a,b\nx,1,\ny,,1\n", "a, b cannot be compared: no item has a score in two of them"),
        ("item,a,b,c\nx,1,,\ny,,1,\nz,,,1\n", "a, b, c cannot be compared: no item has a score in two of them"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(file: Path, text: str, message: str) -> None:
    error = compared(file, text).exception
    assert isinstance(error, InputError)
    assert message in str(error)


def test_an_item_that_is_twice_in_a_great_table_is_named_at_once(file: Path) -> None:
    rows = "".join(f"i{number},1,0\n" for number in range(60_000))
    error = compared(file, f"item,a,b\n{rows}i59999,0,1\n").exception
    assert "the item 'i59999' is there twice" in str(error)


@pytest.mark.parametrize("margin", ["nan", "inf"])
def test_a_margin_is_a_number(file: Path, margin: str) -> None:
    error = compared(file, "item,a,b\nx,1,0\n", "--margin", margin, "--range", "0:5").exception
    assert isinstance(error, InputError)


def test_an_unknown_model_is_answered_with_those_that_there_are(file: Path) -> None:
    error = compared(file, "item,a,b\nx,1,0\n", "--only", "gpt").exception
    assert "no CSV file has such a model; there are a, b" in str(error)


def test_a_run_without_any_score_has_a_dash_and_no_number(file: Path) -> None:
    table = "item,a,b,c\nx,,0,1\ny,,1,0\n"
    assert "nan" not in compared(file, table).output
    found = json.loads(compared(file, table, "--json").output)
    scores: dict[str, Any] = {run["run"]: run["score"] for run in found["ranking"]}
    assert scores["a"] is None


def test_no_run_is_ahead_of_its_equals(file: Path) -> None:
    output = compared(file, "item,a,b,c\nx,1,1,0\ny,0,0,0\n").output
    assert output.startswith("None of the 3 runs can be called the best; a, b have the same score, 50.0%.")
