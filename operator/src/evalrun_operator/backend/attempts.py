"""What there is of each attempt, told from Jobs and their pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from evalrun_api import Reason, RunResult
from evalrun_api.wire.pods import Component
from evalrun_operator.backend.children import Children, Job, Pod
from evalrun_operator.state.observed import Attempt, DriverPhase, ObservedDriver, ObservedReplicas

DETAIL_CHARACTERS = 600
"""Of a log's tail that is shown to people."""

_HARMLESS = {"ContainerCreating", "PodInitializing", ""}
"""Reasons to wait that are no problem yet."""


def attempts(seen: Children) -> dict[int, Attempt]:
    """What is there, by attempt."""
    return {
        number: Attempt(
            driver=next((_driver(job, seen.of(job)) for job in _jobs(seen, number, Component.DRIVER)), None),
            replicas=next((_replicas(job, seen.of(job)) for job in _jobs(seen, number, Component.REPLICA)), None),
        )
        for number in sorted({job.attempt for job in seen.jobs})
    }


def _jobs(seen: Children, attempt: int, component: Component) -> Iterable[Job]:
    return (job for job in seen.jobs if job.attempt == attempt and job.component is component)


# The driver -------------------------------------------------------------------------------------------------------


def _driver(job: Job, pods: Sequence[Pod]) -> ObservedDriver:
    phase = _driver_phase(job, pods)
    present = _present(pods)
    last = _last(pods, succeeded=phase is DriverPhase.SUCCEEDED)
    end = last.terminated if last else None
    result = _result(end.message) if end and phase.ended else None
    return ObservedDriver(
        phase=phase,
        result=result,
        exit_code=end.exit_code if end else None,
        reason=_reason(job, last) if phase.ended else None,
        detail=_driver_detail(job, phase, present, last, has_result=result is not None),
        address=(present.address or None) if present and present.running else None,
        ended_at=(job.ended_at or (end.at if end else None)) if phase.ended else None,
    )


def _driver_phase(job: Job, pods: Sequence[Pod]) -> DriverPhase:
    if job.deleting:
        return DriverPhase.LEAVING
    # A driver leaves with 0 only when COMPLETE exists: that decides, also before its Job was counted, and before its
    # pod is over, which comes a few seconds after its container.
    if job.complete or any(pod.left_with_success for pod in pods):
        return DriverPhase.SUCCEEDED
    # Past its deadline a Job fails at once, while its driver still commits: its last words are worth the wait.
    if job.failed or (job.failing and all(pod.over for pod in pods)):
        return DriverPhase.FAILED
    present = _present(pods)
    if present is None or not present.running:
        return DriverPhase.WAITING
    return DriverPhase.READY if present.ready else DriverPhase.STARTING


def _present(pods: Sequence[Pod]) -> Pod | None:
    """The newest pod, if it may still do something."""
    return pods[-1] if pods and pods[-1].active else None


def _last(pods: Sequence[Pod], *, succeeded: bool) -> Pod | None:
    """The pod that decided: the last to end, of those that succeeded where one did."""
    ended = [pod for pod in pods if pod.over or pod.terminated]
    if succeeded:
        ended = [pod for pod in ended if pod.left_with_success] or ended
    return max(ended, key=lambda pod: pod.ended_at, default=None)


def _result(message: str) -> RunResult | None:
    """A driver's last words; None where it died without, and its log is there instead."""
    try:
        return RunResult.from_json(message)
    except ValidationError:
        return None


def _reason(job: Job, last: Pod | None) -> Reason | None:
    if job.failing and job.failing.reason == Reason.DEADLINE_EXCEEDED:
        return Reason.DEADLINE_EXCEEDED
    if last and last.terminated and last.terminated.reason == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    return None


def _driver_detail(job: Job, phase: DriverPhase, present: Pod | None, last: Pod | None, *, has_result: bool) -> str:
    if phase.ended:
        if has_result:
            return ""
        end = job.failed or job.failing
        # A Job past its deadline says that better than the exit code of a driver that was told to stop.
        if last is None or (end and end.reason == Reason.DEADLINE_EXCEEDED):
            return end.message if end else ""
        return _death(last)
    if present is not None:
        return _problem(present)
    if job.suspended:
        return f"its Job is suspended{f' by the queue {job.queue}' if job.queue else ''}"
    return f"its pod is being replaced: {_death(last)}" if last else ""


# Replicas ---------------------------------------------------------------------------------------------------------


def _replicas(job: Job, pods: Sequence[Pod]) -> ObservedReplicas:
    active = [pod for pod in pods if pod.active]
    return ObservedReplicas(
        count=max(0, job.parallelism - job.closed),
        active=len(active),
        running=sum(pod.phase == "Running" and pod.ready for pod in active),
        ended=bool(job.complete or job.failing),
        queued=job.suspended and bool(job.queue),
        leaving=job.deleting,
        detail=_replicas_detail(job, active, pods),
    )


def _replicas_detail(job: Job, active: Sequence[Pod], pods: Sequence[Pod]) -> str:
    """The commonest trouble of pods that wait, else what became of those that are gone."""
    said = []
    if job.suspended:
        said.append(f"suspended{f' until the queue {job.queue} admits it' if job.queue else ''}")
    if job.failing:
        said.append(job.failing.message)
    elif job.failed_indexes:
        said.append(f"replicas that failed too often are not started again: {job.failed_indexes}")
    problems = Counter(filter(None, map(_problem, active)))
    for problem, times in problems.most_common(1):
        said.append(f"{times} of {max(0, job.parallelism - job.closed)} cannot start: {problem}")
    waited_for = {pod.index for pod in pods} - {pod.index for pod in active}
    failed = [pod for pod in pods if pod.phase == "Failed" and pod.index in waited_for]
    if failed and not problems:
        last = max(failed, key=lambda pod: pod.ended_at)
        said.append(f"{last.name}: {_death(last)}")
    return "; ".join(filter(None, said))


# In words ---------------------------------------------------------------------------------------------------------


def _problem(pod: Pod) -> str:
    """Why a pod that should run does not; '' if it does, or nothing is wrong yet."""
    if pod.unschedulable:
        return f"Unschedulable: {_tail(pod.unschedulable)}"
    reason, message = pod.waiting
    if reason in _HARMLESS:
        return ""
    return f"{reason}: {_tail(message)}" if message else reason


def _death(pod: Pod) -> str:
    """What a pod died of."""
    end = pod.terminated
    if end is None:
        return _tail(pod.note) or "its pod is gone"
    how = "its memory did not suffice (OOMKilled)" if end.reason == "OOMKilled" else f"exit code {end.exit_code}"
    if pod.disrupted:
        how = f"disrupted (preempted, drained, evicted, or its node was lost), {how}"
    return ": ".join(filter(None, (how, _tail(pod.note), _tail(end.message))))


def _tail(text: str) -> str:
    """The end of a text, where a log says what went wrong."""
    text = text.strip()
    return text if len(text) <= DETAIL_CHARACTERS else f"…{text[-DETAIL_CHARACTERS:]}"
