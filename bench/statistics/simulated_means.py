"""Simulated coverage of bounded means, repeats, pass@k, reruns, F1, ratios and groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bench.statistics.page import Answer, Claim, CoverageTable, Tally, least_claim, mean_claim, simulate
from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.classes import ClassCounts, f1_interval
from evalrun_runner.statistics.groups import Leaf, group_interval
from evalrun_runner.statistics.ratios import RatioData, ratio_interval
from evalrun_runner.statistics.repeats import pass_at_k, rerun_interval
from evalrun_runner.statistics.scores import ScoreData, score_interval

SIZES = (50, 100, 300, 1000)
HEADER = ("data", "n", "coverage", "± ", "true value below", "true value above", "mean width")


def _mixture(parts: Mapping[float, Callable[[np.random.Generator, int], FloatArray]]) -> Callable[..., FloatArray]:
    """Return a drawer of a mixture: share of each part, and how to draw from it."""

    def draw(random: np.random.Generator, n: int) -> FloatArray:
        which = random.choice(len(parts), n, p=list(parts))
        columns = np.stack([part(random, n) for part in parts.values()])
        return np.asarray(columns[which, np.arange(n)], dtype=np.float64)

    return draw


def _point(value: float) -> Callable[[np.random.Generator, int], FloatArray]:
    return lambda random, n: np.full(n, value)


def _beta(a: float, b: float) -> Callable[[np.random.Generator, int], FloatArray]:
    return lambda random, n: random.beta(a, b, n)


def _uniform(low: float, high: float) -> Callable[[np.random.Generator, int], FloatArray]:
    return lambda random, n: random.uniform(low, high, n)


SHAPES: Mapping[str, tuple[Callable[..., FloatArray], float]] = {
    "60% 1, 30% 0, 10% between": (_mixture({0.6: _point(1), 0.3: _point(0), 0.1: _uniform(0, 1)}), 0.65),
    "90% 1, 8% Beta(8, 2), 2% 0": (_mixture({0.9: _point(1), 0.08: _beta(8, 2), 0.02: _point(0)}), 0.964),
    "90% 0, 10% Beta(1, 3)": (_mixture({0.9: _point(0), 0.1: _beta(1, 3)}), 0.025),
    "97% 0, 3% from 0.5 to 1": (_mixture({0.97: _point(0), 0.03: _uniform(0.5, 1)}), 0.0225),
    "30% 0, 29% 1, 41% Beta(2, 2)": (_mixture({0.3: _point(0), 0.29: _point(1), 0.41: _beta(2, 2)}), 0.495),
    "Beta(2, 5)": (_beta(2, 5), 2 / 7),
    "95% 1, 5% from 0 to 1": (_mixture({0.95: _point(1), 0.05: _uniform(0, 1)}), 0.975),
}
ABILITIES = {(0.5, 0.5): 0.5, (5.0, 5.0): 0.5, (0.9, 0.1): 0.9, (0.06, 0.54): 0.1}
"""Beta distributions of the items' chances to be answered right, with their means."""


def row(name: str, n: str, tally: Tally) -> list[str]:
    """Return the row of one simulated cell."""
    numbers = (tally.covered, tally.error, tally.above, tally.below)
    return [name, n, *(f"{number:.2f}" for number in numbers), f"{tally.width:.4f}"]


def means(repetitions: int) -> CoverageTable:
    """Return the table of bounded means."""
    rows, large = [], []
    for place, (name, (draw, truth)) in enumerate(SHAPES.items()):
        for n in SIZES:

            def answer(random: np.random.Generator, draw: Callable[..., FloatArray] = draw, n: int = n) -> Answer:
                return score_interval(ScoreData(draw(random, n)))

            tally = simulate(answer, truth, repetitions, (1, place, n))
            rows.append(row(name, f"{n:,}", tally))
            if n >= 100:
                large.append(tally)
    claims = [
        least_claim("scores between two bounds, n from 100 on, every shape: at least 94%", large, 94.0),
        mean_claim("scores between two bounds, n from 100 on, mean over the shapes: 94.5 to 97.5%", large, 94.5, 97.5),
    ]
    how = "Seven shapes of scores between 0 and 1, most of them with many items at an end of the range."
    return CoverageTable("Scores between two bounds: simulated", how, HEADER, rows, claims)


def repeats(repetitions: int) -> CoverageTable:
    """Return the table of items with repeats: other items, pass@k, and reruns of the same items."""
    rows, items, reruns = [], [], []
    for place, ((a, b), truth) in enumerate(ABILITIES.items()):
        for count, k in ((4, 2), (10, 5)):
            # pass@k of a beta-distributed chance: 1 - E[(1 - p)^k].
            passed = 1 - float(np.prod([(b + step) / (a + b + step) for step in range(k)]))
            for n in (100, 300):
                chances = np.random.default_rng([place, count, n]).beta(a, b, n)

                def of_items(
                    random: np.random.Generator, a: float = a, b: float = b, c: int = count, n: int = n
                ) -> Answer:
                    return score_interval(ScoreData(random.binomial(c, random.beta(a, b, n)) / c))

                def of_pass(
                    random: np.random.Generator, a: float = a, b: float = b, c: int = count, k: int = k, n: int = n
                ) -> Answer:
                    return score_interval(
                        ScoreData(pass_at_k(random.binomial(c, random.beta(a, b, n)), np.full(n, c), k))
                    )

                def of_reruns(random: np.random.Generator, chances: FloatArray = chances, c: int = count) -> Answer:
                    return rerun_interval((random.random((len(chances), c)) < chances[:, None]).astype(float))

                what = f"Beta({a}, {b}), {count} repeats"
                seed = (2, place, count, n)
                items += [simulate(of_items, truth, repetitions, seed), simulate(of_pass, passed, repetitions, seed)]
                reruns.append(simulate(of_reruns, float(chances.mean()), repetitions, seed))
                rows += [
                    row(f"mean of repeats, {what}", str(n), items[-2]),
                    row(f"pass@{k}, {what}", str(n), items[-1]),
                    row(f"reruns, {what}", str(n), reruns[-1]),
                ]
    claims = [
        least_claim("repeats and pass@k, n = 100 and 300: at least 94%", items, 94.0),
        least_claim("reruns of the same items, n = 100 and 300: at least 93.5%", reruns, 93.5),
    ]
    how = (
        "Each item has its own chance to be answered right, drawn from a beta distribution; n items with repeats. "
        "For reruns the items and their chances stay the same in all data sets."
    )
    return CoverageTable("Repeats, pass@k and reruns: simulated", how, HEADER, rows, claims)


def labels(repetitions: int) -> CoverageTable:
    """Return the table of the F1 of a class."""
    rows, tallies = [], []
    for n in (100, 300, 1000):
        for share in (0.05, 0.2, 0.5):
            # Positive items are found in 80%, others are called positive in 5%.
            cells = np.array([share * 0.8, (1 - share) * 0.05, share * 0.2, (1 - share) * 0.95])
            truth = float(2 * cells[0] / (2 * cells[0] + cells[1] + cells[2]))

            def answer(random: np.random.Generator, n: int = n, cells: FloatArray = cells) -> Answer:
                right, wrong, missed, _ = random.multinomial(n, cells)
                return f1_interval(ClassCounts(int(right), int(wrong), int(missed)))

            tallies.append(simulate(answer, truth, repetitions, (3, n, int(100 * share))))
            rows.append(row(f"F1, {share:.0%} positive", f"{n:,}", tallies[-1]))
    claims = [least_claim("F1 of a class, n from 100 on: at least 94%", tallies, 94.0)]
    how = "Items of a class are called so in 80%, other items in 5%. A data set without a positive item counts as held."
    return CoverageTable("F1 of one class: simulated", how, HEADER, rows, claims)


def ratios(repetitions: int) -> CoverageTable:
    """Return the table of ratios of sums."""
    rows, tallies = [], []
    for sigma in (0.4, 1.0):
        for n in (50, 100, 300):

            def answer(random: np.random.Generator, sigma: float = sigma, n: int = n) -> Answer:
                lengths = np.maximum(1, np.rint(random.lognormal(3, sigma, n)))
                right = random.binomial(lengths.astype(np.int64), random.beta(4, 1, n))
                return ratio_interval(RatioData(right.astype(np.float64), lengths))

            tallies.append(simulate(answer, 0.8, repetitions, (4, int(10 * sigma), n)))
            rows.append(row(f"right tokens, lengths of sigma {sigma}", str(n), tallies[-1]))
    claims = [least_claim("ratios of sums, n from 50 on: at least 93.5%", tallies, 93.5)]
    how = (
        "Right tokens of all tokens. Items have lognormal lengths around 20 tokens and their own chance of a right "
        "token from Beta(4, 1)."
    )
    return CoverageTable("Ratios of sums: simulated", how, HEADER, rows, claims)


def groups(repetitions: int) -> CoverageTable:
    """Return the table of groups over fixed tasks."""
    random = np.random.default_rng(11)
    sizes = random.integers(100, 400, 57)
    shapes = {
        "57 tasks of 100 to 400": (sizes, random.beta(6, 2, 57)),
        "57 tasks of 5": (np.full(57, 5), random.beta(6, 2, 57)),
        "27 tasks of 20, hard and easy": (np.full(27, 20), np.where(np.arange(27) % 2 == 0, 0.15, 0.92)),
        "8 tasks of 10 near the ceiling": (np.full(8, 10), np.full(8, 0.97)),
    }
    rows, tallies = [], []
    for place, (name, (counts, chances)) in enumerate(shapes.items()):
        for kind, weights in (("equal weights", np.ones(len(counts))), ("weights by size", counts.astype(float))):
            truth = float(np.average(chances, weights=weights))

            def answer(
                random: np.random.Generator,
                counts: np.ndarray[tuple[int], np.dtype[np.int64]] = counts,
                chances: FloatArray = chances,
                weights: FloatArray = weights,
            ) -> Answer:
                right = random.binomial(counts, chances)
                return group_interval(
                    [
                        Leaf(np.repeat([1.0, 0.0], [good, count - good]), float(weight))
                        for good, count, weight in zip(right, counts, weights, strict=True)
                    ]
                )

            tallies.append(simulate(answer, truth, max(200, repetitions // 4), (5, place, len(kind))))
            rows.append(row(f"{name}, {kind}", f"{int(counts.sum()):,}", tallies[-1]))
    claims: list[Claim] = [least_claim("groups of tasks: at least 94%", tallies, 94.0)]
    how = "The tasks and their true scores stay the same. A quarter of the data sets of the other tables."
    return CoverageTable("Groups of tasks: simulated", how, HEADER, rows, claims)
