"""Dashboards of EvalRun, for Grafana."""
