"""The examples in docs/monitoring.md equal the example files, and the chart accepts them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from support.chart import ROOT, of_kind, render

PAGE = (ROOT / "docs" / "monitoring.md").read_text()
EXAMPLES = ROOT / "examples" / "monitoring"
SHOWN = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
VALUES = [values for values in map(yaml.safe_load, SHOWN) if "metrics" in values]


def test_documented_scrape_configuration_equals_the_example() -> None:
    text = (EXAMPLES / "prometheus.yaml").read_text()
    assert text[text.index("scrape_configs:") :] in SHOWN


def test_documented_values_equal_the_example() -> None:
    assert (EXAMPLES / "prometheus-operator-values.yaml").read_text() in SHOWN


@pytest.mark.parametrize("values", VALUES, ids=str)
def test_chart_accepts_the_example_values(values: dict[str, Any]) -> None:
    assert render(values)


def test_example_values_enable_everything() -> None:
    objects = render(yaml.safe_load((EXAMPLES / "prometheus-operator-values.yaml").read_text()))
    assert len(of_kind(objects, "PodMonitor", "ServiceMonitor", "PrometheusRule", "Service")) == 4
