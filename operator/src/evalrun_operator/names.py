"""Names and labels of a run's children: one pure module, so that every part finds what another one created.

The names of Services and of Jobs, which become labels of pods and parts of their host names, have 63 characters and no
dots, while an EvalRun's may have 253 and dots: a name that does not fit is truncated and made unique by a hash.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from evalrun_api import EvalRun
from evalrun_api.wire.pods import ANNOTATION_RUN_NAME, LABEL_ATTEMPT, LABEL_COMPONENT, LABEL_RUN, Component

FIELD_MANAGER = "evalrun-operator"
"""Field manager of everything that the operator writes."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Label of an EvalRun: the Kueue queue that admits its replicas."""

_STEM = 40
"""Characters of 63, which leaves room for ``-a<attempt>-replicas-<index>``."""
_PLAIN = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """Identity of an EvalRun that the API server has: none of it is missing."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, run: EvalRun) -> Self:
        """Return the identity of a run that was read from the API server."""
        metadata = run.metadata
        assert metadata.namespace and metadata.name and metadata.uid, "the API server sets all three"
        return cls(metadata.namespace, metadata.name, metadata.uid)

    @property
    def unique(self) -> str:
        """Name by which only pods find things: never those of a run of the same name that was deleted."""
        return f"{self.name}-{self.uid[:8]}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def stem(run: str) -> str:
    """Return the common beginning of the names of a run's children."""
    if len(run) <= _STEM and _PLAIN.fullmatch(run):
        return run
    unique = hashlib.sha256(run.encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9-]+", "-", run)
    if not plain[0].isalpha():
        plain = f"r-{plain}"
    return f"{plain[: _STEM - 9].rstrip('-')}-{unique}"


def token_secret(run: str) -> str:
    """Return the name of the Secret with the run's Ray token."""
    return f"{stem(run)}-ray"


def network_policy(run: str) -> str:
    """Return the name of the run's NetworkPolicy."""
    return f"{stem(run)}-pods"


def config_map(run: str, attempt: int) -> str:
    """Return the name of the ConfigMap with the RunConfig."""
    return f"{stem(run)}-a{attempt}-config"


def service(run: str, attempt: int) -> str:
    """Return the name of the headless Service of the driver."""
    return f"{stem(run)}-a{attempt}"


def driver_job(run: str, attempt: int) -> str:
    """Return the name of the driver's Job."""
    return f"{stem(run)}-a{attempt}-driver"


def replicas_job(run: str, attempt: int) -> str:
    """Return the name of the replicas' Job."""
    return f"{stem(run)}-a{attempt}-replicas"


def run_labels(uid: str) -> dict[str, str]:
    """Return the labels of every child of a run."""
    return {
        "app.kubernetes.io/name": "evalrun",
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        LABEL_RUN: uid,
    }


def attempt_labels(uid: str, attempt: int, component: Component | None = None) -> dict[str, str]:
    """Return the labels of every child of an attempt."""
    labels = run_labels(uid) | {LABEL_ATTEMPT: str(attempt)}
    return labels if component is None else labels | {LABEL_COMPONENT: component.value}


def run_annotations(run: str) -> dict[str, str]:
    """Return the annotations of every child of a run."""
    return {ANNOTATION_RUN_NAME: run}


def results_uri(run: EvalRun) -> str:
    """Return the folder that a run writes: ``<output.uri>/<namespace>/<name>-<first 8 of its uid>/``."""
    observed = ObservedRun.of(run)
    return f"{run.spec.output.uri.rstrip('/')}/{observed.namespace}/{observed.name}-{observed.uid[:8]}/"
