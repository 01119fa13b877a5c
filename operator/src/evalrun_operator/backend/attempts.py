"""The observed state of each attempt, from Jobs and their pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from evalrun_api import Reason
from evalrun_api.wire.pods import Component
from evalrun_operator.backend.obstacles import Obstacle, admission, obstacle, refusal
from evalrun_operator.observe.reports import result_of
from evalrun_operator.state.children import Children, Job, Pod
from evalrun_operator.state.explanations import Explanation
from evalrun_operator.state.observed import Attempt, DriverPhase, ObservedDriver, ObservedReplicas

DETAIL_CHARACTERS = 600
"""Characters of the end of a log that is shown to people."""

Explanations = Mapping[str, Explanation]
_WANTING = {"CreateContainerConfigError"}
"""Reasons for waiting of a container whose Secret or ConfigMap is missing."""


def attempts(seen: Children, explanations: Explanations) -> dict[int, Attempt]:
    """Summarize the existing children by attempt number.

    Args:
        seen: The children.
        explanations: What the cluster says about those that wait, by uid.
    """
    return {number: _attempt(seen, number, explanations) for number in sorted({job.attempt for job in seen.jobs})}


def _attempt(seen: Children, number: int, explanations: Explanations) -> Attempt:
    driver = next(iter(_jobs(seen, number, Component.DRIVER)), None)
    replicas = next(iter(_jobs(seen, number, Component.REPLICA)), None)
    pods = [pod for job in (driver, replicas) if job for pod in seen.of(job)]
    return Attempt(
        driver=_driver(driver, seen.of(driver), explanations) if driver else None,
        replicas=_replicas(replicas, seen.of(replicas), explanations) if replicas else None,
        created_at=driver.created if driver else None,
        pod_waits=any(pod.active and pod.waiting[0] in _WANTING for pod in pods),
    )


def _jobs(seen: Children, attempt: int, component: Component) -> Iterable[Job]:
    return (job for job in seen.jobs if job.attempt == attempt and job.component is component)


# The driver -------------------------------------------------------------------------------------------------------


def _driver(job: Job, pods: Sequence[Pod], explanations: Explanations) -> ObservedDriver:
    phase = _driver_phase(job, pods)
    present = _present(pods)
    last = _last(pods, succeeded=phase is DriverPhase.SUCCEEDED)
    end = last.terminated if last else None
    result = result_of(end.message) if end and phase.ended else None
    problem = None
    if not phase.ended:
        problem = refusal(job, pods, explanations) if present is None else obstacle(present, explanations)
    return ObservedDriver(
        phase=phase,
        result=result,
        exit_code=end.exit_code if end else None,
        reason=_reason(job, last) if phase.ended else None,
        obstacle=problem.reason if problem else None,
        detail=problem.text if problem else _driver_detail(job, phase, present, last, has_result=result is not None),
        queued=job.suspended and not phase.ended,
        admission=admission(job, explanations),
        image_id=next((pod.image_id for pod in pods if pod.image_id), ""),
        address=(present.address or None) if present and present.running else None,
        pod=pods[-1].uid if pods and not phase.ended else None,
        disrupted=phase is DriverPhase.FAILED and last is not None and (last.disrupted or last.deleting_at is not None),
        ended_at=(job.ended_at or (end.at if end else None)) if phase.ended else None,
    )


def _driver_phase(job: Job, pods: Sequence[Pod]) -> DriverPhase:
    if job.deleting:
        return DriverPhase.LEAVING
    # A driver exits with 0 only when COMPLETE exists: that decides, even before its Job has counted it, and before its
    # pod has ended, which is a few seconds after its container.
    if job.complete or any(pod.left_with_success for pod in pods):
        return DriverPhase.SUCCEEDED
    # Past its deadline a Job fails at once, while its driver still commits: its result is worth the wait.
    if job.failed or (job.failing and all(pod.over for pod in pods)):
        return DriverPhase.FAILED
    present = _present(pods)
    if present is None or not present.running:
        return DriverPhase.WAITING
    return DriverPhase.READY if present.ready else DriverPhase.STARTING


def _present(pods: Sequence[Pod]) -> Pod | None:
    """Return the newest pod if it can still do something."""
    return pods[-1] if pods and pods[-1].active else None


def _last(pods: Sequence[Pod], *, succeeded: bool) -> Pod | None:
    """Return the decisive pod: the last one to end, of those that succeeded if any did."""
    ended = [pod for pod in pods if pod.over or pod.terminated]
    if succeeded:
        ended = [pod for pod in ended if pod.left_with_success] or ended
    return max(ended, key=lambda pod: pod.ended_at, default=None)


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
        # The message of a Job past its deadline is clearer than the exit code of a driver that was asked to stop.
        if last is None or (end and end.reason == Reason.DEADLINE_EXCEEDED):
            return end.message if end else ""
        return _death(last)
    if present is not None or job.suspended:
        return ""
    return f"its pod is being replaced: {_death(last)}" if last else ""


# Replicas ---------------------------------------------------------------------------------------------------------


def _replicas(job: Job, pods: Sequence[Pod], explanations: Explanations) -> ObservedReplicas:
    active = [pod for pod in pods if pod.active]
    problems = Counter(filter(None, (obstacle(pod, explanations) for pod in active)))
    refused = refusal(job, pods, explanations)
    common = next((problem for problem, _ in problems.most_common(1)), None)
    return ObservedReplicas(
        count=job.count,
        active=len(active),
        running=sum(pod.phase == "Running" and pod.ready for pod in active),
        ended=bool(job.complete or job.failing),
        queued=job.suspended,
        admission=admission(job, explanations),
        leaving=job.deleting,
        obstacle=refused.reason if refused else common.reason if common else None,
        detail=_replicas_detail(job, active, pods, refused, problems),
    )


def _replicas_detail(
    job: Job, active: Sequence[Pod], pods: Sequence[Pod], refused: Obstacle | None, problems: Counter[Obstacle]
) -> str:
    """Describe the most common problem of waiting pods, or else the end of those that are missing."""
    details = [] if refused is None else [refused.text]
    if job.failing:
        details.append(job.failing.message)
    elif job.failed_indexes:
        details.append(f"replicas that failed too often are not replaced: {job.failed_indexes}")
    for problem, times in problems.most_common(1):
        details.append(f"{times} of {job.count} cannot start: {problem.text}")
    waited_for = {pod.index for pod in pods} - {pod.index for pod in active}
    failed = [pod for pod in pods if pod.phase == "Failed" and pod.index in waited_for]
    if failed and not problems and not refused:
        last = max(failed, key=lambda pod: pod.ended_at)
        details.append(f"{last.name}: {_death(last)}")
    return "; ".join(filter(None, details))


# In words ---------------------------------------------------------------------------------------------------------


def _death(pod: Pod) -> str:
    """Return what a pod died of."""
    end = pod.terminated
    if end is None:
        return _tail(pod.note) or "its pod is deleted"
    how = "out of memory (OOMKilled)" if end.reason == "OOMKilled" else f"exit code {end.exit_code}"
    if pod.disrupted:
        how = f"disrupted (preempted, drained, evicted, or its node was lost), {how}"
    return ": ".join(filter(None, (how, _tail(pod.note), _tail(end.message))))


def _tail(text: str) -> str:
    """Return the end of a text, where a log says what went wrong."""
    text = text.strip()
    return text if len(text) <= DETAIL_CHARACTERS else f"…{text[-DETAIL_CHARACTERS:]}"
