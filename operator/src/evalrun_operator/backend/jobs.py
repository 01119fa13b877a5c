"""The backend of plain Jobs. Pods finish and free their GPUs while the operator is down."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from evalrun_api import EvalRun
from evalrun_api.wire.pods import Component
from evalrun_operator.backend import manifests
from evalrun_operator.backend.attempts import attempts
from evalrun_operator.backend.checks import spec_problems
from evalrun_operator.backend.children import parse
from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.job_manifests import driver_job, replicas_job
from evalrun_operator.backend.limits import allowed_replicas
from evalrun_operator.backend.repairs import repairs
from evalrun_operator.backend.runconfig import runconfig
from evalrun_operator.backend.waiting import waiting
from evalrun_operator.kube.objects import (
    CONFIG_MAPS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
    Change,
    Create,
    Delete,
    Kind,
    Manifest,
    Patch,
)
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.children import Children, Job, Pod
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.explanations import Waiting
from evalrun_operator.state.observed import Attempt, Missing, References

MOST_INDEXES = 100_000
"""Indexes of an Indexed Job with a back-off per index, at most."""


def random_token() -> str:
    """Create a token for the Ray cluster of one run: 256 random bits."""
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class JobsBackend:
    """A backend with a driver Job and an Indexed Job of replicas per attempt."""

    settings: OperatorSettings
    token: Callable[[], str] = random_token
    """Creates a Ray token; the only part that is not deterministic."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Jobs, and the pods that they create."""
        return (JOBS, PODS)

    def problems(self, run: EvalRun, references: References | None = None) -> tuple[Missing, ...]:
        """List what the cluster would reject of children made from this spec."""
        return spec_problems(run, self.settings, references)

    def parse(self, kind: Kind, manifest: Manifest) -> Job | Pod | None:
        """Parse a Job or a pod; see ``Backend.parse``."""
        return parse(kind, manifest)

    def waiting(self, objects: Objects) -> tuple[Waiting, ...]:
        """List the Jobs and pods that wait."""
        return tuple(waiting(objects.children))

    def attempts(self, objects: Objects) -> Mapping[int, Attempt]:
        """Summarize the existing children by attempt number."""
        return attempts(objects.children, objects.explanations)

    def changes(
        self, run: EvalRun, desired: DesiredState, objects: Objects, references: References | None
    ) -> tuple[Change, ...]:
        """Compute the writes that lead to the desired state; see ``Backend.changes``.

        Raises:
            KeyError: A driver is to be created, and ``references`` lacks a run that the spec names.
        """
        existing = objects.children
        return (
            *_cleared(existing, desired.attempt),
            *self._driver(run, desired, existing, references),
            *self._replicas(run, desired, existing),
        )

    def repairs(self, objects: Objects, now: datetime) -> tuple[Change, ...]:
        """Give up pods on lost nodes, and keep consecutive disruptions from delaying replacements for minutes."""
        return tuple(repairs(objects.children, objects.lost_nodes, now))

    def _settings_with(self, image: str | None) -> OperatorSettings:
        """Pin the image of the run: driver, replicas and all attempts use the same one."""
        if image is None:
            return self.settings
        pinned = self.settings.image.model_copy(update={"reference": image})
        return self.settings.model_copy(update={"image": pinned})

    def _driver(
        self, run: EvalRun, desired: DesiredState, seen: Children, references: References | None
    ) -> Iterator[Change]:
        there = _find(seen, desired.attempt, Component.DRIVER)
        if desired.driver is Desired.ABSENT:
            yield from _delete(there)
        if desired.driver is not Desired.RUNNING or there is not None:
            return
        identity = Identity.of(run, desired.attempt)
        settings = self._settings_with(desired.image)
        config = _input(run, desired.attempt, settings, references)
        yield Create(SECRETS, manifests.token_secret(identity, self.token()))
        yield Create(CONFIG_MAPS, manifests.config_map(identity, config))
        yield Create(SERVICES, manifests.service(identity))
        if self.settings.network_policy.enabled:
            yield Create(NETWORK_POLICIES, manifests.network_policy(identity, self.settings.network_policy))
        # Last: where the Job exists, everything it needs exists, whenever the operator was killed.
        yield Create(JOBS, driver_job(run, identity, settings, desired.seconds_left))

    def _replicas(self, run: EvalRun, desired: DesiredState, seen: Children) -> Iterator[Change]:
        there = _find(seen, desired.attempt, Component.REPLICA)
        if desired.replicas is Desired.ABSENT:
            yield from _delete(there)
        if desired.replicas is not Desired.RUNNING:
            return
        if there is None:
            identity = Identity.of(run, desired.attempt)
            count = allowed_replicas(run.spec, self.settings, desired.count)
            settings = self._settings_with(desired.image)
            yield Create(JOBS, replicas_job(run, identity, settings, count, desired.queue))
        elif there.complete or there.failing:
            # It runs nothing any more, and a Job cannot be restarted.
            yield from _delete(there)
        elif not there.queue and not there.deleting:
            present = there.parallelism - there.closed
            yield from _resize(there, allowed_replicas(run.spec, self.settings, desired.count, present))


def _input(run: EvalRun, attempt: int, settings: OperatorSettings, references: References | None) -> str:
    """Return the RunConfig of an attempt as JSON: after the first attempt that of the first, as it was written.

    All attempts run the image of the first, which reads what its version wrote: made anew after an upgrade, a RunConfig
    would hold fields that this image refuses, and lack what the new definition has pruned from the spec.
    """
    if references is None or references.first_config is None:
        return runconfig(run, attempt, settings, references).to_json()
    return json.dumps({**references.first_config, "attempt": attempt, "allowCode": settings.allow_code})


def _resize(job: Job, count: int) -> Iterator[Change]:
    """Resize to ``count`` replicas; both numbers at once, because an Indexed Job can only be changed that way.

    The index of a replica that exited with 0, as after waiting long for a driver, is completed for good; while replicas
    are desired, one more index replaces it.
    """
    size = min(count + job.closed, MOST_INDEXES)
    if (job.parallelism, job.completions) != (size, size):
        yield Patch(JOBS, job.name, job.uid, {"spec": {"parallelism": size, "completions": size}})


def _find(seen: Children, attempt: int, component: Component) -> Job | None:
    return next((job for job in seen.jobs if job.attempt == attempt and job.component is component), None)


def _cleared(seen: Children, attempt: int) -> Iterator[Change]:
    """Delete the Jobs of earlier attempts. A driver that ended stays, for its log and for its charge."""
    for job in seen.jobs:
        ended_driver = job.component is Component.DRIVER and (job.complete or job.failed)
        if job.attempt < attempt and not ended_driver:
            yield from _delete(job)


def _delete(job: Job | None) -> Iterator[Change]:
    if job is not None and not job.deleting:
        yield Delete(JOBS, job.name, job.uid)
