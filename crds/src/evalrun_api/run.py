"""EvalRun: one evaluation of one model, as a user writes it."""

from __future__ import annotations

from typing import Literal

from evalrun_api.base import Model
from evalrun_api.spec.meta import ObjectMeta
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.status.status import EvalRunStatus


class EvalRun(Model):
    """Evaluation of one model on benchmarks, which ends with reproducible scores."""

    api_version: Literal["evalrun.dev/v1alpha1"] = "evalrun.dev/v1alpha1"
    """Version of this schema."""
    kind: Literal["EvalRun"] = "EvalRun"
    """Kind of the object."""
    metadata: ObjectMeta
    """Metadata of Kubernetes."""
    spec: EvalRunSpec
    """Desired evaluation. Immutable except for policy.suspend, the two times in policy, and replicas.count and
    minCount.
    """
    status: EvalRunStatus | None = None
    """Present state; written by the operator."""
