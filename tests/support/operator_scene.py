"""A namespace with an operator and a scripted kubelet, for the operator's integration tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.cluster import Cluster
from evalrun_api import Counts, Phase, RunProgress, RunResult, Score
from evalrun_api.wire.pods import LABEL_RUN, LABEL_USE, USE_STORAGE
from support.operators import OperatorProcess
from support.playing_kubelet import PlayingKubelet

Object = dict[str, Any]
CRD = Path(__file__).parents[2] / "crds" / "evalrun.dev_evalruns.yaml"
WAIT_S = 60.0

SUCCEEDED = RunResult(
    phase=Phase.SUCCEEDED,
    engine="mock",
    counts=Counts(planned=20, ok=20),
    scores=(Score(task="gsm8k", metric="exact_match", filter="strict-match", value=0.6831, stderr=0.0128, n=20),),
    results_uri="s3://evals/team/nightly-12345678/",
)
RUNNING = RunProgress(phase=Phase.RUNNING, counts=Counts(planned=20, ok=7), planning_done=True, replicas_ready=2)


def with_evalruns(cluster: Cluster) -> Cluster:
    """Return the cluster once it serves EvalRuns."""
    # As users install it: kubectl reads YAML 1.1, where some words are no strings.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(CRD))

    def established() -> bool:
        status = cluster.api.get("customresourcedefinitions", "evalruns.evalrun.dev").get("status") or {}
        conditions = status.get("conditions") or []
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    cluster.wait_for(established, WAIT_S, "the CRD to be served")
    return cluster


@dataclass
class Scene:
    """The part of the cluster that belongs to one test."""

    cluster: Cluster
    namespace: str
    folder: Path

    @property
    def kubelet(self) -> PlayingKubelet:
        return PlayingKubelet(self.cluster, self.namespace)

    def operator(
        self, kubeconfig: Path | None = None, module: str = "evalrun_operator", **more: Any
    ) -> OperatorProcess:
        """Start an operator for this namespace only, faster than in production; ``more``: ``environment``, settings."""
        environment = more.pop("environment", {})
        settings = {"watch": {"namespaces": [self.namespace]}, "resyncSeconds": 5, "progressSeconds": 0.5, **more}
        return OperatorProcess(self.folder, kubeconfig or self.cluster.kubeconfig, settings, module, environment)

    def apply(self, name: str = "nightly", **spec: Any) -> Object:
        """Create an EvalRun of the mock engine."""
        body = {
            "apiVersion": "evalrun.dev/v1alpha1",
            "kind": "EvalRun",
            "metadata": {"name": name},
            "spec": {
                "model": {"uri": "s3://models/tiny/"},
                "engine": {"mock": {}},
                "benchmarks": [{"task": "gsm8k"}],
                "output": {"uri": "s3://evals/"},
                "replicas": {"count": 2},
                **spec,
            },
        }
        return self.cluster.api.apply(body, self.namespace)

    def edit(self, name: str = "nightly", **spec: Any) -> None:
        """Change fields of the spec."""
        self.cluster.api.patch("evr", name, {"spec": spec}, self.namespace)

    def status(self, name: str = "nightly") -> Object:
        """Return the present status; empty before the first."""
        status: Object = self.cluster.api.get("evr", name, self.namespace).get("status") or {}
        return status

    def wait_phase(self, phase: Phase, name: str = "nightly") -> Object:
        """Wait for this phase; return the status."""
        return self.wait(
            lambda: status if (status := self.status(name)).get("phase") == phase else None, f"{name} to be {phase}"
        )

    def wait(self, condition: Callable[[], Any], what: str, deadline_s: float = WAIT_S) -> Any:
        """Wait until the condition is true."""
        return self.cluster.wait_for(condition, deadline_s, what, self.namespace)

    def jobs(self) -> list[str]:
        """Return the names of the runs' Jobs that are not being deleted."""
        jobs = self.cluster.api.list("jobs", self.namespace)
        return sorted(job["metadata"]["name"] for job in jobs if "deletionTimestamp" not in job["metadata"])

    def children(self) -> set[tuple[str, str, str]]:
        """Return kind, name and uid of everything that runs own."""
        kinds = ("jobs", "configmaps", "secrets", "services", "networkpolicies")
        return {
            (kind, one["metadata"]["name"], one["metadata"]["uid"])
            for kind in kinds
            for one in self.cluster.api.list(kind, self.namespace, LABEL_RUN)
        }

    def secret(self, name: str, *, allowed: bool = True) -> None:
        """Create a Secret for storage."""
        labels = {LABEL_USE: USE_STORAGE} if allowed else {}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}
        self.cluster.api.create({**body, "stringData": {"AWS_SECRET_ACCESS_KEY": "do-not-tell"}}, self.namespace)

    def events(self, name: str = "nightly") -> list[str]:
        """Return the reasons of the run's events."""
        events = self.cluster.api.list("events", self.namespace, fields=f"involvedObject.name={name}")
        return [event["reason"] for event in events]


def condition(status: Object, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    return next((one["status"], one["reason"]) for one in status["conditions"] if one["type"] == kind)
