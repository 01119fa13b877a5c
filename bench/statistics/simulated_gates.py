"""Simulated error of the one-sided bounds that decide gates, where the scores are not plain right or wrong items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.statistics.page import Answer, Claim, CoverageTable, Tally, simulate
from bench.statistics.simulated_clusters import CORRELATIONS, DESIGNS, SHARES, draw_clustered
from bench.statistics.simulated_means import SHAPES, SIZES
from evalrun_runner.statistics.arrays import FloatArray, IntArray
from evalrun_runner.statistics.interval import Interval, Method
from evalrun_runner.statistics.scores import ScoreData, gate_bounds


def _greatest(text: str, tallies: list[Tally], at_most: float) -> Claim:
    """Return a claim about the greatest error of either bound."""
    greatest = max(tallies, key=lambda tally: max(tally.above, tally.below))
    return Claim(text, max(greatest.above, greatest.below), at_most=at_most, error=greatest.side_error)


def gates(repetitions: int) -> CoverageTable:
    """Return the table of the errors of gates' bounds."""
    rows: list[list[str]] = []
    bounded: list[Tally] = []
    clustered: list[Tally] = []

    def keep(kept: list[Tally], name: str, n: int, tally: Tally) -> None:
        kept.append(tally)
        rows.append([name, f"{n:,}", *(f"{number:.2f}" for number in (tally.above, tally.below, tally.side_error))])

    for place, (name, (draw, truth)) in enumerate(SHAPES.items()):
        for n in SIZES:

            def of_means(random: np.random.Generator, draw: Callable[..., FloatArray] = draw, n: int = n) -> Answer:
                return Interval(*gate_bounds(ScoreData(draw(random, n))), 0.95, Method.PLUS_FOUR)

            keep(bounded, name, n, simulate(of_means, truth, max(200, repetitions // 2), (7, place, n)))
    for place, (name, (sizes, kind)) in enumerate(DESIGNS.items()):
        codes = np.repeat(np.arange(len(sizes)), sizes)
        for share in SHARES:
            for correlation in CORRELATIONS if kind != "few" else ():

                def of_clusters(
                    random: np.random.Generator,
                    codes: IntArray = codes,
                    share: float = share,
                    correlation: float = correlation,
                ) -> Answer:
                    values = draw_clustered(random, codes, share, correlation)
                    return Interval(*gate_bounds(ScoreData(values, codes)), 0.95, Method.CLOPPER_PEARSON_CLUSTERED)

                seed = (8, place, int(100 * share), int(100 * correlation))
                tally = simulate(of_clusters, share, max(200, repetitions // 5), seed)
                keep(clustered, f"{name}, score {share}, correlation {correlation}", len(codes), tally)
    claims = [
        _greatest("bound of a gate on scores between two bounds: wrong in at most 5.6%", bounded, 5.6),
        _greatest("bound of a gate on clusters: wrong in at most 8%", clustered, 8.0),
    ]
    how = (
        "How often the lower bound of a gate is above the true score (it would pass a model that is just below), and "
        "the upper bound below it. Each is promised for 5% at most. In clusters the promise holds for small "
        "correlations only. Half the data sets of the other tables, a fifth for clusters."
    )
    header = ("data", "n", "lower bound wrong", "upper bound wrong", "±")
    return CoverageTable("Bounds of gates on other scores: simulated", how, header, rows, claims)
