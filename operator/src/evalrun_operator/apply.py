"""Everything that is written for a run, in one place: children first, then one status, then events.

A refused child keeps neither the rest nor the status from being written: what can be freed is, and people read why
nothing moves.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from evalrun_api import EvalRun
from evalrun_api.base import KIND
from evalrun_api.wire.pods import LABEL_RUN
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import (
    AlreadyExists,
    ApiError,
    ChildRefused,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OperatorError,
    TooManyRequests,
    Unavailable,
)
from evalrun_operator.kube.objects import (
    EVALRUNS,
    EVENTS,
    JOBS,
    SECRETS,
    Change,
    Create,
    Delete,
    Event,
    Kind,
    Manifest,
    Owner,
    Patch,
    controller_of,
)
from evalrun_operator.names import FIELD_MANAGER, ObservedRun, run_labels, stem
from evalrun_operator.plan import ReconcilePlan, with_refusals

logger = logging.getLogger(__name__)

_SILENT = (0, 429)
"""HTTP statuses of a server that does not answer, and of one that is too busy."""
EVENT_MESSAGE_LENGTH = 1024
"""Characters of an event's message: Kubernetes' limit."""


Tell = Callable[[Kind, Manifest], object]
"""Told of each object that was created, as the API server returned it."""


async def apply(
    client: Client,
    run: EvalRun,
    changes: Iterable[Change],
    plan: ReconcilePlan,
    now: datetime,
    tell: Tell = lambda *_: None,
) -> None:
    """Write what differs, in this order; the status says what was refused, which is raised at the end.

    Raises:
        ChildRefused: A child cannot be written as it is.
        ApiError: A call failed. What was written stays; the next reconcile continues from there.
    """
    observed = ObservedRun.of(run)
    refusals, created = await _apply_changes(client, observed, changes, tell)
    if plan.delete_run:
        await _delete(client, observed, Delete(EVALRUNS, observed.name, observed.uid))
    else:
        if refusals:
            plan = with_refusals(plan, run, refusals, created=created)
        if plan.status != run.status:
            await _write_status(client, run, plan)
        for event in plan.events:
            await _record_event(client, run, event, now)
    if refusals:
        raise refusals[0]


async def _apply_changes(
    client: Client, run: ObservedRun, changes: Iterable[Change], tell: Tell
) -> tuple[list[OperatorError], bool]:
    """Write all changes that can be written.

    Returns:
        What was refused, and whether everything exists that was to be created.
    """
    refusals: list[OperatorError] = []
    created, cleared, answers = True, True, True
    for change in changes:
        creates = isinstance(change, Create)
        # A Job is created last: it needs what was to be created before it, and no Job of an earlier attempt beside it.
        ready = created and (cleared or change.kind is not JOBS)
        if not answers or (creates and not ready):
            created = created and not creates
            continue
        try:
            await _apply_change(client, run, change, tell)
        except (ApiError, ChildRefused) as error:
            if refusals:
                logger.warning("%s: %s", run, error)
            refusals.append(error)
            created = created and not creates
            cleared = cleared and not (isinstance(change, Delete) and change.kind is JOBS)
            # Each further call to a server that does not answer, or is too busy, may take its whole timeout.
            answers = not isinstance(error, TooManyRequests | Unavailable) or error.status not in _SILENT
    return refusals, created


async def _apply_change(client: Client, run: ObservedRun, change: Change, tell: Tell) -> None:
    """Write one change; an object that exists already is left as it is."""
    match change:
        case Create():
            await _create(client, run, change, tell)
        case Patch():
            await _patch(client, run, change)
        case Delete():
            await _delete(client, run, change)


async def _create(client: Client, run: ObservedRun, change: Create, tell: Tell) -> None:
    name = change.manifest["metadata"]["name"]
    try:
        tell(change.kind, await client.create(change.kind, run.namespace, change.manifest))
        logger.info("%s: created %s %s", run, change.kind.kind, name)
    except AlreadyExists as error:
        await _expect_ours(client, run, change, name, error)
    except (Invalid, Forbidden) as error:
        raise ChildRefused(change.kind.kind, name, error) from error


async def _expect_ours(client: Client, run: ObservedRun, change: Create, name: str, error: AlreadyExists) -> None:
    """Identify an existing child by its owner: the run's own, one that is being deleted, or a stranger.

    Anybody can set labels, and an object without an owner is collected by nobody.
    """
    try:
        metadata = (await client.get_metadata(change.kind, run.namespace, name))["metadata"]
    except NotFound:
        raise Conflict(error.what, "it existed and is deleted now; retrying", status=error.status) from error
    except Forbidden:
        if change.kind is SECRETS:
            # The operator may create Secrets in every namespace and read them in few: its own has a unique name.
            return
        raise
    owner = controller_of(metadata)
    if owner is not None and owner.kind == KIND and owner.uid == run.uid:
        if metadata.get("deletionTimestamp"):
            raise Conflict(
                error.what, "it is being deleted; retrying until it is deleted", status=error.status
            ) from error
        return
    message = _whose(run, change, name, metadata, owner)
    if owner is not None and owner.kind == KIND and owner.name == run.name:
        raise Conflict(error.what, message, status=error.status) from error
    raise ChildRefused(change.kind.kind, name, AlreadyExists(error.what, message, status=error.status)) from error


def _whose(run: ObservedRun, change: Create, name: str, metadata: Mapping[str, Any], owner: Owner | None) -> str:
    """Explain whose an object is that has the name of a child: labels say what it was, its owner what becomes of it."""
    what = f"{change.kind.kind} {name}"
    delete = f"kubectl delete {change.kind.kind.lower()} {name} -n {run.namespace}"
    labels = metadata.get("labels") or {}
    if owner is not None and owner.kind == KIND and owner.name == run.name:
        return (
            f"{what} belongs to an earlier EvalRun of this name (uid {owner.uid}) and will be garbage-collected; "
            "retrying until it is deleted"
        )
    if owner is not None:
        return (
            f"{what} belongs to {owner.kind} {owner.name}, not to this run; hint: give the run another name, or delete "
            f"the {owner.kind}"
        )
    if run_labels(labels.get(LABEL_RUN, "")).items() <= labels.items():
        return (
            f"{what} was left by an earlier EvalRun (uid {labels[LABEL_RUN]}) that was deleted without it or restored "
            f"without its owner, so that nobody will collect it; hint: {delete}"
        )
    return f"another {what} exists that does not belong to this run; hint: delete it, or give the run another name"


async def _patch(client: Client, run: ObservedRun, change: Patch) -> None:
    try:
        await client.patch(change.kind, run.namespace, change.name, change.uid, change.body)
        logger.info("%s: patched %s %s", run, change.kind.kind, change.name)
    except NotFound:
        return
    except Conflict:
        if "resourceVersion" not in change.body.get("metadata", {}):
            raise
        # It is newer than what was read, or another one of its name: its event brings the run back.
    except (Invalid, Forbidden) as error:
        raise ChildRefused(change.kind.kind, change.name, error) from error


async def _delete(client: Client, run: ObservedRun, change: Delete) -> None:
    """Delete with the uid as a precondition: a deleted object, or another one of the same name, counts as done.

    Without a uid it is what a run leaves, and does no harm: it is deleted with the run where the operator may not.
    """
    try:
        await client.delete(change.kind, run.namespace, change.name, change.uid, change.grace_seconds)
        logger.info("%s: deleted %s %s", run, change.kind.kind, change.name)
    except (NotFound, Conflict):
        return
    except (Invalid, Forbidden) as error:
        if change.uid is not None:
            raise ChildRefused(change.kind.kind, change.name, error) from error
        logger.warning("%s: %s stays until the EvalRun is deleted: %s", run, change.name, error)


async def _write_status(client: Client, run: EvalRun, plan: ReconcilePlan) -> None:
    """Write the status by server-side apply, so that omitted fields are removed.

    The resource version is a fence: no decision is written that was made on an older object. That also separates two
    operators that run at once for a moment, as in an upgrade that goes wrong.
    """
    observed = ObservedRun.of(run)
    body: dict[str, Any] = {"status": plan.status.to_dict()}
    if run.metadata.resource_version:
        body["metadata"] = {"resourceVersion": run.metadata.resource_version}
    await client.apply_status(EVALRUNS, observed.namespace, observed.name, observed.uid, body)
    before = run.status.phase if run.status else None
    if plan.status.phase is not before:
        logger.info("%s: %s -> %s", observed, before, plan.status.phase)


async def _record_event(client: Client, run: EvalRun, event: Event, now: datetime) -> None:
    """Write an event. Its name is a hash of its content, so that a recent event is not written again."""
    observed, attempt = ObservedRun.of(run), run.status.attempt if run.status else None
    content = repr((observed.uid, run.metadata.generation, attempt, event))
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest: dict[str, Any] = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "name": f"{stem(observed.name)}.{hashlib.sha256(content.encode()).hexdigest()[:16]}",
            "namespace": observed.namespace,
        },
        "involvedObject": {
            "apiVersion": EVALRUNS.api_version,
            "kind": EVALRUNS.kind,
            "name": observed.name,
            "namespace": observed.namespace,
            "uid": observed.uid,
            "resourceVersion": run.metadata.resource_version,
        },
        "reason": event.reason,
        "message": event.message[:EVENT_MESSAGE_LENGTH],
        "type": "Warning" if event.warning else "Normal",
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    try:
        await client.create(EVENTS, observed.namespace, manifest)
    except AlreadyExists:
        return
    except (Invalid, Forbidden) as error:
        # As in a namespace that is being deleted: nobody is left to read it.
        logger.warning("%s: an event could not be written: %s", observed, error)
