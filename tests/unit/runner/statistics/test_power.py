"""What a benchmark can find: closed values, and simulation with the gate's own rule."""

from __future__ import annotations

import numpy as np
import pytest

from evalrun_api import Verdict
from evalrun_api.detectable import least_items_to_pass
from evalrun_runner.statistics.decisions import decide_regression
from evalrun_runner.statistics.paired_data import PairedData
from evalrun_runner.statistics.power import (
    items_to_pass,
    regression_chances,
)


@pytest.mark.parametrize(("margin", "items"), [(0.005, 598), (0.01, 299), (0.02, 149), (0.05, 59)])
def test_the_least_items_are_the_first_that_the_gate_passes_unchanged(margin: float, items: int) -> None:
    assert least_items_to_pass(margin) == items
    for n, verdict in ((items, Verdict.PASSED), (items - 1, Verdict.INCONCLUSIVE)):
        assert decide_regression(PairedData([1] * n, [1] * n), margin).verdict is verdict


def test_chances_of_a_regression_gate_are_those_of_simulated_gates() -> None:
    rng, n = np.random.default_rng(2), 200
    chances = regression_chances(n, 0.03, 0.08, -0.02)
    verdicts = []
    for _ in range(300):
        lost, gained, _rest = rng.multinomial(n, [0.05, 0.03, 0.92])
        new = [0] * lost + [1] * (n - lost)
        old = [1] * lost + [0] * gained + [1] * (n - lost - gained)
        verdicts.append(decide_regression(PairedData(new, old), 0.03).verdict)
    assert verdicts.count(Verdict.PASSED) / 300 == pytest.approx(chances.passed, abs=0.07)
    assert verdicts.count(Verdict.FAILED) / 300 == pytest.approx(chances.failed, abs=0.07)
    assert chances.passed + chances.failed + chances.inconclusive == pytest.approx(1.0)


@pytest.mark.parametrize("n", [50, 57, 100, 133, 200, 268, 300, 1319])
@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02, 0.05])
def test_a_gate_at_its_margin_is_wrong_in_at_most_56_of_1000_runs_each_way(n: int, margin: float) -> None:
    for discordance in (margin, 0.06, 0.08, 0.12, 0.2, 0.3):
        chances = regression_chances(n, margin, discordance, -margin)
        assert chances.passed <= 0.0561
        assert chances.failed <= 0.0561


def test_the_items_for_a_gate_pass_it_with_the_power() -> None:
    n = items_to_pass(0.02, 0.1)
    assert n is not None
    assert 0.8 <= regression_chances(n, 0.02, 0.1).passed < 0.83
    assert items_to_pass(0.02, 0.1, difference=-0.03) is None
