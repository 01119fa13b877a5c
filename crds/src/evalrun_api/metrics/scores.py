"""Metrics of scores and gates."""

from __future__ import annotations

from evalrun_api.metrics.metric import RUN, Metric, MetricType, Source

_SCORE = (*RUN, "model", "task", "metric", "filter")

SCORE = Metric(
    "evalrun_score",
    MetricType.GAUGE,
    "A score. While the run lasts (final=false): the mean over the items answered so far, for metrics that are means; "
    "costly items come first, so it drifts. At its end (final=true): the headline ones, as in results.json. "
    "`better` is the direction of improvement.",
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
SCORE_LOW = Metric(
    "evalrun_score_low",
    MetricType.GAUGE,
    "Lower end of the 95% interval of a finished run's score with the same labels; absent where there is none.",
    (*_SCORE, "final", "better"),
    Source.OPERATOR,
)
SCORE_HIGH = Metric(
    "evalrun_score_high",
    MetricType.GAUGE,
    "Upper end of the 95% interval of a finished run's score with the same labels; absent where there is none.",
    (*_SCORE, "final", "better"),
    Source.OPERATOR,
)
SCORE_ITEMS = Metric(
    "evalrun_score_items",
    MetricType.GAUGE,
    "Number of items in the score with the same labels.",
    (*_SCORE, "final", "better"),
    Source.BOTH,
)
GATE = Metric(
    "evalrun_gate",
    MetricType.GAUGE,
    "1 for the verdict of a gate of a finished run: Passed, Failed or Inconclusive. `gate` is min, max or baseline; of "
    "several equal ones the worst counts, and an advisory one has none.",
    (*_SCORE, "gate", "verdict"),
    Source.OPERATOR,
)
GATE_BOUND = Metric(
    "evalrun_gate_bound",
    MetricType.GAUGE,
    "The bound of a min or max gate, in the score's unit; of several equal ones the strictest.",
    (*_SCORE, "gate"),
    Source.OPERATOR,
)

METRICS = (SCORE, SCORE_STDERR, SCORE_LOW, SCORE_HIGH, SCORE_ITEMS, GATE, GATE_BOUND)
