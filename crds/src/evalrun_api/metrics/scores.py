"""Metrics of scores and gates."""

from __future__ import annotations

from evalrun_api.metrics.metric import RUN, Metric, MetricType, Source

_SCORE = (*RUN, "model", "task", "metric", "filter")

SCORE = Metric(
    "evalrun_score",
    MetricType.GAUGE,
    "A score. While the run goes on (final=false): the mean over the items answered so far, of metrics that are means; "
    "costly items come first, so that it drifts. At its end (final=true): as in results.json, the headline ones. "
    "`better` says which way is good.",
    (*_SCORE, "final", "better"),
    Source.BOTH,
)
SCORE_STDERR = Metric(
    "evalrun_score_stderr",
    MetricType.GAUGE,
    "Standard error of the score with the same labels; absent where it is not defined.",
    (*_SCORE, "final", "better"),
    Source.BOTH,
)
SCORE_ITEMS = Metric(
    "evalrun_score_items",
    MetricType.GAUGE,
    "Items that the score with the same labels is made of.",
    (*_SCORE, "final", "better"),
    Source.BOTH,
)
GATE = Metric(
    "evalrun_gate",
    MetricType.GAUGE,
    "1 for the verdict of a gate of a finished run: Passed, Failed or Inconclusive. `gate` is min, max or baseline; of "
    "several alike the worst counts.",
    (*_SCORE, "gate", "verdict"),
    Source.OPERATOR,
)
GATE_BOUND = Metric(
    "evalrun_gate_bound",
    MetricType.GAUGE,
    "The bound of a min or max gate, in the score's unit; of several alike the strictest.",
    (*_SCORE, "gate"),
    Source.OPERATOR,
)

METRICS = (SCORE, SCORE_STDERR, SCORE_ITEMS, GATE, GATE_BOUND)
