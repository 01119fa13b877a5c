"""Questions to the cluster about what waits: events of Jobs and pods, and Kueue's Workloads.

Only what has waited for some seconds is asked about, each object only now and then, and all runs together only so
often: the API server reads all events of a namespace to find those of one object. An answer that cannot be had is never
a reason to stop: a run is decided about without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import ApiError, Forbidden, NotFound
from evalrun_operator.kube.objects import EVENTS, WORKLOADS
from evalrun_operator.state.explanations import MULTIKUEUE, Explanation, ExplanationSource, Waiting

logger = logging.getLogger(__name__)

FIRST_AFTER = timedelta(seconds=4)
"""Wait before the first question about an object: most pods are there by then."""
AGAIN_AFTER = timedelta(seconds=30)
"""Time between two questions about one object."""
PER_SECOND = 10
"""Questions about all runs together."""
FORBIDDEN_AFTER = timedelta(minutes=10)
"""Time for which a source is not asked again after the API server forbade it."""
OUTDATED = timedelta(minutes=15)
"""Age of an event that explains nothing any more. The Job controller tries again every minute, and records one event in
five minutes at least.
"""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
LABEL_JOB = "kueue.x-k8s.io/job-uid"
"""Kueue's label of a Workload: uid of its Job."""
_FIELDS = {
    ExplanationSource.JOB_EVENTS: "involvedObject.uid={},reason=FailedCreate",
    ExplanationSource.POD_EVENTS: "involvedObject.uid={},type=Warning",
}


@dataclass(slots=True)
class _Asked:
    since: datetime
    """Time since when the object has been known to wait."""
    source: ExplanationSource
    last: datetime | None = None
    answer: Explanation | None = None


@dataclass
class Explanations:
    """Answers about what waits, by the run that it belongs to."""

    client: Client
    now: Callable[[], datetime]
    _asked: dict[Hashable, dict[str, _Asked]] = field(default_factory=dict)
    _closed: dict[ExplanationSource, datetime] = field(default_factory=dict)
    """Time until which a source is not asked."""
    _next: datetime = LONG_AGO
    """Time before which no question is asked."""

    def forget(self, run: Hashable) -> None:
        """Forget a run that waits for nothing any more."""
        self._asked.pop(run, None)

    async def of(self, run: Hashable, namespace: str, waiting: Iterable[Waiting]) -> Mapping[str, Explanation]:
        """Return what is known about the objects of a run that wait, by uid; ask where it is time to."""
        now, before = self.now(), self._asked.get(run, {})
        present = {
            one.uid: before[one.uid]
            if one.uid in before and before[one.uid].source is one.source
            else _Asked(now, one.source)
            for one in waiting
        }
        if not present:
            self.forget(run)
            return {}
        self._asked[run] = present
        due = [uid for uid, asked in present.items() if self._is_due(asked, now)]
        await asyncio.gather(*(self._ask(namespace, uid, present[uid]) for uid in due))
        return {uid: asked.answer for uid, asked in present.items() if asked.answer is not None}

    def _is_due(self, asked: _Asked, now: datetime) -> bool:
        """Tell whether to ask now, and take a place among the questions of this second."""
        soon = now - asked.since < FIRST_AFTER
        recent = asked.last is not None and now - asked.last < AGAIN_AFTER
        if soon or recent or now < self._next or now < self._closed.get(asked.source, now):
            return False
        self._next = now + timedelta(seconds=1 / PER_SECOND)
        asked.last = now
        return True

    async def _ask(self, namespace: str, uid: str, asked: _Asked) -> None:
        try:
            if asked.source is ExplanationSource.WORKLOAD:
                asked.answer = await self._workload(namespace, uid)
            else:
                fields = _FIELDS[asked.source].format(uid)
                events = await self.client.list_some(EVENTS, namespace, fields=fields)
                asked.answer = _newest(events, self.now())
        except Forbidden as error:
            self._closed[asked.source] = self.now() + FORBIDDEN_AFTER
            logger.warning(
                "why runs wait is not known from %s, which this operator may not list: %s", *_of(asked, error)
            )
        except ApiError as error:
            logger.info("why a run waits is not known from %s: %s", *_of(asked, error))

    async def _workload(self, namespace: str, uid: str) -> Explanation:
        """Ask Kueue's newest version that the API server serves."""
        for kind in WORKLOADS:
            try:
                found = await self.client.list_some(kind, namespace, labels=f"{LABEL_JOB}={uid}")
            except NotFound:
                continue
            live = [one for one in found if _condition(one, "Finished").get("status") != "True"]
            return _of_workload(live[0]) if live else NO_WORKLOAD
        return NO_KUEUE


def _of(asked: _Asked, error: ApiError) -> tuple[str, ApiError]:
    return asked.source.value, error


NO_WORKLOAD = Explanation(
    "NoWorkload",
    "Kueue has no Workload for it, so nobody will admit it; hint: check that Kueue runs, that it manages Jobs (its "
    "integrations), and that it manages this namespace",
)
NO_KUEUE = Explanation(
    "NoKueue",
    "this cluster has no Kueue (the API server knows no Workloads), so nobody will admit it; hint: install Kueue, or "
    "create the run again without the queue's label",
)


# What objects say -------------------------------------------------------------------------------------------------


def _newest(events: Sequence[Mapping[str, Any]], now: datetime) -> Explanation | None:
    """Return the newest of some events, unless it is outdated."""
    said = [(at, event) for event in events if (at := _said_at(event)) is not None and now - at <= OUTDATED]
    if not said:
        return None
    at, event = max(said, key=lambda one: one[0])
    return Explanation(str(event.get("reason") or ""), str(event.get("message") or ""), at)


def _said_at(event: Mapping[str, Any]) -> datetime | None:
    """Return when an event was recorded last, by whichever of its fields the reporter sets."""
    series = event.get("series") or {}
    given = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    try:
        return None if given is None else datetime.fromisoformat(given).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _of_workload(workload: Mapping[str, Any]) -> Explanation:
    """Return why a Workload is not admitted, in Kueue's words."""
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    clusters = status.get("clusterName") or status.get("nominatedClusterNames")
    if clusters:
        where = clusters if isinstance(clusters, str) else ", ".join(map(str, clusters))
        return Explanation(MULTIKUEUE, f"MultiKueue sends it to another cluster ({where})")
    if spec.get("active") is False:
        why = _condition(workload, "Evicted").get("message")
        return Explanation(
            "Deactivated", f"its Workload is deactivated (spec.active is false){f': {why}' if why else ''}"
        )
    reserved = _condition(workload, "QuotaReserved")
    if reserved and reserved.get("status") != "True":
        return Explanation(str(reserved.get("reason") or "Pending"), str(reserved.get("message") or ""))
    checks = [
        one for one in status.get("admissionChecks") or [] if isinstance(one, dict) and one.get("state") != "Ready"
    ]
    if checks:
        said = "; ".join(
            f"admission check {one.get('name')} is {one.get('state')}: {one.get('message')}" for one in checks
        )
        return Explanation("AdmissionCheck", said.rstrip(": "))
    return Explanation("Pending", "its quota is reserved" if reserved else "Kueue has not considered its Workload yet")


def _condition(workload: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of a Workload; {} without it."""
    conditions = (workload.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if isinstance(one, dict) and one.get("type") == kind), {})
