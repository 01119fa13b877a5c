"""``evalrun power`` from the outside."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from evalrun_runner.cli.app import app
from evalrun_runner.errors import InputError


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["power", *arguments], standalone_mode=False)


def test_a_difference_takes_so_many_items() -> None:
    first = asked("--difference", "0.02").output.splitlines()[0]
    assert first == "It takes 2,512 items to find a difference of 2 points in 8 of 10 comparisons."


def test_so_many_items_find_a_difference() -> None:
    lines = asked("--items", "1000").output.splitlines()
    assert lines[0] == "1,000 items find a difference of 3.2 points or more in 8 of 10 comparisons."
    assert lines[1] == "One score of 80% then means: between 77.4% and 82.4%."


@pytest.mark.parametrize(("margin", "least"), [("0.005", 539), ("0.01", 268), ("0.02", 133), ("0.05", 52)])
def test_a_gate_that_can_never_pass_is_named(margin: str, least: int) -> None:
    output = asked("--items", str(least - 1), "--margin", margin).output
    assert f"can never pass with {least - 1} items: it takes {least}, even if no item changes." in output
    assert "can never pass" not in asked("--items", str(least), "--margin", margin).output


def test_the_exact_bound_of_gates_is_told_beside_tangos() -> None:
    assert "If no item changes at all, it passes from 299 items on" in asked("--margin", "0.01").output
    assert "If no item changes at all" not in asked("--margin", "0.01", "--confidence", "0.999").output


def test_a_minimum_has_its_least_items() -> None:
    assert (
        "A gate with min: 0.9 can never pass with 28 items: it takes 29"
        in asked("--min", "0.9", "--items", "28").output
    )
    assert "can never pass, with any number of items" in asked("--min", "1").output


def test_repeats_are_worth_what_is_noise() -> None:
    found = json.loads(asked("--difference", "0.02", "--noise", "0.064", "--repeats", "4", "--json").output)
    assert found["answers"]["itemsForDifference"] == 1570
    assert found["assumed"]["repeats"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], None),
        (["--score", "0.5"], "nothing is asked: give --items, --difference, --margin or --min"),
        (["--items", "0"], "--items 0: expected 1 or more"),
        (["--difference", "2"], "--difference 2: expected a number above 0 and below 1, such as 0.02"),
        (["--margin", "2"], "--margin 2: expected a number from 0 to 1, such as 0.02 for two points"),
        (["--items", "9", "--repeats", "3"], "--repeats 3: repeats only remove noise, so --noise is needed"),
        (["--items", "9", "--noise", "0.5"], "--noise 0.5: more items flip between runs of one model than change"),
    ],
)
def test_options_are_checked(arguments: list[str], message: str | None) -> None:
    result = asked(*arguments)
    if message is None:
        assert result.exception is not None
        return
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(message)


@pytest.mark.parametrize("items", [1, 5, 7])
def test_a_handful_of_items_finds_no_difference_however_great(items: int) -> None:
    """McNemar's exact test on 5 changed items has a p-value of 1/16 at the least."""
    output = asked("--items", str(items)).output
    assert "no difference can be found" in output


def test_one_item_is_one_item_and_no_confidence_a_certainty() -> None:
    output = asked("--items", "1", "--margin", "0.01", "--confidence", "0.9999999").output
    assert "1 items" not in output
    assert "99.99999% confidence" in output
