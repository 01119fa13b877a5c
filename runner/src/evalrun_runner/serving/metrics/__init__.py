"""Metrics of a driver for Prometheus: its newest view as series of ``evalrun_api.metrics``, made at each scrape."""

from evalrun_runner.serving.metrics.collector import RunMetrics

__all__ = ["RunMetrics"]
