"""What must hold in every simulated world, checked at each change of an object and every few seconds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from evalrun_api import Phase
from evalrun_api.wire.pods import CONFIG_KEY, LABEL_RUN
from support.model_api import ModelApiServer, Object, Ref
from support.model_cluster import QUEUE, ModelCluster, Time
from support.model_runner import Fate, Ledger

BUDGET_S = 150.0
"""Seconds within which an operator that nothing disturbs must act or say why it does not: the longest pause after
failures (60 s), twice, and the time that deliveries take."""
MOVES_S = 60.0
"""Seconds that a change of a Job or pod leaves for its next step."""
OUTLIVES_S = 120.0
"""I3: seconds for which a replica's pod may outlive its run."""

FINISHED = {phase.value for phase in Phase if phase.finished}
_MOVING = {"Pending", "Queued", "Starting", "Running", "Finishing", "Suspended"}
EDGES: dict[str, set[str]] = {
    "": {"Pending", "Starting", "Suspended", "Queued"} | FINISHED,
    "Pending": _MOVING | FINISHED,
    **{phase: _MOVING | FINISHED for phase in _MOVING - {"Pending"}},
    **{phase: {phase} for phase in FINISHED},
}
"""Permitted moves of the phase; of those within an attempt, more below."""


class InvariantBroken(AssertionError):
    """The operator did what it must never do, or not what it must."""


@dataclass
class RunRecord:
    """What is known of one run, from its creation on."""

    ledger: Ledger
    ref: Ref
    status: Object = field(default_factory=dict)
    image: str = ""
    config: Object = field(default_factory=dict)
    finished_at: float | None = None
    """When its end was written."""
    over_at: float | None = None
    """When nothing of it should hold GPUs any more."""
    deleted: bool = False
    suspended_since: float | None = None
    spoken_at: float = 0.0
    """When its status last changed."""
    moved_at: float = 0.0
    """When a Job or pod of it last changed."""
    denied: str = ""
    """Why it may be Invalid, apart from its drivers."""


@dataclass
class Audit:
    """The checks of one world."""

    server: ModelApiServer
    cluster: ModelCluster
    time: Time
    records: dict[str, RunRecord] = field(default_factory=dict)
    healthy_since: float = 0.0
    """Since when an operator has been working with nothing in its way."""
    seen: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    """The first broken invariant: the operator under test may swallow what is raised in its requests."""

    def __post_init__(self) -> None:
        self.server.on_change.append(self._changed)

    def broken(self, what: str) -> None:
        """Fail, at this time."""
        broken = InvariantBroken(f"{what} (at {self.time.now():.1f} s)")
        self.failure = self.failure or broken
        raise broken

    # At each change ----------------------------------------------------------------------------------------------

    def _changed(self, what: str, ref: Ref, one: Object) -> None:
        if ref.plural == "evalruns":
            self._run_changed(what, ref, one)
            return
        if ref.plural in {"jobs", "pods"} and (moved := self._run_of(one)) is not None:
            moved.moved_at = self.time.now()
        if what == "ADDED" and (record := self._record_of(one)) is not None:
            if ref.plural == "jobs":
                self._job_added(ref, one, record)
            elif ref.plural == "configmaps":
                self._config_added(one, record)

    def _record_of(self, child: Object) -> RunRecord | None:
        owners = child["metadata"].get("ownerReferences") or [{}]
        return self.records.get(owners[0].get("uid", ""))

    def _run_of(self, child: Object) -> RunRecord | None:
        return self.records.get(run_of(child))

    def _job_added(self, ref: Ref, job: Object, record: RunRecord) -> None:
        attempt = attempt_of(job)
        if record.finished_at is not None:
            self.broken(f"restart: {ref.name} is created after the end")
        for place, other in self.server.owned(record.ledger.uid, "jobs"):
            if attempt_of(other) != attempt and not job_ended(other) and "deletionTimestamp" not in other["metadata"]:
                self.broken(f"two attempts: {ref.name} is created beside {place.name}")
        image = job["spec"]["template"]["spec"]["containers"][0]["image"]
        if record.status.get("runnerImage", image) != image:
            self.broken(f"image: {ref.name} has {image}, its run began with {record.status['runnerImage']}")
        self.seen["attempts"] += attempt > 1

    def _config_added(self, config: Object, record: RunRecord) -> None:
        """I5: all attempts have the same input, apart from their number."""
        given = json.loads(config["data"][CONFIG_KEY])
        given.pop("attempt", None)
        if record.config and record.config != given and not self.seen["edits"]:
            self.broken("I5: another attempt has another input")
        record.config = given

    def driver_starts(self, ledger: Ledger, ref: Ref, attempt: int) -> None:
        """Check that no other driver runs that nobody is about to end: the ledger permits those that are leaving."""
        for driver in ledger.drivers:
            pod = self.server.objects.get(driver.ref)
            if not driver.alive or driver.ref == ref or pod is None or pod["metadata"]["uid"] != driver.uid:
                continue
            self.seen["epochs"] += 1
            cut = pod["spec"]["nodeName"] in self.cluster.cut
            if not cut and "deletionTimestamp" not in pod["metadata"] and self._has_job(pod):
                self.broken(f"two drivers: {ref.name} starts beside {driver.ref.name}")

    def _has_job(self, pod: Object) -> bool:
        """Check whether the Job of a pod exists; otherwise the garbage collector is about to delete the pod."""
        owner = pod["metadata"]["ownerReferences"][0]
        job = self.server.objects.get(Ref("jobs", pod["metadata"]["namespace"], owner["name"]))
        return job is not None and job["metadata"]["uid"] == owner["uid"]

    def _run_changed(self, what: str, ref: Ref, run: Object) -> None:
        uid = run["metadata"]["uid"]
        record = self.records.setdefault(uid, RunRecord(Ledger(uid), ref, spoken_at=self.time.now()))
        now = self.time.now()
        if what == "DELETED":
            record.deleted = True
            record.over_at = now if record.over_at is None else record.over_at
            # The garbage collector has yet to delete what the run leaves.
            self.healthy_since = max(self.healthy_since, now)
            return
        suspended = run["spec"].get("policy", {}).get("suspend", False)
        record.suspended_since = (record.suspended_since or now) if suspended else None
        status = run.get("status") or {}
        if status != record.status:
            self._status_changed(record, run, record.status, status)
            record.status, record.spoken_at = status, now
            if status.get("phase") in FINISHED and record.finished_at is None:
                record.finished_at = now
                record.over_at = now if record.over_at is None else record.over_at
                self.seen[status["phase"]] += 1

    def _status_changed(self, record: RunRecord, run: Object, before: Object, after: Object) -> None:
        if after.get("phase", "") not in EDGES[before.get("phase", "")]:
            self.broken(f"edge: {before.get('phase')} -> {after.get('phase')}")
        for field_, kept in (("startedAt", True), ("finishedAt", True), ("runnerImage", True), ("attempt", False)):
            old, new = before.get(field_), after.get(field_)
            if old is not None and (new is None or (new != old if kept else new < old)):
                self.broken(f"status: {field_} {old} -> {new}")
        for count in ("chargedAttempts", "activeSeconds", "observedGeneration"):
            if after.get(count, 0) < before.get(count, 0):
                self.broken(f"status: {count} {before.get(count)} -> {after.get(count)}")
        for kind in ("Complete", "Failed"):
            if condition(before, kind).get("status") == "True" and condition(after, kind).get("status") != "True":
                self.broken(f"status: {kind} is not True any more")
        if after.get("chargedAttempts", 0) > record.ledger.ends:
            self.broken(f"charges: {after['chargedAttempts']} of {record.ledger.ends} failures")
        if after.get("phase") in FINISHED and before.get("phase") not in FINISHED:
            self._check_end(record, run, after)

    def _check_end(self, record: RunRecord, run: Object, status: Object) -> None:
        """No run ends without a cause."""
        ledger, phase, policy = record.ledger, status["phase"], run["spec"].get("policy", {})
        reason = condition(status, "Failed").get("reason")
        if phase == "Succeeded" and not (ledger.complete and status["progress"]["ok"] == status["progress"]["planned"]):
            self.broken("I2: Succeeded without COMPLETE")
        if phase == "Invalid" and ledger.refused is not Fate.INVALID and not record.denied:
            self.broken(f"cause: Invalid, {reason}: {condition(status, 'Failed').get('message')}")
        if phase != "Failed":
            return
        if reason == "AttemptsExhausted":
            if status["chargedAttempts"] < policy.get("maxAttempts", 3):
                self.broken(f"cause: {status['chargedAttempts']} attempts were charged")
        elif reason == "DisruptionsExhausted":
            if status["disruptions"]["count"] <= policy.get("maxDisruptions", 20):
                self.broken(f"cause: {status['disruptions']} is within the budget")
        elif reason == "DeadlineExceeded":
            if "activeDeadlineSeconds" not in policy:
                self.broken("cause: a deadline that nobody set")
        elif ledger.refused is not Fate.FINAL:
            self.broken(f"cause: Failed, {reason}: {condition(status, 'Failed').get('message')}")

    # Every few seconds -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Check what must happen in time."""
        now = self.time.now()
        for record in self.records.values():
            if record.over_at is None and record.ledger.complete:
                record.over_at = now
            if record.over_at is not None and now - record.over_at > OUTLIVES_S:
                self._check_outlived(record)
            if record.deleted or record.finished_at is not None:
                continue
            quiet = now - max(self.healthy_since, record.spoken_at)
            if record.suspended_since is not None:
                since = max(self.healthy_since, record.suspended_since)
                if now - since > BUDGET_S and not record.ledger.complete:
                    self._check_suspended(record)
            elif quiet > BUDGET_S and now - record.moved_at > MOVES_S:
                self._check_silence(record)

    def _check_outlived(self, record: RunRecord) -> None:
        """I3."""
        for job, _ in self.server.owned(record.ledger.uid, "jobs"):
            if "replicas" not in job.name:
                continue
            for ref, pod in self.server.owned(self.server.objects[job]["metadata"]["uid"], "pods"):
                node = pod["spec"].get("nodeName")
                leaves = node in self.cluster.cut or "deletionTimestamp" in pod["metadata"]
                if pod["status"]["phase"] == "Running" and not leaves:
                    self.broken(f"I3: {ref.name} outlives its run")

    def _check_suspended(self, record: RunRecord) -> None:
        living = [ref.name for ref, job in self.server.owned(record.ledger.uid, "jobs") if not job_ended(job)]
        if living:
            self.broken(f"suspend: {', '.join(living)} is still there")
        if record.status.get("phase") != "Suspended":
            self.broken(f"suspend: the phase is {record.status.get('phase')}")

    def _check_silence(self, record: RunRecord) -> None:
        """A run that waits says for what."""
        jobs = self.server.owned(record.ledger.uid, "jobs")
        words = " ".join(one.get("message", "") for one in record.status.get("conditions", ()))
        waits = [self._waits_for(record, ref, job) for ref, job in jobs if not job_ended(job)]
        for cause in filter(None, waits):
            if cause not in words:
                self.broken(f"silence: nothing is said about {cause!r}: {words[:300]}")
        if not any(waits) and not record.denied:
            self.broken(f"silence: nothing happens, {record.status.get('phase')}: {words[:300]}")

    def _waits_for(self, record: RunRecord, ref: Ref, job: Object) -> str:
        """Return words that the status of a run must hold that waits for this Job; '' if it does not wait."""
        if job["spec"].get("suspend"):
            return str(job["metadata"]["labels"].get(QUEUE, ""))
        for _, pod in self.server.owned(job["metadata"]["uid"], "pods"):
            if any(one.get("reason") == "Unschedulable" for one in pod["status"]["conditions"]):
                return "Insufficient"
        return ""


def condition(status: Object, kind: str) -> Any:
    """Return a condition, empty if it is absent."""
    return next((one for one in status.get("conditions", ()) if one["type"] == kind), {})


def run_of(child: Object) -> str:
    """Return the uid of the run that an object is labelled with; '' for other objects."""
    return str((child["metadata"].get("labels") or {}).get(LABEL_RUN, ""))


def attempt_of(job: Object) -> int:
    """Return the attempt that a Job belongs to."""
    return int(job["metadata"]["labels"]["evalrun.dev/attempt"])


def job_ended(job: Object) -> bool:
    """Check whether nothing of a Job runs any more."""
    kinds = {one["type"] for one in job.get("status", {}).get("conditions", ())}
    return bool(kinds & {"Complete", "Failed", "SuccessCriteriaMet"})
