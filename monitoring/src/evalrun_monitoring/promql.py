"""PromQL that the dashboards share.

What belongs to a run is summed up or joined by ``run_namespace`` and ``run`` alone, never by the scraped pod: a driver
that is replaced is another pod, whose counters begin at zero.
"""

from __future__ import annotations

from evalrun_api import Phase
from evalrun_api.status.outcomes import Verdict

RUN_LABELS = ("run_namespace", "run")
SCORE_LABELS = (*RUN_LABELS, "model", "task", "metric", "filter")

FLEET = 'run_namespace=~"$namespace"'
"""Selects the runs of the chosen namespaces."""
RUN = FLEET + ',run="$run"'
"""Selects the one run that is shown: there its variable takes one namespace."""
# Names that users chose may hold anything. Grafana escapes $model for a string in double quotes, but not a double
# quote in it; in backticks nothing needs to be escaped but for the regular expression.
SCORES = FLEET + ",model=~`${model:regex}`,task=~`${task:regex}`,metric=~`${metric:regex}`"
"""Selects the chosen scores of all runs of the chosen namespaces."""

FINISHED = "|".join(phase for phase in Phase if phase.finished)
"""Matches the phases in which nothing more happens."""
WAITING = f"{Phase.PENDING}|{Phase.QUEUED}"
"""Matches the phases in which a run has not begun."""

VERDICTS = (Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED)
"""From the best to the worst."""

ENDED = "ok|failed|quarantined"
"""Matches the status of items that have an end."""

HOUR = 3600
MILLISECONDS = 1000
"""Grafana's times are in milliseconds, Prometheus' in seconds."""


def gauge(metric: str, where: str = "", *by: str, agg: str = "max", last: bool = False) -> str:
    """What a gauge says now. Two pods that tell of the same thing, as one replaces the other, count once.

    ``last``: what it said last in the time shown, also where there is no driver any more.
    """
    series = f"{metric}{_selector(where)}"
    return f"{agg}{_by(by)}({f'last_over_time({series}[$__range])' if last else series})"


def rate(metric: str, where: str = "", *by: str) -> str:
    """What a counter grows by in a second."""
    return f"sum{_by(by)}(rate({metric}{_selector(where)}[$__rate_interval]))"


def growth(metric: str, where: str = "", *by: str, over: str = "$__range") -> str:
    """What a counter grew by in the time shown, or in each step of a graph (``over="$__rate_interval"``)."""
    return f"sum{_by(by)}(increase({metric}{_selector(where)}[{over}]))"


def events(metric: str, where: str = "", *by: str) -> str:
    """How often something happened in each step of a graph.

    ``increase`` knows nothing of a series' first value, which counts what is rare: an error's first. Whole numbers, as
    it makes 1.1 of one event.
    """
    series = f"{metric}{_selector(where)}"
    first = f"({series} unless {series} offset $__interval)"
    return f"round(sum{_by(by)}({first} or increase({series}[$__rate_interval])))"


def quantile(q: float, histogram: str, where: str = "", *by: str, over: str = "$__rate_interval") -> str:
    """A quantile of what a histogram saw."""
    return f"histogram_quantile({q},sum{_by(('le', *by))}(rate({histogram}_bucket{_selector(where)}[{over}])))"


def total(metric: str, where: str, *by: str) -> str:
    """The sum of a gauge over runs; ``by`` are labels other than the run's."""
    return f"sum{_by(by)}({gauge(metric, where, *RUN_LABELS, *by)})"


def per_run(metric: str, where: str, agg: str = "max") -> str:
    """A gauge of each run."""
    return gauge(metric, where, *RUN_LABELS, agg=agg)


def only(expr: str, condition: str, *labels: str) -> str:
    """The series of ``expr`` for which ``condition`` has one with the same ``labels`` (default: the run's)."""
    return f"({expr}) and on({','.join(labels or RUN_LABELS)}) ({condition})"


def in_phase(where: str, phases: str, operator: str = "=~") -> str:
    """1 for each run that is in one of ``phases``, with the label ``phase``; ``operator="!~"``: in none of them."""
    return f"{gauge('evalrun_run_phase', f'{where},phase{operator}`{phases}`', *RUN_LABELS, 'phase')} == 1"


def phase_number(metric: str, where: str, *, finished: bool = True) -> str:
    """The phase of each run as its place in ``Phase``: one series that changes, where the metric has one per phase.

    ``finished=False``: of runs while they are unfinished.
    """
    numbered = " or ".join(
        f"({metric}{_selector(f'{where},phase=`{phase}`')} == 1) * {number}"
        for number, phase in enumerate(Phase)
        if finished or not phase.finished
    )
    return f"max{_by(RUN_LABELS)}({numbered})"


def progress(where: str, *, last: bool = False) -> str:
    """The part of each run's planned items that has an end, 0 to 1; ``last`` as with ``gauge``."""
    ended = gauge("evalrun_items", f"{where},status=~`{ENDED}`", *RUN_LABELS, "status", last=last)
    planned = gauge("evalrun_items_planned", where, *RUN_LABELS, last=last)
    return f"sum{_by(RUN_LABELS)}({ended}) / ({planned} > 0)"


def gpu_hours(where: str, *by: str) -> str:
    """GPU-hours that were held in the time shown."""
    return f"{growth('evalrun_gpu_seconds_total', where, *by)} / {HOUR}"


def verdict(where: str, *by: str) -> str:
    """The worst verdict of gates as its place in ``VERDICTS``."""
    numbered = " or ".join(
        f"(evalrun_gate{_selector(f'{where},verdict=`{verdict}`')} == 1) * {number}"
        for number, verdict in enumerate(VERDICTS)
    )
    return f"max{_by(by)}({numbered})"


def newly_failed(where: str, *by: str) -> str:
    """Gates that failed, at the first step of a graph at which they had."""
    series, labels = f"evalrun_gate{_selector(f'{where},verdict=`Failed`')}", _by(by)
    return f"max{labels}({series}) == 1 unless max{labels}({series} offset $__interval) == 1"


def final_scores(metric: str, where: str, agg: str = "max") -> str:
    """Scores of finished runs, or what goes with them (``evalrun_score_stderr``, ``evalrun_score_items``)."""
    return gauge(metric, f'{where},final="true"', *SCORE_LABELS, agg=agg)


def finished_at(where: str) -> str:
    """When each finished run ended, Unix time in seconds."""
    return per_run("evalrun_run_finished_timestamp_seconds", where)


def beside_score(where: str, of_run: str) -> str:
    """What ``of_run`` says of each run, beside each of its final scores."""
    return f"{final_scores('evalrun_score', where, 'group')} * on({','.join(RUN_LABELS)}) group_left() ({of_run})"


def newest(where: str) -> str:
    """For each namespace, model, task, metric and filter the score's series of the run that finished last."""
    return f"topk{_by(_without_run(SCORE_LABELS))}(1,{beside_score(where, finished_at(FLEET))})"


def of_newest(expr: str, where: str, *more: str) -> str:
    """Of what has a score's labels and ``more`` that of the runs that finished last, without the runs' names.

    Thus a line goes on as runs follow one another.
    """
    return f"max{_by((*_without_run(SCORE_LABELS), *more))}({only(expr, newest(where), *SCORE_LABELS)})"


def _without_run(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label for label in labels if label != "run")


def _selector(where: str) -> str:
    return f"{{{where}}}" if where else ""


def _by(labels: tuple[str, ...]) -> str:
    return f" by({','.join(labels)})" if labels else ""
