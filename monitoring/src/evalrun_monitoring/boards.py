"""All dashboards."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard as boards

from evalrun_monitoring.dashboards import fleet, operator, run, scores


def dashboards() -> tuple[boards.Dashboard, ...]:
    """Build each dashboard in Grafana's model; its file is named by its uid."""
    return tuple(module.page().build() for module in (fleet, run, scores, operator))
