"""EvalRun: one evaluation of one model, as a user writes it."""

from __future__ import annotations

from typing import Literal

from evalrun_api.base import Model
from evalrun_api.spec.meta import ObjectMeta
from evalrun_api.spec.spec import EvalRunSpec
from evalrun_api.status.status import EvalRunStatus


class EvalRun(Model):
    """An EvalRun evaluates one model on benchmarks and ends with scores that can be trusted."""

    api_version: Literal["evalrun.dev/v1alpha1"] = "evalrun.dev/v1alpha1"
    """Version of this schema."""
    kind: Literal["EvalRun"] = "EvalRun"
    """Kind of the object."""
    metadata: ObjectMeta
    """Kubernetes' own metadata."""
    spec: EvalRunSpec
    """What the user wants. It cannot be changed but for policy.suspend, the two times of policy, and replicas.count and
    minCount.
    """
    status: EvalRunStatus | None = None
    """What is; written by the operator."""
