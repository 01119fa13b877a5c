"""A verdict that is certain holds whatever the rest of the run answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalrun_api import Gate, Verdict
from evalrun_runner.comparing.keys import keys_of_hashes
from evalrun_runner.comparing.scored import FloatArray
from evalrun_runner.driver.certainty import GateEvidence, certain_verdicts
from evalrun_runner.driver.gate_decisions import decide_own, decide_paired
from evalrun_runner.driver.gate_items import LeafItems, PairedLeaf, ScoreItems, Weighting

LEVEL = 0.04
BITS = st.lists(st.integers(0, 1), min_size=2, max_size=120)


def gate(**bounds: Any) -> Gate:
    if "maxRegression" in bounds:
        bounds["baseline"] = {"uri": "s3://evals/base/"}
    return Gate.model_validate({"task": "t", "metric": "acc", **bounds})


def leaf(values: FloatArray) -> LeafItems:
    return LeafItems("t", values, lambda: keys_of_hashes([f"{place:064x}" for place in range(len(values))]))


def evidence(asked: Gate, values: FloatArray, ended: int, baseline: FloatArray | None = None) -> GateEvidence:
    known = values[:ended]
    earlier = None if baseline is None else (leaf(baseline),)
    return GateEvidence(asked, ScoreItems(float(known.mean()), (leaf(known),)), (len(values),), earlier)


def final(asked: Gate, values: FloatArray, baseline: FloatArray | None, level: float) -> Verdict:
    """Decide at the end, with every item there."""
    at_end = asked.model_copy(update={"confidence": 1 - level})
    if baseline is not None:
        pairs = [PairedLeaf(values, baseline, 0, None)]
        decisions = decide_paired(at_end, pairs, Weighting.ITEMS, lower_is_better=False).decisions
    else:
        decisions = decide_own(at_end, ScoreItems(float(values.mean()), (leaf(values),))).decisions
    verdict = Verdict.overall(one.verdict for one in decisions)
    assert verdict is not None
    return verdict


@settings(max_examples=150, deadline=None)
@given(
    bits=BITS, share=st.floats(0.3, 0.99), bound=st.sampled_from([0.1, 0.5, 0.9]), kind=st.sampled_from(["min", "max"])
)
def test_a_certain_verdict_is_the_one_at_the_end(bits: list[int], share: float, bound: float, kind: str) -> None:
    values = np.array(bits, dtype=float)
    asked = gate(**{kind: bound})
    found = certain_verdicts([evidence(asked, values, max(1, int(share * len(values))))], LEVEL)
    if found is not None:
        assert found == (final(asked, values, None, LEVEL),)


@settings(max_examples=100, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=4, max_size=120),
    share=st.floats(0.5, 0.99),
    margin=st.sampled_from([0.05, 0.2]),
)
def test_a_certain_verdict_against_a_baseline_is_the_one_at_the_end(
    pairs: list[tuple[int, int]], share: float, margin: float
) -> None:
    values, baseline = np.array(pairs, dtype=float).T
    asked = gate(maxRegression=margin)
    found = certain_verdicts([evidence(asked, values, max(1, int(share * len(values))), baseline)], LEVEL)
    if found is not None:
        assert found == (final(asked, values, baseline, LEVEL),)


@pytest.mark.parametrize(
    ("right", "ended", "bound", "expected"),
    [(0, 60, 0.75, Verdict.FAILED), (95, 95, 0.75, Verdict.PASSED), (20, 40, 0.75, None), (0, 10, 0.75, None)],
)
def test_a_minimum_is_certain_once_the_rest_is_too_little(
    right: int, ended: int, bound: float, expected: Verdict | None
) -> None:
    values = np.zeros(100)
    values[:right] = 1
    found = certain_verdicts([evidence(gate(min=bound), values, ended)], LEVEL)
    assert found == (None if expected is None else (expected,))


def test_one_gate_that_surely_fails_is_enough_and_one_that_passes_is_not() -> None:
    failing, open_gate = np.zeros(100), np.concatenate([np.ones(30), np.zeros(30), np.ones(40)])
    bad = evidence(gate(min=0.9), failing, 60)
    undecided = evidence(gate(min=0.6), open_gate, 60)
    good = evidence(gate(max=0.9), failing, 60)
    assert certain_verdicts([bad, undecided], LEVEL) == (Verdict.FAILED, None)
    assert certain_verdicts([good, undecided], LEVEL) is None


def test_values_between_0_and_1_are_never_certain() -> None:
    values = np.full(100, 0.5)
    assert certain_verdicts([evidence(gate(min=0.9), values, 99)], LEVEL) is None


@pytest.mark.parametrize(("ended", "expected"), [(89, None), (90, (Verdict.PASSED,))])
def test_a_bare_score_is_certain_by_its_least_and_greatest_value(
    ended: int, expected: tuple[Verdict, ...] | None
) -> None:
    asked = gate(max=0.1, rule="point")
    assert certain_verdicts([evidence(asked, np.zeros(100), ended)], LEVEL) == expected
