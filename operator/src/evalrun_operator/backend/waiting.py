"""What of a run waits, so that the cluster is asked why; pure."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_operator.state.children import Children
from evalrun_operator.state.explanations import ExplanationSource, Waiting


def waiting(seen: Children) -> Iterator[Waiting]:
    """List what waits: of each Job its missing pods, or else its queue, and one of the pods that are being prepared."""
    for job in seen.jobs:
        if job.over:
            continue
        if job.suspended:
            yield Waiting(job.uid, ExplanationSource.WORKLOAD)
            continue
        active = [pod for pod in seen.of(job) if pod.active]
        if len(active) < job.wanted:
            yield Waiting(job.uid, ExplanationSource.JOB_EVENTS)
        # The oldest stands for all: pods of one Job differ in nothing but their index.
        prepared = next((pod for pod in active if pod.prepared), None)
        if prepared is not None:
            yield Waiting(prepared.uid, ExplanationSource.POD_EVENTS)
