"""Items that a gate needs before it can pass at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_api import Gate, GateRule
from evalrun_api.detectable import least_items, least_items_for_bound, least_items_to_pass, needed_items, why_never

MARGINS = st.floats(0.001, 0.999)
CONFIDENCES = st.floats(0.5, 0.999)


@pytest.mark.parametrize(("margin", "items"), [(0.005, 539), (0.01, 268), (0.02, 133), (0.05, 52)])
def test_least_items_without_a_changed_item(margin: float, items: int) -> None:
    # Tango, Statistics in Medicine 17 (1998) 891: without discordant pairs the lower bound is -z^2 / (n + z^2).
    assert least_items(margin) == items
    z_squared = 1.6448536269514722**2
    assert z_squared / (items + z_squared) <= margin < z_squared / (items - 1 + z_squared)


@pytest.mark.parametrize(("margin", "items"), [(0.005, 598), (0.01, 299), (0.02, 149), (0.05, 59)])
def test_least_items_with_the_exact_guard(margin: float, items: int) -> None:
    assert least_items_to_pass(margin) == items
    assert (1 - margin) ** items <= 0.05 < (1 - margin) ** (items - 1)


def test_high_confidence_makes_tangos_bound_the_stricter_one() -> None:
    assert least_items_to_pass(0.01, 0.999) == least_items(0.01, 0.999)


def test_needed_items_are_named_by_criterion() -> None:
    gate = Gate.model_validate(
        {"task": "t", "metric": "acc", "min": 0.9, "baseline": {"runName": "x"}, "maxRegression": 0.05}
    )
    assert dict(needed_items(gate)) == {"min: 0.9": 29, "maxRegression: 0.05": 59}
    assert why_never(gate, 59) is None
    assert why_never(gate, 58) == (
        "maxRegression: 0.05 needs at least 59 items (fewer only if the model became better), and there are 58"
    )
    assert why_never(gate.model_copy(update={"rule": GateRule.POINT}), 1) is None
    assert why_never(Gate(task="t", metric="acc", min=1.0), 1000) == "no number of items can prove min: 1"


def test_margin_of_zero_lets_no_unchanged_model_pass() -> None:
    assert least_items(0.0) is None
    assert least_items(1.0) == 1
    assert least_items_to_pass(0.0) is None


@pytest.mark.parametrize(("bound", "items"), [(0.9, 29), (0.5, 5), (0.05, 1), (0.0, 1), (1.0, None)])
def test_least_items_of_a_minimum(bound: float, items: int | None) -> None:
    assert least_items_for_bound(bound) == items


@given(MARGINS, CONFIDENCES)
def test_more_items_are_needed_for_a_smaller_margin(margin: float, confidence: float) -> None:
    found, smaller = least_items(margin, confidence), least_items(margin / 2, confidence)
    assert found is not None
    assert smaller is not None
    assert smaller >= found >= 1


@given(MARGINS, CONFIDENCES)
def test_all_right_items_reach_a_minimum_from_that_number_on(bound: float, confidence: float) -> None:
    items = least_items_for_bound(bound, confidence)
    assert items is not None
    lowest = (1 - confidence) ** (1 / items)
    assert lowest >= bound or math.isclose(lowest, bound, rel_tol=1e-6)
    assert items == 1 or (1 - confidence) ** (1 / (items - 1)) < bound
