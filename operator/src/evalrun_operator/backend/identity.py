"""Names, labels and owner of everything that belongs to one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from evalrun_api import EvalRun
from evalrun_api.base import API_VERSION, KIND
from evalrun_api.wire.pods import Component
from evalrun_operator import names


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of an attempt of a run.

    Jobs are named after the run, because people look for them. What only pods read is named after its uid as well: a
    run that was deleted and created again must never use the configuration, the token or the policy of the former one,
    which may not have been garbage-collected yet.
    """

    name: str
    namespace: str
    uid: str
    attempt: int

    @classmethod
    def of(cls, run: EvalRun, attempt: int) -> Self:
        """Return the identity of an attempt."""
        observed = names.ObservedRun.of(run)
        return cls(observed.name, observed.namespace, observed.uid, attempt)

    @property
    def _unique(self) -> str:
        return names.ObservedRun(self.namespace, self.name, self.uid).unique

    @property
    def token_secret(self) -> str:
        """Name of the Secret with Ray's token, one per run."""
        return names.token_secret(self._unique)

    @property
    def network_policy(self) -> str:
        """Name of the NetworkPolicy, one per run."""
        return names.network_policy(self._unique)

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap with the RunConfig."""
        return names.config_map(self._unique, self.attempt)

    @property
    def service(self) -> str:
        """Name of the headless Service of the driver."""
        return names.service(self._unique, self.attempt)

    @property
    def head(self) -> str:
        """Host name of the driver."""
        return f"{self.service}.{self.namespace}.svc"

    def job(self, component: Component) -> str:
        """Return the name of a component's Job."""
        named = names.driver_job if component is Component.DRIVER else names.replicas_job
        return named(self.name, self.attempt)

    def labels(self, component: Component | None = None) -> dict[str, str]:
        """Return the labels of everything that belongs to the attempt."""
        return names.attempt_labels(self.uid, self.attempt, component)

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of everything that belongs to the run."""
        return names.run_annotations(self.name)

    def metadata(self, name: str, labels: dict[str, str], **annotations: str) -> dict[str, Any]:
        """Build the metadata of a child: deleted with its run, never blocking the deletion, without finalizer."""
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
