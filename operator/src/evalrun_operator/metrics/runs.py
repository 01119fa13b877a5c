"""The metrics of all runs. Pure: it receives runs and deletions, and returns text.

Every unfinished run has its own series; of the finished ones only the newest have, up to a number and an age, and the
others are only counted. A run that was displaced gets its series back at its next reconcile, once there is room again.

The text of a run is made when something of it changes and is cached: a finished run never changes, and there may be a
thousand of them with dozens of scores.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from prometheus_client.core import Metric as Family

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRun, EvalRunStatus, Phase, Reason
from evalrun_api.metrics import Metric
from evalrun_api.metrics.operator import CONDITION_TRANSITIONS, PHASE_SECONDS, RUNS, RUNS_NOT_EXPORTED
from evalrun_operator.metrics.families import Histogram, LabelledCounter, family_of
from evalrun_operator.metrics.series import Series, series_of
from evalrun_operator.metrics.text import lines
from evalrun_operator.settings import MetricsSettings

Key = tuple[str, str]
"""Namespace and name of an EvalRun."""
Text = Mapping[Metric, bytes]
"""The lines of a run."""

_DAY = 86400.0
_TYPES = frozenset(ConditionType)
_REASONS = frozenset(Reason)


@dataclass(slots=True)
class _Run:
    uid: str | None
    phase: Phase
    since: datetime | None = None
    """When this phase began, if that is known."""
    conditions: Mapping[ConditionType, ConditionStatus] = field(default_factory=dict)
    end: float = 0.0
    """Time of the end of a finished run, Unix time in seconds."""
    series: Series | None = None
    """Series of an unfinished run, to detect changes."""
    text: Text | None = None
    """None if it has no series of its own."""

    def becomes(self, run: EvalRun, phase: Phase) -> bool:
        """Check that it can be the same run: its uid is the same, and a finished run stays as it is."""
        return self.uid == run.metadata.uid and (phase is self.phase or not self.phase.finished)


class ObservedRuns:
    """All runs that were observed and still exist."""

    def __init__(self, settings: MetricsSettings) -> None:
        self._settings = settings
        self._runs: dict[Key, _Run] = {}
        self._newest: list[tuple[float, Key]] = []
        """Finished runs with series, the oldest first."""
        self._phase_seconds = Histogram(PHASE_SECONDS)
        self._transitions = LabelledCounter(CONDITION_TRANSITIONS)

    def see(self, run: EvalRun, status: EvalRunStatus | None, now: datetime, *, invalid: bool = False) -> None:
        """Record a run with the status that was read or written; differences from the last one are transitions.

        Nothing is known about the time before a run was first observed, except that one without a status has been
        Pending since its creation.

        Args:
            run: The run.
            status: Its status, as read or as written just now.
            now: The present time.
            invalid: Whether its spec may be a placeholder.
        """
        status = status or EvalRunStatus()
        phase = status.phase or Phase.PENDING
        key = (run.metadata.namespace or "", run.metadata.name or "")
        before = self._runs.get(key)
        if before is not None and not before.becomes(run, phase):
            self.forget(key)
            before = None
        series = partial(series_of, run, status, invalid=invalid)
        if not phase.finished:
            self._runs[key] = self._unfinished(before, run, status, series(), now)
            return
        if before is None or not before.phase.finished:
            self._runs[key] = self._finished(before, run, status, now)
        self._keep_if_new(key, series, now)

    def forget(self, key: Key) -> None:
        """Remove a deleted run."""
        run = self._runs.pop(key, None)
        if run is not None and run.phase.finished and run.text is not None:
            del self._newest[bisect_left(self._newest, (run.end, key))]

    def families(self, now: datetime) -> Iterator[Family]:
        """Yield the metrics of all runs together. Runs that have become too old lose their series."""
        oldest = self._oldest(now)
        while self._newest and self._newest[0][0] < oldest:
            self._drop_oldest()
        phases = Counter((key[0], run.phase) for key, run in self._runs.items())
        places = sorted({place for place, _ in phases})
        yield family_of(RUNS, {(place, phase.value): phases[place, phase] for place in places for phase in Phase})
        left_out = [run for run in self._runs.values() if run.text is None]
        too_old = sum(run.end < oldest for run in left_out)
        yield family_of(RUNS_NOT_EXPORTED, {("number",): len(left_out) - too_old, ("age",): too_old})
        yield self._phase_seconds.family()
        yield self._transitions.family()

    def texts(self) -> Sequence[Text]:
        """Return the lines of each run that has its own series."""
        return [run.text for run in self._runs.values() if run.text is not None]

    def _unfinished(
        self, before: _Run | None, run: EvalRun, status: EvalRunStatus, series: Series, now: datetime
    ) -> _Run:
        phase = status.phase or Phase.PENDING
        if before is None:
            # A later attempt may be Pending as well, since an unknown time.
            new = phase is Phase.PENDING and not status.attempt
            since = run.metadata.creation_timestamp if new else None
        else:
            self._count_changes(before, status, phase, now)
            since = before.since if phase is before.phase else now
        same = before is not None and before.series == series
        text = before.text if before is not None and same else lines(series)
        conditions = {kind: one.status for kind, one in _conditions(status)}
        return _Run(run.metadata.uid, phase, since, conditions, series=series, text=text)

    def _finished(self, before: _Run | None, run: EvalRun, status: EvalRunStatus, now: datetime) -> _Run:
        assert status.phase is not None
        if before is not None:
            self._count_changes(before, status, status.phase, now)
        end = status.finished_at or run.metadata.creation_timestamp
        return _Run(run.metadata.uid, status.phase, end=0.0 if end is None else end.timestamp())

    def _count_changes(self, before: _Run, status: EvalRunStatus, phase: Phase, now: datetime) -> None:
        if phase is not before.phase and before.since is not None:
            self._phase_seconds.observe(max(0.0, (now - before.since).total_seconds()), before.phase.value)
        for kind, one in _conditions(status):
            if one.status is not before.conditions.get(kind, ConditionStatus.UNKNOWN):
                self._transitions.add(kind.value, one.status.value, one.reason if one.reason in _REASONS else "other")

    def _keep_if_new(self, key: Key, series: Callable[[], Series], now: datetime) -> None:
        """Give a finished run its series if it is among the newest."""
        run = self._runs[key]
        place = (run.end, key)
        if run.text is not None or run.end < self._oldest(now):
            return
        if len(self._newest) >= self._settings.finished_runs:
            if not self._newest or place < self._newest[0]:
                return
            self._drop_oldest()
        insort(self._newest, place)
        run.text = lines(series())

    def _drop_oldest(self) -> None:
        _, key = self._newest.pop(0)
        self._runs[key].text = None

    def _oldest(self, now: datetime) -> float:
        """Return the earliest end of a run that is not too old."""
        return now.timestamp() - self._settings.finished_days * _DAY


def _conditions(status: EvalRunStatus) -> Iterator[tuple[ConditionType, Condition]]:
    """Return the operator's own conditions: others may write any number of them."""
    return ((ConditionType(one.type), one) for one in status.conditions if one.type in _TYPES)
