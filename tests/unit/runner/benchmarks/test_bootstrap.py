"""The bootstrap gives lm-eval's number, to the last digit, for every statistic that lm-eval bootstraps."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from lm_eval.api import metrics

from evalrun_runner.benchmarks import bootstrap

rnd = random.Random(5)
FLOATS = [rnd.gauss(-20, 7) for _ in range(137)]
PAIRS = [(rnd.randrange(2), np.int64(rnd.randrange(2))) for _ in range(90)]
RARE = [(int(i == 3), int(i == 3)) for i in range(12)]
TEXTS = [(f"the cat {i} sat", f"a cat {i % 5} sat there") for i in range(12)]

CASES: dict[str, tuple[Callable[[Sequence[Any]], Any], Sequence[Any], int]] = {
    "median": (metrics.median, FLOATS, 2_000),
    "median of integers": (metrics.median, [1, 5, 2, 2, 9, 4], 1_500),
    "perplexity": (metrics.perplexity, FLOATS, 2_000),
    "f1": (metrics.f1_score, PAIRS, 300),
    "f1, a class that is rare": (metrics.f1_score, RARE, 200),
    "f1, labels beyond 0 and 1": (metrics.f1_score, [(gold + 1, p + 1) for gold, p in PAIRS], 50),
    "mcc": (metrics.matthews_corrcoef, PAIRS, 300),
    "mcc, a class that is rare": (metrics.matthews_corrcoef, RARE, 200),
    "mcc, three classes": (metrics.matthews_corrcoef, [(i % 3, (i * i) % 3) for i in range(40)], 50),
    "nanmean": (metrics.nanmean, [*FLOATS[:20], float("nan")], 100),
    "bleu": (metrics.bleu, TEXTS, 20),
}


@pytest.mark.filterwarnings("ignore:A single label was found", "ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_error_equals_lm_evals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statistic, values, iters = CASES[name]
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")

    expected = metrics.bootstrap_stderr(statistic, values, iters)

    assert repr(bootstrap.bootstrap_stderr(statistic, values, iters)) == repr(expected)


def test_blocks_of_draws_change_nothing() -> None:
    whole = bootstrap.bootstrap_stderr(metrics.median, FLOATS, 1_000)

    assert bootstrap.bootstrap_stderr(metrics.median, FLOATS, 1_000, block=1_000) == whole


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with bootstrap.quiet_bootstrap():
        metrics.stderr_for_metric(metrics.median, 1_000)(FLOATS)

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("statistic", [metrics.median, metrics.perplexity])
def test_fast_statistics_are_used(statistic: Callable[[Sequence[Any]], Any]) -> None:
    assert bootstrap._fast(statistic, FLOATS) is not None


@pytest.mark.parametrize("statistic", [metrics.f1_score, metrics.matthews_corrcoef])
def test_fast_statistics_are_used_for_pairs(statistic: Callable[[Sequence[Any]], Any]) -> None:
    assert bootstrap._fast(statistic, PAIRS) is not None
