"""Dashboards of EvalRun for Grafana: built here, generated to JSON that the chart contains."""

from evalrun_monitoring.boards import dashboards
from evalrun_monitoring.queries import EVERYTHING, Query, fill, queries

__all__ = ["EVERYTHING", "Query", "dashboards", "fill", "queries"]
