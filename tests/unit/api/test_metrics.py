"""The catalogue of metrics follows Prometheus' conventions, and no name chosen by a user breaks the exposition."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from evalrun_api.metrics import ALL, Metric, MetricType, Source, label_value
from evalrun_api.metrics.metric import LONGEST_LABEL

UNITS = ("_seconds", "_ratio", "_bytes", "_tokens")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_metric_names_follow_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"evalrun_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is MetricType.COUNTER)
    assert not metric.name.endswith(("_milliseconds", "_percent", "_kb"))
    assert bool(metric.buckets) == (metric.kind is MetricType.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help.endswith(".") or metric.help.endswith("answer.")
    assert not {"namespace", "pod", "instance", "job", "container", "le"} & set(metric.labels), "Prometheus' own labels"
    assert not {"item", "doc_id", "chunk", "message", "error_message", "uri"} & set(metric.labels), "without bound"


def test_metric_names_are_unique() -> None:
    names = [name for metric in ALL for name in metric.series]
    assert len(names) == len(set(names))


def test_run_metrics_are_labelled_with_their_run() -> None:
    for metric in ALL:
        if metric.source is not Source.OPERATOR:
            assert metric.labels[:2] == ("run_namespace", "run"), metric.name


@given(st.text(alphabet=st.characters(codec=None), max_size=400))
def test_any_name_survives_the_exposition(name: str) -> None:
    metric = next(one for one in ALL if one.name == "evalrun_run_info")

    class Collector:
        def collect(self) -> list[object]:
            family = metric.family()
            family.add_metric(["team", "run", label_value(name), "vllm"], 1.0)  # type: ignore[attr-defined]
            return [family]

    registry = CollectorRegistry()
    registry.register(Collector())  # type: ignore[arg-type]
    text = generate_latest(registry).decode()
    (family,) = text_string_to_metric_families(text)
    (sample,) = family.samples
    assert sample.labels["model"] == label_value(name)
    assert len(sample.labels["model"]) <= LONGEST_LABEL
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == 1


def test_plain_names_are_unchanged() -> None:
    assert label_value('Llama-3 8B/Instrukt für "alle" \\ 🦙') == 'Llama-3 8B/Instrukt für "alle" \\ 🦙'


def test_characters_that_no_query_can_contain_are_replaced() -> None:
    assert label_value("a\nb\N{REPLACEMENT CHARACTER}c\N{LINE SEPARATOR}d\ud800") == "a_b_c_d_"
