"""Errors, power and saved items of runs that stop early: simulated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from bench.statistics.page import Claim, CoverageTable
from evalrun_runner.statistics.paired import PairedCounts, chance_of_fewer, chance_of_more, compare_with_margin
from evalrun_runner.statistics.spending import look_levels

ALPHA, MARGIN, MINIMUM, DISCORDANCE = 0.05, 0.02, 0.75, 0.1
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)


@cache
def _paired(lost: int, gained: int, n: int) -> tuple[float, float]:
    test = compare_with_margin(PairedCounts(n - lost - gained, lost, gained, 0), MARGIN)
    return test.p_within, test.p_beyond


@cache
def _minimum(right: int, n: int) -> tuple[float, float]:
    return chance_of_more(right, n, MINIMUM), chance_of_fewer(right, n, MINIMUM)


def _stop(p_values: Sequence[tuple[float, float]], levels: Sequence[float]) -> tuple[int, int]:
    """Return the verdict (1 passed, -1 failed, 0 neither) and the number of the look at which the run ends."""
    for look, ((within, beyond), level) in enumerate(zip(p_values, levels, strict=True)):
        if within <= level:
            return 1, look
        if beyond <= level:
            return -1, look
    return 0, len(levels) - 1


def stopping(repetitions: int) -> CoverageTable:
    """Return errors, power and items of runs with five looks, beside those of whole runs."""
    rows: list[list[str]] = []
    errors: list[float] = []
    losses: list[float] = []
    count = max(200, repetitions // 2)
    levels = look_levels(ALPHA, SHARES)
    cases = [("regression", n, true) for n in (300, 1319) for true in (-0.06, -0.05, -0.02, 0.0, 0.02, 0.05)]
    cases += [("min 0.75", n, true) for n in (300, 1319) for true in (0.65, 0.7, 0.75, 0.8, 0.85)]
    for place, (kind, n, true) in enumerate(cases):
        random = np.random.default_rng([10, place])
        ends = np.array([round(share * n) for share in SHARES])
        verdicts = np.zeros((count, 2), dtype=np.int64)
        items = 0
        for run in range(count):
            draws = random.random(n)
            if kind == "regression":
                loss = np.cumsum(draws < (DISCORDANCE - true) / 2)[ends - 1]
                changed = np.cumsum(draws < DISCORDANCE)[ends - 1]
                found = [_paired(int(c), int(d - c), int(e)) for c, d, e in zip(loss, changed, ends, strict=True)]
            else:
                right = np.cumsum(draws < true)[ends - 1]
                found = [_minimum(int(r), int(e)) for r, e in zip(right, ends, strict=True)]
            verdict, look = _stop(found, levels)
            whole, _ = _stop(found[-1:], (ALPHA,))
            verdicts[run] = verdict, whole
            items += int(ends[look])
        passed, failed = 100 * (verdicts == 1).mean(axis=0), 100 * (verdicts == -1).mean(axis=0)
        at_bound = true == (-MARGIN if kind == "regression" else MINIMUM)
        if at_bound:
            errors += [float(passed[0]), float(failed[0])]
        else:
            losses.append(float(max(passed[1] - passed[0], failed[1] - failed[0])))
        numbers = (f"{passed[0]:.1f}", f"{passed[1]:.1f}", f"{failed[0]:.1f}", f"{failed[1]:.1f}")
        rows.append([kind, f"{n:,}", f"{true:g}", *numbers, f"{100 * items / count / n:.0f}%"])
    error = 100 * (ALPHA * (1 - ALPHA) / count) ** 0.5
    claims = [
        Claim("stopping early, at the bound: wrong in at most 5.6% each way", max(errors), at_most=5.6, error=error),
        Claim("stopping early: at most 3 points fewer verdicts than whole runs", max(losses), at_most=3.0, error=error),
    ]
    how = (
        "Percentage of runs that pass and fail, with five looks in a random order and at the end alone: a regression "
        f"of at most {MARGIN:g}, {DISCORDANCE:.0%} of the items changed, and a minimum of {MINIMUM:g}. Half the data "
        "sets of the other tables."
    )
    header = ("gate", "n", "truth", "passed", "whole run", "failed", "whole run", "items used")
    return CoverageTable("Stopping early: simulated", how, header, rows, claims)
