"""Every metric that EvalRun exports: the names shared by drivers, operator, dashboards, alerts and docs."""

from __future__ import annotations

from evalrun_api.metrics import driver, operator, scores
from evalrun_api.metrics.metric import RUN, Metric, MetricType, Source, label_value

ALL: tuple[Metric, ...] = (*scores.METRICS, *driver.METRICS, *operator.METRICS)

__all__ = ["ALL", "RUN", "Metric", "MetricType", "Source", "driver", "label_value", "operator", "scores"]
