"""The backend of plain Jobs. Pods finish and free their GPUs while the operator is down."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
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
from evalrun_operator.names import run_labels
from evalrun_operator.observe.references import named_runs
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
            *self._others(run, desired, objects, references),
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
        elif there is not None:
            yield from _in_time(there, desired)
        if desired.driver is not Desired.RUNNING or there is not None:
            return
        identity = Identity.of(run, desired.attempt)
        everything = {kind for kind, _ in self.companions(run, desired.attempt)}
        yield from self._created(run, desired, references, everything)
        if desired.attempt > 1:
            yield from _deleted_of_attempt(Identity.of(run, desired.attempt - 1), keep_first_config=True)
        settings = self._settings_with(desired.image)
        # Last: where the Job exists, everything it needs exists, whenever the operator was killed.
        yield Create(JOBS, driver_job(run, identity, settings, desired.seconds_left, desired.seconds_spent))

    def companions(self, run: EvalRun, attempt: int) -> tuple[tuple[Kind, Manifest], ...]:
        """Name what only the pods of an attempt read."""
        identity = Identity.of(run, attempt)
        policy = ((NETWORK_POLICIES, identity.network_policy),) if self.settings.network_policy.enabled else ()
        of_attempt = ((CONFIG_MAPS, identity.config_map), (SERVICES, identity.service))
        named = ((SECRETS, identity.token_secret), *of_attempt, *policy)
        return tuple((kind, identity.metadata(name, run_labels(identity.uid))) for kind, name in named)

    def _others(
        self, run: EvalRun, desired: DesiredState, objects: Objects, references: References | None
    ) -> Iterator[Change]:
        """Make again what is missing of a living attempt, and delete what a finished run leaves."""
        if desired.others is Desired.ABSENT:
            for attempt in range(1, desired.attempt):
                yield from _deleted_of_attempt(Identity.of(run, attempt))
            companions = self.companions(run, desired.attempt)
            yield from (Delete(kind, metadata["name"], None) for kind, metadata in companions)
        there = _find(objects.children, desired.attempt, Component.DRIVER)
        if there is not None and not there.over and desired.driver is not Desired.ABSENT:
            known = references is not None and references.runs.keys() >= named_runs(run.spec)
            kinds = objects.missing if known else objects.missing - {CONFIG_MAPS}
            yield from self._created(run, desired, references, kinds)

    def _created(
        self, run: EvalRun, desired: DesiredState, references: References | None, kinds: Collection[Kind]
    ) -> Iterator[Change]:
        """Create what only the pods of an attempt read, of these kinds."""
        identity = Identity.of(run, desired.attempt)
        if SECRETS in kinds:
            yield Create(SECRETS, manifests.token_secret(identity, self.token()))
        if CONFIG_MAPS in kinds:
            config = _input(run, desired.attempt, self._settings_with(desired.image), references)
            yield Create(CONFIG_MAPS, manifests.config_map(identity, config))
        if SERVICES in kinds:
            yield Create(SERVICES, manifests.service(identity))
        if NETWORK_POLICIES in kinds:
            yield Create(NETWORK_POLICIES, manifests.network_policy(identity, self.settings.network_policy))

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
            yield from _resize(there, allowed_replicas(run.spec, self.settings, desired.count, there.count))


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


def _in_time(job: Job, desired: DesiredState) -> Iterator[Change]:
    """Give a driver's Job the deadline that the run has now: Kubernetes would end it by the one that it had before.

    The Job counts from its own start, by the clock of the cluster, so it gets what the run had left then.
    """
    if job.over:
        return
    left, wanted = desired.seconds_left, None
    if left is not None:
        wanted = max(1, left + desired.seconds_spent - (job.spent or 0))
        if job.spent is None and job.attempt > 1 and job.deadline is not None and job.deadline >= left:
            # Made by a version that did not say what was left then. Its limit is not known to be too short.
            return
    if job.deadline != wanted:
        yield Patch(JOBS, job.name, job.uid, {"spec": {"activeDeadlineSeconds": wanted}})


def _find(seen: Children, attempt: int, component: Component) -> Job | None:
    return next((job for job in seen.jobs if job.attempt == attempt and job.component is component), None)


def _cleared(seen: Children, attempt: int) -> Iterator[Change]:
    """Delete the Jobs of earlier attempts. A driver that ended stays, for its log and for its charge."""
    for job in seen.jobs:
        ended_driver = job.component is Component.DRIVER and (job.complete or job.failed)
        if job.attempt < attempt and not ended_driver:
            yield from _delete(job)


def _deleted_of_attempt(identity: Identity, *, keep_first_config: bool = False) -> Iterator[Change]:
    """Delete what only the pods of one attempt read; later attempts are made from the RunConfig of the first."""
    if not keep_first_config or identity.attempt > 1:
        yield Delete(CONFIG_MAPS, identity.config_map, None)
    yield Delete(SERVICES, identity.service, None)


def _delete(job: Job | None) -> Iterator[Change]:
    if job is not None and not job.deleting:
        yield Delete(JOBS, job.name, job.uid)
