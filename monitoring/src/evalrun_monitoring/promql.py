"""PromQL that the dashboards share.

Series of a run are aggregated or joined by ``run_namespace`` and ``run`` alone, never by the scraped pod: a driver that
replaces another one is another pod, and its counters start at zero.
"""

from __future__ import annotations

from evalrun_api import Phase, Verdict

RUN_LABELS = ("run_namespace", "run")
SCORE_LABELS = (*RUN_LABELS, "model", "task", "metric", "filter")

FLEET = 'run_namespace=~"$namespace"'
"""Selector of the runs in the chosen namespaces."""
RUN = FLEET + ',run="$run"'
"""Selector of the one run that is shown: on its dashboard the variable takes one namespace."""
# Names chosen by users may contain anything. Grafana escapes $model for a string in double quotes, but not a double
# quote in it; between backticks only the regular expression needs escaping.
SCORES = FLEET + ",model=~`${model:regex}`,task=~`${task:regex}`,metric=~`${metric:regex}`"
"""Selector of the chosen scores of all runs in the chosen namespaces."""

FINISHED = "|".join(phase for phase in Phase if phase.finished)
"""Pattern of the phases in which nothing more happens."""
WAITING = f"{Phase.PENDING}|{Phase.QUEUED}"
"""Pattern of the phases in which a run has not started."""

VERDICTS = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED)
"""Verdicts from the best to the worst."""

ENDED = "ok|failed|quarantined"
"""Pattern of the status of finished items."""

HOUR = 3600
MILLISECONDS = 1000
"""Factor between Grafana's times, in milliseconds, and Prometheus' times, in seconds."""


def gauge(metric: str, where: str = "", *by: str, agg: str = "max", last: bool = False) -> str:
    """Query the present value of a gauge. Two pods with the same series, while one replaces the other, count once.

    Args:
        metric: The metric.
        where: A selector.
        by: The labels to keep.
        agg: The aggregation.
        last: Query the last value in the time shown instead, also where the driver has ended.
    """
    series = f"{metric}{_selector(where)}"
    return f"{agg}{_by(by)}({f'last_over_time({series}[$__range])' if last else series})"


def rate(metric: str, where: str = "", *by: str) -> str:
    """Query the growth of a counter per second."""
    return f"sum{_by(by)}(rate({metric}{_selector(where)}[$__rate_interval]))"


def growth(metric: str, where: str = "", *by: str, over: str = "$__range") -> str:
    """Query the growth of a counter in the time shown, or in each step of a graph (``over="$__rate_interval"``)."""
    return f"sum{_by(by)}(increase({metric}{_selector(where)}[{over}]))"


def events(metric: str, where: str = "", *by: str) -> str:
    """Query the number of events in each step of a graph.

    ``increase`` ignores the first value of a series, which matters for rare events such as the first error. The result
    is rounded, because ``increase`` makes 1.1 of one event.
    """
    series = f"{metric}{_selector(where)}"
    first = f"({series} unless {series} offset $__interval)"
    return f"round(sum{_by(by)}({first} or increase({series}[$__rate_interval])))"


def quantile(q: float, histogram: str, where: str = "", *by: str, over: str = "$__rate_interval") -> str:
    """Query a quantile of a histogram."""
    return f"histogram_quantile({q},sum{_by(('le', *by))}(rate({histogram}_bucket{_selector(where)}[{over}])))"


def total(metric: str, where: str, *by: str) -> str:
    """Query the sum of a gauge over runs; ``by`` are labels other than the run's."""
    return f"sum{_by(by)}({gauge(metric, where, *RUN_LABELS, *by)})"


def per_run(metric: str, where: str, agg: str = "max") -> str:
    """Query a gauge of each run."""
    return gauge(metric, where, *RUN_LABELS, agg=agg)


def only(expr: str, condition: str, *labels: str) -> str:
    """Restrict ``expr`` to series for which ``condition`` has one with the same ``labels`` (default: the run's)."""
    return f"({expr}) and on({','.join(labels or RUN_LABELS)}) ({condition})"


def in_phase(where: str, phases: str, operator: str = "=~") -> str:
    """Query 1 for each run in one of ``phases``, with the label ``phase``; ``operator="!~"``: in none of them."""
    return f"{gauge('evalrun_run_phase', f'{where},phase{operator}`{phases}`', *RUN_LABELS, 'phase')} == 1"


def phase_number(metric: str, where: str, *, finished: bool = True) -> str:
    """Query the phase of each run as its position in ``Phase``.

    That makes one series that changes, where the metric has one series per phase.

    Args:
        metric: The metric of the phase.
        where: A selector.
        finished: Whether to include finished phases.
    """
    numbered = " or ".join(
        f"({metric}{_selector(f'{where},phase=`{phase}`')} == 1) * {number}"
        for number, phase in enumerate(Phase)
        if finished or not phase.finished
    )
    return f"max{_by(RUN_LABELS)}({numbered})"


def progress(where: str, *, last: bool = False) -> str:
    """Query the finished fraction of each run's planned items, 0 to 1; ``last`` as in ``gauge``."""
    ended = gauge("evalrun_items", f"{where},status=~`{ENDED}`", *RUN_LABELS, "status", last=last)
    planned = gauge("evalrun_items_planned", where, *RUN_LABELS, last=last)
    return f"sum{_by(RUN_LABELS)}({ended}) / ({planned} > 0)"


def gpu_hours(where: str, *by: str) -> str:
    """Query the GPU-hours that were held in the time shown."""
    return f"{growth('evalrun_gpu_seconds_total', where, *by)} / {HOUR}"


def verdict(where: str, *by: str) -> str:
    """Query the worst verdict of gates as its position in ``VERDICTS``."""
    numbered = " or ".join(
        f"(evalrun_gate{_selector(f'{where},verdict=`{verdict}`')} == 1) * {number}"
        for number, verdict in enumerate(VERDICTS)
    )
    return f"max{_by(by)}({numbered})"


def newly_failed(where: str, *by: str) -> str:
    """Query the failed gates at the first step of a graph at which they had failed."""
    series, labels = f"evalrun_gate{_selector(f'{where},verdict=`Failed`')}", _by(by)
    return f"max{labels}({series}) == 1 unless max{labels}({series} offset $__interval) == 1"


def final_scores(metric: str, where: str, agg: str = "max") -> str:
    """Query scores of finished runs, or their companions (``evalrun_score_stderr``, ``evalrun_score_items``)."""
    return gauge(metric, f'{where},final="true"', *SCORE_LABELS, agg=agg)


def finished_at(where: str) -> str:
    """Query the end of each finished run, Unix time in seconds."""
    return per_run("evalrun_run_finished_timestamp_seconds", where)


def beside_score(where: str, of_run: str) -> str:
    """Query the value of ``of_run`` for each final score of a run."""
    return f"{final_scores('evalrun_score', where, 'group')} * on({','.join(RUN_LABELS)}) group_left() ({of_run})"


def newest(where: str) -> str:
    """Query the score of the run that finished last, for each namespace, model, task, metric and filter."""
    return f"topk{_by(_without_run(SCORE_LABELS))}(1,{beside_score(where, finished_at(FLEET))})"


def of_newest(expr: str, where: str, *more: str) -> str:
    """Restrict series with a score's labels and ``more`` to the runs that finished last, without the runs' names.

    So a line continues from run to run.
    """
    return f"max{_by((*_without_run(SCORE_LABELS), *more))}({only(expr, newest(where), *SCORE_LABELS)})"


def _without_run(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label for label in labels if label != "run")


def _selector(where: str) -> str:
    return f"{{{where}}}" if where else ""


def _by(labels: tuple[str, ...]) -> str:
    return f" by({','.join(labels)})" if labels else ""
