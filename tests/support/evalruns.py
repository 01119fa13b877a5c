"""EvalRuns for tests of the operator, built as sentences: ``make_run("x").with_replicas(4).suspended().build()``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from evalrun_api import EvalRun, EvalRunStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_run(name: str = "nightly") -> Builder:
    """Begin a run with one benchmark and the mock engine."""
    return Builder(name)


@dataclass
class Builder:
    name: str
    spec: dict[str, Any] = field(
        default_factory=lambda: {
            "model": {"uri": "s3://models/tiny/"},
            "engine": {"mock": {}},
            "benchmarks": [{"task": "gsm8k"}],
            "output": {"uri": "s3://evals/"},
        }
    )
    labels: dict[str, str] = field(default_factory=dict)
    status: EvalRunStatus | None = None
    namespace: str = "team"
    uid: str = "0f3c9a52-7c7a-4a55-9d5e-6f2f1a9b8c7d"

    def with_spec(self, **fields: Any) -> Self:
        """Set fields of the spec, by their names in YAML."""
        self.spec |= fields
        return self

    def with_policy(self, **fields: Any) -> Self:
        """Set fields of the policy."""
        self.spec["policy"] = self.spec.get("policy", {}) | fields
        return self

    def with_replicas(self, count: int, **fields: Any) -> Self:
        """Set the number of replicas."""
        self.spec["replicas"] = {"count": count, **fields}
        return self

    def suspended(self) -> Self:
        """Set policy.suspend."""
        return self.with_policy(suspend=True)

    def in_queue(self, queue: str) -> Self:
        """Set Kueue's label."""
        self.labels["kueue.x-k8s.io/queue-name"] = queue
        return self

    def with_status(self, status: EvalRunStatus | None) -> Self:
        """Set the status that the operator left."""
        self.status = status
        return self

    def manifest(self) -> dict[str, Any]:
        """Build the object of the API server."""
        manifest: dict[str, Any] = {
            "apiVersion": "evalrun.dev/v1alpha1",
            "kind": "EvalRun",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "generation": 1,
                "labels": self.labels,
                "creationTimestamp": NOON.isoformat(),
            },
            "spec": self.spec,
        }
        if self.status is not None:
            manifest["status"] = self.status.to_dict()
        return manifest

    def build(self) -> EvalRun:
        """Build the run as the operator parses it."""
        run = EvalRun.model_validate(self.manifest(), by_alias=True, by_name=False)
        return run.model_copy(update={"status": self.status})
