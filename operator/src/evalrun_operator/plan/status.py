"""Conversion of a decision into the status that is written."""

from __future__ import annotations

from datetime import datetime

from evalrun_api import Counts, EvalRunStatus, Phase, Progress, ReplicaStatus, ResolvedRun, RunProgress, RunResult, Work
from evalrun_api.status.status import MAX_RESOLVED_RUNS, MAX_SCORES
from evalrun_operator.names import results_uri
from evalrun_operator.plan.budgets import starting_since
from evalrun_operator.plan.decision import Decision
from evalrun_operator.plan.display import display
from evalrun_operator.plan.findings import conditions
from evalrun_operator.plan.provenance import RunnerImage
from evalrun_operator.state.observed import DriverPhase, Observed

MAX_GATES = 100
"""Gates in a status."""


def new_status(
    observed: Observed, decision: Decision, spent: float, image: RunnerImage, now: datetime
) -> EvalRunStatus:
    """Build the whole status; fields without news keep their values."""
    run, progress, result = observed.run, observed.progress, decision.result
    before = run.status or EvalRunStatus()
    finished = decision.phase.finished
    since = before.active_since
    running = decision.running and not finished
    status = EvalRunStatus(
        phase=decision.phase,
        observed_generation=run.metadata.generation,
        attempt=decision.attempt or None,
        runner_image=image.reference,
        runner_image_id=image.id,
        started_at=before.started_at or (now if decision.attempt else None),
        finished_at=now if finished else None,
        # The elapsed time is recorded only when the clock stops; until then both fields stay as they are.
        active_seconds=before.active_seconds if running else int(spent),
        active_since=(since or now) if running else None,
        charged_attempts=decision.charged,
        disruptions=decision.disruptions,
        driver_pod=_driver_pod(before, observed, decision),
        starting_since=None if finished else starting_since(before, decision, now),
        progress=_progress(before, progress, result),
        work=_work(before, progress, result),
        replicas=ReplicaStatus(desired=0 if finished else observed.count, ready=decision.ready),
        scores=before.scores if result is None else result.scores[:MAX_SCORES],
        gates=before.gates if result is None else result.gates[:MAX_GATES],
        # Set from the first attempt on, so that a run can be resumed however it ends.
        results_uri=(result and result.results_uri)
        or before.results_uri
        or (results_uri(run) if decision.attempt else None),
        resolved_runs=_resolved_runs(before, observed) if decision.attempt else before.resolved_runs,
        conditions=conditions(decision.findings, before.conditions, run.metadata.generation, now),
    )
    model = before.display.model if observed.invalid is not None and before.display else None
    shown = display(status, model or run.spec.model.resolved_name[:128], progress, result, now)
    return status.model_copy(update={"display": shown})


def _resolved_runs(before: EvalRunStatus, observed: Observed) -> tuple[ResolvedRun, ...]:
    """Record what an attempt was created with; what an earlier one was created with stays."""
    if observed.references is None or observed.references.problems:
        return before.resolved_runs
    uris = {name: run.uri for name, run in observed.references.runs.items()}
    uris |= {run.name: run.uri for run in before.resolved_runs}
    return tuple(ResolvedRun(name=name, uri=uris[name]) for name in sorted(uris)[:MAX_RESOLVED_RUNS])


def still_observed(status: EvalRunStatus, generation: int | None) -> EvalRunStatus:
    """Return the status of a finished run after an edit: it is about the newest generation, and otherwise the same.

    Tools that compare the generations would otherwise take a finished run for one in progress, forever.
    """
    seen = tuple(one.model_copy(update={"observed_generation": generation}) for one in status.conditions)
    return status.model_copy(update={"observed_generation": generation, "conditions": seen})


def _driver_pod(before: EvalRunStatus, observed: Observed, decision: Decision) -> str | None:
    """Return the pod to compare the next one with: none of a driver that leaves, or whose pods a queue takes away."""
    driver = observed.attempt(decision.attempt).driver
    if driver is None or driver.phase is DriverPhase.LEAVING or decision.phase is Phase.QUEUED:
        return None
    return driver.pod or (before.driver_pod if decision.attempt == before.attempt else None)


def _progress(before: EvalRunStatus, progress: RunProgress | None, result: RunResult | None) -> Progress | None:
    if result is not None and result.counts.planned:
        return _of(result.counts)
    if progress is None:
        return before.progress and _of(before.progress)
    return _of(progress.counts).model_copy(
        update={
            "items_per_second": _short(progress.items_per_second),
            "output_tokens_per_second": _short(progress.output_tokens_per_second),
            "eta": None if progress.eta is None else progress.eta.replace(microsecond=0),
        }
    )


def _of(counts: Counts) -> Progress:
    return Progress(
        planned=counts.planned,
        ok=counts.ok,
        failed=counts.failed,
        quarantined=counts.quarantined,
        skipped=counts.skipped,
        answers=counts.answers,
        # The plan of a driver that still plans may be behind its answers.
        percent=min(100, 100 * counts.done // counts.planned) if counts.planned else None,
    )


def _short(rate: float | None) -> float | None:
    """Round to three significant digits."""
    return None if rate is None else float(f"{rate:.3g}")


def _work(before: EvalRunStatus, progress: RunProgress | None, result: RunResult | None) -> Work | None:
    if result is not None:
        return result.work
    return before.work if progress is None else progress.work
