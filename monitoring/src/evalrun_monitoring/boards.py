"""All dashboards."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as boards

from evalrun_monitoring.dashboards import fleet, operator, run, scores


def dashboards() -> tuple[boards.Dashboard, ...]:
    """Each dashboard, as Grafana knows it; the file's name is its uid."""
    return tuple(module.page().build() for module in (fleet, run, scores, operator))
