"""CPU time and memory of BCa intervals against ``scipy.stats.bootstrap``, in one process."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import bootstrap

from bench.pairs import Goal, Spread
from bench.report import Row, Section
from evalrun_runner.statistics.resampling import bca_mean, bca_median

ITEMS = 10_000
BATCH = 200
"""Resamples that scipy draws at once; by default it would ask for 8 GB."""
OWN_ROUNDS = 5


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def section(resamples: int, say: Callable[[str], None]) -> Section:
    """Measure the ratios of CPU seconds for each kind of data.

    Args:
        resamples: resamples of both sides.
        say: reports progress.
    """
    random = np.random.default_rng(1)
    any_values = random.lognormal(size=ITEMS)
    right = (random.random(ITEMS) < 0.9).astype(float)
    rows, beside = [], dict[str, str]()
    cases: Mapping[str, tuple[Callable[[], object], Callable[..., float], Goal]] = {
        "median": (lambda: bca_median(any_values, resamples=resamples), np.median, Goal(at_most=0.01)),
        "mean of 0 and 1": (lambda: bca_mean(right), np.mean, Goal(at_most=0.01)),
        "mean of any values": (lambda: bca_mean(any_values), np.mean, Goal(at_most=1)),
    }
    for name, (own, statistic, goal) in cases.items():
        values = right if "0 and 1" in name else any_values
        own()
        seconds = [_cpu_seconds(own) for _ in range(OWN_ROUNDS)]

        def of_scipy(values: np.ndarray = values, statistic: Callable[..., float] = statistic) -> object:
            return bootstrap((values,), statistic, n_resamples=resamples, batch=BATCH, rng=random)

        reference = _cpu_seconds(of_scipy)
        say(f"bootstrap, {name}: {np.median(seconds):.4f} s against {reference:.2f} s")
        rows.append(Row(f"CPU time, {name}", Spread.of(one / reference for one in seconds), goal))
        beside[f"scipy, {name},"] = f"{reference:.1f} s"
        beside[f"here, {name},"] = f"{float(np.median(seconds)):.4f} s"
    peak = _peak_bytes(lambda: bca_mean(any_values)) / (1 << 20)
    rows.append(Row("memory, mean of any values", Spread.of([peak]), Goal(at_most=300), "MiB"))
    return Section(
        "BCa intervals ÷ scipy.stats.bootstrap",
        f"{resamples:,} resamples of {ITEMS:,} items, CPU seconds of one process; scipy once, with batches of "
        f"{BATCH}. The median is drawn by order statistics; means have the distribution over all possible resamples.",
        rows,
        beside,
    )
