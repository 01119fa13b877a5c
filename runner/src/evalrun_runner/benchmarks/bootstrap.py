"""lm-eval's bootstrap of standard errors: the same resamples and the same value, without its processes and prints.

lm-eval forks a pool of processes, which a driver full of threads must not do, and prints to stdout. Here the resamples
are drawn with numpy, bit for bit those of ``random.Random(i).choices``, and four statistics are computed for many
resamples at once. A fast statistic is used only where it equals lm-eval's own in every digit on the first resamples;
in all other cases the metric's own function is called.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lm_eval.api.metrics
import numpy as np
import numpy.typing as npt
from lm_eval.api.metrics import f1_score, matthews_corrcoef, median, perplexity, sample_stddev

CHUNK = 1000
"""Number of resamples after which lm-eval seeds its generator again."""
CHECKED = 20
"""Number of resamples on which a fast statistic must equal lm-eval's own."""
BLOCK = 2_000_000
"""Number of draws in memory at once."""

Array = npt.NDArray[Any]
Statistic = Callable[[Sequence[Any]], Any]


@contextmanager
def quiet_bootstrap() -> Iterator[None]:
    """Let this module bootstrap lm-eval's standard errors inside the block. Not thread-safe."""
    original = lm_eval.api.metrics.bootstrap_stderr
    lm_eval.api.metrics.bootstrap_stderr = bootstrap_stderr
    try:
        yield
    finally:
        lm_eval.api.metrics.bootstrap_stderr = original


def bootstrap_stderr(f: Statistic, xs: Sequence[Any], iters: int, block: int = BLOCK) -> float:
    """Return what ``lm_eval.api.metrics.bootstrap_stderr`` returns, to the last digit, for the same parameters.

    ``block`` is the number of draws in memory at once.
    """
    chunk = min(CHUNK, iters)
    replicates: list[Any] = []
    with warnings.catch_warnings():
        # Resamples with a single class cause warnings; they are normal, and the statistic has a value for them.
        warnings.simplefilter("ignore")
        compute = _fast(f, xs) or (lambda draws: [f([xs[i] for i in row]) for row in draws])
        for seed in range(iters // chunk):
            for draws in _draws(seed, chunk, len(xs), block):
                replicates += compute(draws)
    return float(sample_stddev(replicates))


def _draws(seed: int, resamples: int, n: int, block: int = BLOCK) -> Iterator[Array]:
    """Yield the indices that ``random.Random(seed).choices(xs, k=n)`` draws, call after call.

    Yields:
        Blocks of shape (rows, n), ``resamples`` rows in total.
    """
    _, state, _ = random.Random(seed).getstate()
    generator = np.random.RandomState()
    generator.set_state(("MT19937", np.array(state[:-1], dtype=np.uint32), state[-1], 0, 0.0))
    rows = max(1, block // n)
    for start in range(0, resamples, rows):
        yield np.floor(generator.random_sample((min(rows, resamples - start), n)) * n).astype(np.int64)


def _fast(f: Statistic, xs: Sequence[Any]) -> Callable[[Array], list[Any]] | None:
    compute = _FAST.get(f)
    if compute is None:
        return None
    values = np.array(xs)
    if values.dtype.kind not in "bif" or (values.ndim == 2 and not np.isin(values, (0, 1)).all()):
        return None
    draws = next(_draws(0, CHECKED, len(xs)))
    expected = [f([xs[i] for i in row]) for row in draws]
    kind = type(expected[0])

    def run(rows: Array) -> list[Any]:
        # The type determines how Python sums the replicates.
        return [kind(one) for one in compute(values[rows])]

    return run if repr(run(draws)) == repr(expected) else None


def _medians(drawn: Array) -> list[Any]:
    middle = drawn.shape[1] // 2
    medians: list[Any] = np.partition(drawn, middle, axis=1)[:, middle].tolist()
    return medians


def _perplexities(drawn: Array) -> list[Any]:
    # Cumulative addition matches Python's sum; numpy's own sum adds in pairs.
    totals = np.cumsum(drawn, axis=1)[:, -1]
    return [math.exp(-(total / drawn.shape[1])) for total in totals.tolist()]


def _counts(drawn: Array) -> tuple[Array, Array, Array, float]:
    """Count 0/1 (gold, predicted) pairs per resample: both 1, gold 1, predicted 1, and the number of pairs."""
    gold, predicted = drawn[..., 0].astype(bool), drawn[..., 1].astype(bool)
    counted = [column.sum(axis=1, dtype=np.float64) for column in (gold & predicted, gold, predicted)]
    return counted[0], counted[1], counted[2], float(drawn.shape[1])


def _f1_scores(drawn: Array) -> list[Any]:
    both, gold, predicted, _ = _counts(drawn)
    marked = gold + predicted
    scores: list[Any] = np.divide(2 * both, marked, out=np.zeros_like(both), where=marked > 0).tolist()
    return scores


def _correlations(drawn: Array) -> list[Any]:
    """Compute Matthews correlation coefficients, with the sums arranged as in scikit-learn."""
    both, gold, predicted, n = _counts(drawn)
    right = n - gold - predicted + 2 * both
    covariance = right * n - (gold * predicted + (n - gold) * (n - predicted))
    spread_predicted = n**2 - (predicted**2 + (n - predicted) ** 2)
    spread_gold = n**2 - (gold**2 + (n - gold) ** 2)
    product = spread_gold * spread_predicted
    scores: list[Any] = np.divide(
        covariance, np.sqrt(product), out=np.zeros_like(covariance), where=product > 0
    ).tolist()
    return scores


_FAST: dict[Statistic, Callable[[Array], list[Any]]] = {
    median: _medians,
    perplexity: _perplexities,
    f1_score: _f1_scores,
    matthews_corrcoef: _correlations,
}
