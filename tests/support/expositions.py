"""A page of metrics, parsed like Prometheus does."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

Told = dict[str, dict[tuple[str, ...], float]]
"""Values by the labels' values, in the order of the labels' names, by sample name."""


def told(page: bytes | Iterable[bytes]) -> Told:
    """Parse every sample. Fails on a duplicate family or series, and on an invalid page."""
    text = (page if isinstance(page, bytes) else b"".join(page)).decode()
    heads = [line for line in text.split("\n") if line.startswith("# TYPE ")]
    assert len(heads) == len(set(heads)), "a family is there twice"
    found: Told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            values = found.setdefault(sample.name, {})
            assert labels not in values, f"{sample.name}{sample.labels} is there twice"
            values[labels] = sample.value
    return found
