"""Objections as one refusal or as warnings."""

from __future__ import annotations

import pytest

from evalrun_runner.benchmarks.checks.objections import Objection, settle
from evalrun_runner.errors import InputError


def test_what_several_tasks_share_is_said_once() -> None:
    with pytest.raises(InputError) as caught:
        settle([Objection(f"t{number}", "it is wrong", "mend it") for number in range(5)])

    assert str(caught.value) == "tasks 't0', 't1', 't2' and 2 more: it is wrong\nhint: mend it"


def test_a_refusal_names_everything_up_to_a_bound() -> None:
    with pytest.raises(InputError) as caught:
        settle([Objection("t", f"fault {number}") for number in range(7)])

    lines = str(caught.value).splitlines()
    assert lines[0] == "task 't': fault 0"
    assert lines[-1] == "and 2 more"


def test_what_does_not_refuse_is_a_warning() -> None:
    (warning,) = settle(
        [Objection("a", "it is odd", "look", refused=False), Objection("b", "it is odd", "look", False)]
    )

    assert warning.line == "tasks a, b: it is odd; hint: look"


def test_a_long_warning_is_cut_to_what_a_warning_holds() -> None:
    (warning,) = settle([Objection("t" * 900, "w" * 5000, refused=False)])

    assert len(warning.about) <= 256
    assert len(warning.message) <= 1024
