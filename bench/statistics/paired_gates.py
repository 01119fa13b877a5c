"""Errors of gates against a baseline: exact for one gate, simulated for several together."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.statistics.page import Claim, CoverageTable
from evalrun_api import Verdict
from evalrun_runner.statistics.decisions import Criterion, GateDecision, fold
from evalrun_runner.statistics.paired import PairedCounts, compare_with_margin
from evalrun_runner.statistics.power import regression_chances

MARGINS = (0.005, 0.01, 0.02, 0.05)
SIZES = (50, 75, 100, 133, 150, 200, 268, 300, 500, 1000, 2000)
CHANGED = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5)
ALPHA, MARGIN, DISCORDANCE = 0.05, 0.02, 0.128


def regressions(_: int) -> CoverageTable:
    """Return the exact errors of `maxRegression` on 0/1 scores, at a true loss of exactly the margin."""
    rows: list[list[str]] = []
    worst_pass, worst_fail = 0.0, 0.0
    for margin in MARGINS:
        for n in SIZES:
            shares = sorted({margin, *(one for one in CHANGED if one > margin)})
            chances = [(regression_chances(n, margin, share, -margin), share) for share in shares]
            passed, at_pass = max((chance.passed, share) for chance, share in chances)
            failed, at_fail = max((chance.failed, share) for chance, share in chances)
            worst_pass, worst_fail = max(worst_pass, passed), max(worst_fail, failed)
            numbers = (f"{100 * passed:.2f}", f"{at_pass:g}", f"{100 * failed:.2f}", f"{at_fail:g}")
            rows.append([f"{margin:g}", f"{n:,}", *numbers])
    claims = [
        Claim("gate on a regression, from 50 items on: wrongly passed in at most 5.6%", 100 * worst_pass, at_most=5.6),
        Claim("gate on a regression, from 50 items on: wrongly failed in at most 5.6%", 100 * worst_fail, at_most=5.6),
    ]
    how = (
        "Percentage of wrong verdicts of `maxRegression` with confidence 0.95 where the true loss is exactly the "
        "margin, which is the worst case on both sides; the greatest over the share of items that change, from the "
        "margin to 0.5. Computed from all outcomes, not simulated."
    )
    header = ("margin", "n", "wrongly passed", "at changed share", "wrongly failed", "at changed share")
    return CoverageTable("Gates on a regression: exact", how, header, rows, claims)


@cache
def _decision(lost: int, gained: int, n: int) -> GateDecision:
    test = compare_with_margin(PairedCounts(n - lost - gained, lost, gained, 0), MARGIN)
    verdict = Verdict.INCONCLUSIVE
    if test.p_within <= ALPHA:
        verdict = Verdict.PASSED
    elif test.p_beyond <= ALPHA:
        verdict = Verdict.FAILED
    value = (gained - lost) / n
    return GateDecision(Criterion.REGRESSION, verdict, value, value, value, -MARGIN, 1 - ALPHA, test.p_beyond)


def _run(random: np.random.Generator, n: int, differences: list[float], shared: float) -> Verdict | None:
    """Draw a run with several gates, whose items are the same ones with a probability, and return its verdict."""
    common = random.random(n)
    decisions = []
    for difference in differences:
        own = np.where(random.random(n) < shared, common, random.random(n))
        loss = (DISCORDANCE - difference) / 2
        lost = int(np.count_nonzero(own < loss))
        decisions.append(_decision(lost, int(np.count_nonzero(own < DISCORDANCE)) - lost, n))
    return fold(decisions).verdict


def families(repetitions: int) -> CoverageTable:
    """Return the simulated errors of several gates together."""
    rows: list[list[str]] = []
    worst = {Verdict.PASSED: 0.0, Verdict.FAILED: 0.0}
    count = max(200, repetitions // 2)
    for place, (n, gates, shared) in enumerate(
        (n, gates, shared) for n in (300, 1000) for gates in (1, 3, 10) for shared in (0.0, 0.9)
    ):
        at_margin = [-MARGIN] * gates
        one_beyond = [-MARGIN, *[0.01] * (gates - 1)]
        random = np.random.default_rng([9, place])
        failed = sum(_run(random, n, at_margin, shared) is Verdict.FAILED for _ in range(count)) / count
        passed = sum(_run(random, n, one_beyond, shared) is Verdict.PASSED for _ in range(count)) / count
        worst[Verdict.FAILED] = max(worst[Verdict.FAILED], failed)
        worst[Verdict.PASSED] = max(worst[Verdict.PASSED], passed)
        rows.append([str(gates), f"{n:,}", f"{shared:g}", f"{100 * passed:.2f}", f"{100 * failed:.2f}"])
    error = 100 * (0.05 * 0.95 / count) ** 0.5
    claims = [
        Claim(
            f"1 to 10 gates together: wrongly {verdict.value.lower()} in at most 5.6%",
            100 * share,
            at_most=5.6,
            error=error,
        )
        for verdict, share in worst.items()
    ]
    how = (
        f"Percentage of wrong verdicts of runs: passed, although one of the gates is at its margin of {MARGIN:g} and "
        "the others gained a point; failed, although every gate is exactly at its margin. The items of the gates are "
        f"the same ones with the stated probability. {DISCORDANCE:.1%} of the items change. Half the data sets of the "
        "other tables."
    )
    header = ("gates", "n", "same items", "wrongly passed", "wrongly failed")
    return CoverageTable("Several gates together: simulated", how, header, rows, claims)
