"""A model of what runs around an operator: Job controller, scheduler, kubelets, nodes, garbage collector, Kueue.

It behaves as Kubernetes 1.34 does with the Jobs of a run, in virtual time. What runs in their pods: ``model_runner``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from support.evalruns import NOON
from support.model_api import ModelApiServer, Object, Ref, Refused, stamp

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
QUEUE = "kueue.x-k8s.io/queue-name"
NODES = ("node-0", "node-1", "node-2")
OVER = {"Succeeded", "Failed"}


class Process(Protocol):
    """A process in a pod."""

    def terminate(self) -> None:
        """Receive SIGTERM."""

    def kill(self) -> None:
        """End at once, without a word."""


@dataclass
class Time:
    """The clock of the world, in seconds of the event loop."""

    loop: asyncio.AbstractEventLoop
    rng: random.Random

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return self.loop.time()

    def date(self) -> datetime:
        """Return the present time in whole seconds."""
        return (NOON + timedelta(seconds=self.now())).replace(microsecond=0)

    def after(self, low: float, high: float, work: Callable[..., None], *given: Any) -> None:
        """Do something in a while."""
        self.loop.call_later(self.rng.uniform(low, high), work, *given)


@dataclass
class ModelCluster:
    """Controllers and nodes over a model API server."""

    server: ModelApiServer
    time: Time
    start_process: Callable[[Ref, Object], Process]
    """Starts what runs in a pod."""
    processes: dict[str, Process] = field(default_factory=dict)
    """Processes that live, by the uid of their pod."""
    cut: set[str] = field(default_factory=set)
    """Nodes that nobody can reach."""
    full: bool = False
    """Whether no node has room for a replica."""
    admits: bool = True
    """Whether the queue admits Jobs."""
    _unsynced: set[Ref] = field(default_factory=set)
    _failures: Counter[tuple[str, int]] = field(default_factory=Counter)
    _unsaid: list[tuple[str, Ref, Object]] = field(default_factory=list)
    """What kubelets of cut nodes would report: node, pod, status."""

    def __post_init__(self) -> None:
        self.server.on_change.append(self._changed)
        for node in NODES:
            self.server.create("nodes", "", {"metadata": {"name": node}, "status": _ready_node("True")})

    def _changed(self, what: str, ref: Ref, one: Object) -> None:
        match ref.plural:
            case "jobs" if what != "DELETED":
                self._sync_soon(ref)
            case "pods":
                self._pod_changed(what, ref, one)
        if what == "DELETED":
            self.time.after(0.5, 15, self._collect, one["metadata"]["uid"])
        elif what == "ADDED" and self._lost_owner(one):
            self.time.after(0.5, 15, self.server.delete, ref)

    # Garbage collector -------------------------------------------------------------------------------------------

    def _collect(self, uid: str) -> None:
        for ref in list(self.server.by_owner.get(uid, ())):
            self.server.delete(ref)

    def _lost_owner(self, one: Object) -> bool:
        owners = one["metadata"].get("ownerReferences") or ()
        places = {"EvalRun": "evalruns", "Job": "jobs"}
        namespace = one["metadata"]["namespace"]
        found = [self.server.objects.get(Ref(places[each["kind"]], namespace, each["name"])) for each in owners]
        return any(
            each is None or each["metadata"]["uid"] != owner["uid"] for each, owner in zip(found, owners, strict=True)
        )

    # Job controller and Kueue ------------------------------------------------------------------------------------

    def _sync_soon(self, ref: Ref) -> None:
        if ref not in self._unsynced:
            self._unsynced.add(ref)
            self.time.after(0.1, 1.5, self._sync, ref)

    def _sync(self, ref: Ref) -> None:
        self._unsynced.discard(ref)
        job = self.server.objects.get(ref)
        if job is None:
            return
        spec, status = job["spec"], job.get("status", {})
        if spec.get("suspend"):
            self._suspended(ref, job)
            return
        if "startTime" not in status:
            self.server.update(ref, status={"startTime": stamp(self.time.date())})
        pods = self.server.owned(job["metadata"]["uid"], "pods")
        failing = self._failure_of(job) or self._count(ref, job, pods)
        if failing is None and (limit := spec.get("activeDeadlineSeconds")) is not None:
            passed = (self.time.date() - _date(job["status"]["startTime"])) / timedelta(seconds=1)
            if passed >= limit:
                failing = ("DeadlineExceeded", "Job was active longer than specified deadline")
            else:
                self.time.after(limit - passed, limit - passed + 1, self._sync_soon, ref)
        self._conclude(ref, job, pods, failing)

    def _suspended(self, ref: Ref, job: Object) -> None:
        for place, pod in self.server.owned(job["metadata"]["uid"], "pods"):
            if pod["status"]["phase"] not in OVER:
                self.server.delete(place)
        if job["metadata"]["labels"].get(QUEUE):
            self.time.after(1, 20, self._admit, ref)

    def _admit(self, ref: Ref) -> None:
        job = self.server.objects.get(ref)
        if job is None or not job["spec"].get("suspend"):
            return
        if self.admits:
            self.server.update(ref, spec={"suspend": False})
        else:
            self.time.after(10, 20, self._admit, ref)

    @staticmethod
    def _failure_of(job: Object) -> tuple[str, str] | None:
        for one in job.get("status", {}).get("conditions", ()):
            if one["type"] in {"FailureTarget", "Failed"}:
                return one["reason"], one["message"]
        return None

    def _count(self, ref: Ref, job: Object, pods: list[tuple[Ref, Object]]) -> tuple[str, str] | None:
        """Count pods that are over, by the podFailurePolicy; return why the Job fails."""
        failing: tuple[str, str] | None = None
        done = {int(one) for one in job.get("status", {}).get("completedIndexes", "").split(",") if one}
        failed = {int(one) for one in job.get("status", {}).get("failedIndexes", "").split(",") if one}
        for place, pod in pods:
            if pod["status"]["phase"] not in OVER or not pod["metadata"].get("finalizers"):
                continue
            index = int(pod["metadata"]["annotations"].get(INDEX, 0))
            action = self._action(job, pod)
            if pod["status"]["phase"] == "Succeeded":
                done.add(index)
            elif action == "FailJob":
                failing = ("PodFailurePolicy", f"Container of pod {place.name} failed with a code that fails the Job")
            elif action == "Count" and "backoffLimitPerIndex" not in job["spec"]:
                failing = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
            elif action == "Count":
                counted = (job["metadata"]["uid"], index)
                self._failures[counted] += 1
                if self._failures[counted] > job["spec"]["backoffLimitPerIndex"]:
                    failed.add(index)
            self.server.update(place, finalizers=[])
        self.server.update(ref, status={"completedIndexes": _joined(done), "failedIndexes": _joined(failed)})
        return failing

    @staticmethod
    def _action(job: Object, pod: Object) -> str:
        code = pod["status"]["containerStatuses"][0]["state"].get("terminated", {}).get("exitCode")
        disrupted = any(one["type"] == "DisruptionTarget" for one in pod["status"]["conditions"])
        for rule in job["spec"]["podFailurePolicy"]["rules"]:
            if "onPodConditions" in rule and disrupted:
                return str(rule["action"])
            if "onExitCodes" in rule and code in rule["onExitCodes"]["values"]:
                return str(rule["action"])
        return "Count"

    def _conclude(self, ref: Ref, job: Object, pods: list[tuple[Ref, Object]], failing: tuple[str, str] | None) -> None:
        done = [one for one in job["status"].get("completedIndexes", "").split(",") if one]
        failed = [one for one in job["status"].get("failedIndexes", "").split(",") if one]
        active = [(place, pod) for place, pod in pods if place in self.server.objects and _active(pod)]
        complete = len(done) >= job["spec"]["completions"]
        if not complete and failing is None:
            self._fill(job, active, {int(one) for one in (*done, *failed)})
            return
        for place, _ in active:
            self.server.delete(place)
        interim, final = ("SuccessCriteriaMet", "Complete") if complete else ("FailureTarget", "Failed")
        reason, message = failing if failing and not complete else ("CompletionsReached", "Reached expected number")
        kinds = [interim] if active else [interim, final]
        there = [one["type"] for one in job["status"].get("conditions", ())]
        if final in there or (active and interim in there):
            return
        at = stamp(self.time.date())
        conditions = [
            {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": at}
            for kind in kinds
        ]
        self.server.update(ref, status={"conditions": conditions, **({"completionTime": at} if complete else {})})

    def _fill(self, job: Object, active: list[tuple[Ref, Object]], closed: set[int]) -> None:
        """Create the pods that are missing, and delete those of too high an index."""
        spec, metadata = job["spec"], job["metadata"]
        taken = {int(pod["metadata"]["annotations"].get(INDEX, 0)) for _, pod in active}
        for place, pod in active:
            if int(pod["metadata"]["annotations"].get(INDEX, 0)) >= spec["completions"]:
                self.server.delete(place)
        for index in range(spec["completions"]):
            if index not in taken and index not in closed:
                self._create_pod(job, index, indexed=spec.get("completionMode") == "Indexed")
        if len(taken) < spec["completions"]:
            self.time.after(10, 20, self._sync_soon, Ref("jobs", metadata["namespace"], metadata["name"]))

    def _create_pod(self, job: Object, index: int, *, indexed: bool) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-{index}-{self.time.rng.randrange(16**5):05x}",
                "labels": template["metadata"]["labels"],
                "annotations": {**template["metadata"]["annotations"], **({INDEX: str(index)} if indexed else {})},
                "ownerReferences": [{**owner, "controller": True}],
                "finalizers": [TRACKING],
            },
            "spec": {
                "terminationGracePeriodSeconds": template["spec"]["terminationGracePeriodSeconds"],
                "containers": [{"name": template["spec"]["containers"][0]["name"]}],
            },
            "status": {"phase": "Pending", "conditions": []},
        }
        try:
            self.server.create("pods", metadata["namespace"], pod)
        except Refused:
            self.time.after(5, 30, self._sync_soon, Ref("jobs", metadata["namespace"], metadata["name"]))

    # Scheduler and kubelets --------------------------------------------------------------------------------------

    def _pod_changed(self, what: str, ref: Ref, pod: Object) -> None:
        owner = pod["metadata"]["ownerReferences"][0]
        job = self.server.objects.get(Ref("jobs", ref.namespace, owner["name"]))
        if job is not None and job["metadata"]["uid"] == owner["uid"]:
            self._sync_soon(Ref("jobs", ref.namespace, owner["name"]))
        elif pod["metadata"].get("finalizers") and what != "DELETED":
            self.time.after(0.1, 2, self._orphan, ref)
        uid = pod["metadata"]["uid"]
        if what == "ADDED":
            self.time.after(0.2, 2, self._schedule, ref, uid)
        elif what == "DELETED":
            if uid in self.processes and pod["spec"].get("nodeName") not in self.cut:
                self.processes.pop(uid).kill()
        elif "deletionTimestamp" in pod["metadata"]:
            self.time.after(0.1, 1, self._terminate, ref, uid)

    def _orphan(self, ref: Ref) -> None:
        """The Job controller lets pods without a Job go."""
        if ref in self.server.objects:
            self.server.update(ref, finalizers=[])

    def _schedule(self, ref: Ref, uid: str) -> None:
        pod = self._pod(ref, uid)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        nodes = [node for node in NODES if node not in self.cut]
        if not nodes or (self.full and "replicas" in ref.name):
            message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            if not pod["status"]["conditions"]:
                unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                self.server.update(ref, status={"conditions": [{**unschedulable, "message": message}]})
            self.time.after(5, 10, self._schedule, ref, uid)
            return
        self.server.update(ref, status={"conditions": []}, spec={"nodeName": self.time.rng.choice(nodes)})
        self.time.after(0.5, 4, self._start, ref, uid)

    def _start(self, ref: Ref, uid: str) -> None:
        pod = self._pod(ref, uid)
        if pod is None or "deletionTimestamp" in pod["metadata"] or pod["spec"]["nodeName"] in self.cut:
            return
        if uid in self.processes or pod["status"]["phase"] != "Pending":
            return
        state = {"running": {"startedAt": stamp(self.time.date())}}
        self.report(ref, uid, "Running", state, podIP=f"10.0.{int(uid[:8], 16) >> 8}.{int(uid[:8], 16) & 255}")
        self.processes[uid] = self.start_process(ref, pod)

    def _terminate(self, ref: Ref, uid: str) -> None:
        pod = self._pod(ref, uid)
        if pod is None or pod["spec"].get("nodeName") in self.cut:
            return
        if uid in self.processes:
            self.processes[uid].terminate()
        else:
            self._gone(ref, uid)

    def _gone(self, ref: Ref, uid: str) -> None:
        """The kubelet has nothing of the pod any more."""
        pod = self._pod(ref, uid)
        if pod is not None and pod["status"]["phase"] not in OVER:
            self.report(ref, uid, "Failed", {})
        if self._pod(ref, uid) is not None:
            self.server.delete(ref, 0)

    def report(self, ref: Ref, uid: str, phase: str, state: Object, *, ready: bool = False, **more: str) -> None:
        """Report the state of a pod's container, as its kubelet does."""
        pod = self._pod(ref, uid)
        if pod is None:
            return
        status: Object = {
            "phase": phase,
            "containerStatuses": [{"name": pod["spec"]["containers"][0]["name"], "state": state}],
            "conditions": [
                *(one for one in pod["status"]["conditions"] if one["type"] != "Ready"),
                {"type": "Ready", "status": str(ready)},
            ],
            **more,
        }
        node = pod["spec"].get("nodeName", "")
        if node in self.cut:
            self._unsaid.append((node, ref, {"uid": uid, "status": status}))
            return
        self.server.update(ref, status=status)

    def exit(self, ref: Ref, uid: str, code: int, reason: str, message: str) -> None:
        """End the container of a pod."""
        self.processes.pop(uid, None)
        end = {"exitCode": code, "reason": reason, "message": message, "finishedAt": stamp(self.time.date())}
        self.report(ref, uid, "Failed" if code else "Succeeded", {"terminated": end})
        pod = self._pod(ref, uid)
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            self.time.after(0.1, 2, self._terminate, ref, uid)

    def _pod(self, ref: Ref, uid: str) -> Object | None:
        pod = self.server.objects.get(ref)
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    # Faults ------------------------------------------------------------------------------------------------------

    def evict(self, ref: Ref) -> None:
        """Drain, preempt: the pod is a disruption's target, and deleted."""
        pod = self.server.objects.get(ref)
        if pod is None or pod["status"]["phase"] in OVER or "deletionTimestamp" in pod["metadata"]:
            return
        target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self.server.update(ref, status={"conditions": [*pod["status"]["conditions"], target]})
        self.server.delete(ref)

    def cut_off(self, node: str) -> None:
        """Cut a node off; after a while its pods are to be deleted, and nobody confirms it."""
        if node not in self.cut:
            self.cut.add(node)
            self.time.after(40, 50, self._unreachable, node)

    def _unreachable(self, node: str) -> None:
        if node in self.cut:
            self.server.update(Ref("nodes", "", node), status=_ready_node("Unknown"))
            for ref, pod in self.server.of("pods"):
                if pod["spec"].get("nodeName") == node:
                    self.time.after(30, 31, self.evict, ref)

    def reconnect(self, node: str) -> None:
        """Reach the node again: its kubelet reports, and ends what should not run any more."""
        if node not in self.cut:
            return
        self.cut.discard(node)
        self.server.update(Ref("nodes", "", node), status=_ready_node("True"))
        unsaid = [one for one in self._unsaid if one[0] == node]
        self._unsaid = [one for one in self._unsaid if one[0] != node]
        for _, ref, said in unsaid:
            if self._pod(ref, said["uid"]) is not None:
                self.server.update(ref, status=said["status"])
        known = {pod["metadata"]["uid"] for _, pod in self.server.of("pods")}
        for uid in [uid for uid in self.processes if uid not in known]:
            self.processes.pop(uid).kill()
        for ref, pod in self.server.of("pods"):
            uid = pod["metadata"]["uid"]
            if pod["spec"].get("nodeName") == node and "deletionTimestamp" in pod["metadata"]:
                self.time.after(0.1, 1, self._terminate, ref, uid)
            elif pod["spec"].get("nodeName") == node and pod["status"]["phase"] == "Pending":
                self.time.after(0.5, 4, self._start, ref, uid)


def _active(pod: Object) -> bool:
    return pod["status"]["phase"] not in OVER


def _joined(indexes: set[int]) -> str:
    return ",".join(map(str, sorted(indexes)))


def _ready_node(status: str) -> Object:
    return {"conditions": [{"type": "Ready", "status": status}]}


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
