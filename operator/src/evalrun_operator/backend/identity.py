"""Whose child an object is: names, labels and the owner of everything that belongs to one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from evalrun_api import API_VERSION, KIND, EvalRun
from evalrun_api.wire.pods import Component
from evalrun_operator import names


@dataclass(frozen=True, slots=True)
class Identity:
    """An attempt of a run.

    Jobs are named after the run, as people look for them. What is only read by pods is named after its uid as well:
    a run that was deleted and made again must never take up the configuration, the token or the policy of the former
    one, which garbage collection has not come to yet.
    """

    name: str
    namespace: str
    uid: str
    attempt: int

    @classmethod
    def of(cls, run: EvalRun, attempt: int) -> Self:
        """The identity of an attempt."""
        metadata = run.metadata
        assert metadata.name is not None
        assert metadata.namespace is not None
        assert metadata.uid is not None
        return cls(metadata.name, metadata.namespace, metadata.uid, attempt)

    @property
    def _unique(self) -> str:
        return f"{self.name}-{self.uid[:8]}"

    @property
    def token_secret(self) -> str:
        """The Secret with Ray's token, one per run."""
        return names.token_secret(self._unique)

    @property
    def network_policy(self) -> str:
        """The NetworkPolicy, one per run."""
        return names.network_policy(self._unique)

    @property
    def config_map(self) -> str:
        """The ConfigMap with the RunConfig."""
        return names.config_map(self._unique, self.attempt)

    @property
    def service(self) -> str:
        """The headless Service of the driver."""
        return names.service(self._unique, self.attempt)

    @property
    def head(self) -> str:
        """The host name of the driver."""
        return f"{self.service}.{self.namespace}.svc"

    def job(self, component: Component) -> str:
        """The Job of a component."""
        named = names.driver_job if component is Component.DRIVER else names.replicas_job
        return named(self.name, self.attempt)

    def labels(self, component: Component | None = None) -> dict[str, str]:
        """On everything of the attempt."""
        return names.attempt_labels(self.uid, self.attempt, component)

    @property
    def annotations(self) -> dict[str, str]:
        """On everything of the run."""
        return names.run_annotations(self.name)

    def metadata(self, name: str, labels: dict[str, str], **annotations: str) -> dict[str, Any]:
        """Of a child. It goes with its run and never holds it up: no finalizer, the owner's deletion is not blocked."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": labels,
            "annotations": {**self.annotations, **annotations},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }
