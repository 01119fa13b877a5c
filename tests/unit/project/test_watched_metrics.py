"""The end-to-end test of the metrics knows every metric, which nothing cheaper than a cluster would tell."""

from __future__ import annotations

import re
from pathlib import Path

from evalrun_api.metrics import driver, operator, scores
from evalrun_api.metrics.metric import Metric

WATCHED = Path(__file__).parents[2] / "e2e" / "test_e2e_metrics.py"


def test_a_plausible_range_is_stated_for_every_metric() -> None:
    stated = set(re.findall(r"^    (\w+\.\w+): (?:Plausible|INFO|TIMES)\b", WATCHED.read_text(), re.MULTILINE))
    known = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (driver, operator, scores)
        for name, value in vars(module).items()
        if isinstance(value, Metric)
    }
    assert stated == known
