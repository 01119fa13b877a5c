"""Lookup of the objects that a spec names. The data of Secrets never reaches the operator, only their metadata does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from evalrun_api import EvalRunSpec, Phase, Reason, RunLocation
from evalrun_api.wire.pods import LABEL_USE, USE_STORAGE
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import Forbidden, NotFound
from evalrun_operator.kube.objects import CLAIMS, CONFIG_MAPS, EVALRUNS, SECRETS
from evalrun_operator.observe.references import Reference, ReferenceKind, references
from evalrun_operator.state.observed import Missing, References

SECRET_READER = "evalrun-secret-reader"  # noqa: S105 (a role's name, no password)
"""ClusterRole that lets the operator see Secrets, bound in each namespace where runs may use some."""
RESUME_FROM = "spec.resumeFrom.runName"

_KINDS = {
    ReferenceKind.SECRET: SECRETS,
    ReferenceKind.CONFIG_MAP: CONFIG_MAPS,
    ReferenceKind.CLAIM: CLAIMS,
    ReferenceKind.RUN: EVALRUNS,
}


LOOKUPS_AT_ONCE = 16
"""Lookups of one run that are made at once: a spec may name thousands of objects."""


async def look_up(
    client: Client,
    namespace: str,
    spec: EvalRunSpec,
    resolved: Mapping[str, RunLocation] | None = None,
    *,
    runs_too: bool = True,
) -> References:
    """Look up everything that the spec names, each object once, some at once.

    Args:
        client: The API server.
        namespace: The run's namespace.
        spec: The run's spec.
        resolved: Runs that an earlier attempt resolved, by name: they stay so, whatever became of them.
        runs_too: Whether earlier runs are needed that are not resolved.

    Raises:
        ApiError: A lookup failed.
    """
    known = resolved or {}
    named = [
        one for one in references(spec) if one.kind is not ReferenceKind.RUN or (runs_too and one.name not in known)
    ]
    bodies = await _read_all(client, namespace, named)
    asked: dict[Reference, list[str]] = {}
    for reference in named:
        # What is asked of an object depends on the field only for an earlier run.
        alike = replace(reference, field=reference.field if reference.field == RESUME_FROM else "")
        asked.setdefault(alike, []).append(reference.field)
    problems, runs = [], dict(known)
    for alike, fields in asked.items():
        field = fields[0] + (f" (and {len(fields) - 1} more)" if len(fields) > 1 else "")
        found = _judge(namespace, replace(alike, field=fields[0]), bodies[alike.kind, alike.name])
        if isinstance(found, Missing):
            problems.append(replace(found, field=field))
        elif found is not None:
            runs[alike.name] = found
    return References(tuple(problems), runs)


_Body = Mapping[str, Any] | NotFound | Forbidden


async def _read_all(
    client: Client, namespace: str, named: Iterable[Reference]
) -> dict[tuple[ReferenceKind, str], _Body]:
    """Read each object once; its data only where a key of it is asked for, and those of a Secret never."""
    data_of: dict[tuple[ReferenceKind, str], bool] = {}
    for one in named:
        data_of[one.kind, one.name] = data_of.get((one.kind, one.name), False) or one.key is not None
    places = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def read(kind: ReferenceKind, name: str, *, data: bool) -> _Body:
        get = client.get if data or kind is ReferenceKind.RUN else client.get_metadata
        async with places:
            try:
                return await get(_KINDS[kind], namespace, name)
            except (NotFound, Forbidden) as error:
                return error

    tasks = [asyncio.create_task(read(kind, name, data=data)) for (kind, name), data in data_of.items()]
    try:
        return dict(zip(data_of, await asyncio.gather(*tasks), strict=True))
    finally:
        # After a failure nothing more is asked.
        for task in tasks:
            task.cancel()


def _judge(namespace: str, reference: Reference, body: _Body) -> Missing | RunLocation | None:
    match body:
        case NotFound():
            what = f"{reference.kind} {reference.name}"
            message = f"{what} does not exist in namespace {namespace}; hint: create it, or name another"
            return Missing(reference.field, Reason.NOT_FOUND, message)
        case Forbidden():
            return _forbidden(namespace, reference, body)
        case _ if reference.kind is ReferenceKind.RUN:
            return _run(reference, body)
        case _:
            return _labelled(namespace, reference, body) or _config_map(reference, body)


def _forbidden(namespace: str, reference: Reference, error: Forbidden) -> Missing:
    """Report what the operator may not read: nothing is known about the object, so the run waits."""
    message = (
        f"the operator may not read {reference.kind} {reference.name} in namespace {namespace}, so the run waits: "
        f"{error.message}"
    )
    if reference.kind is ReferenceKind.SECRET:
        message += (
            "; hint: ask an administrator to add the namespace to the chart's secrets.namespaces, or to bind the "
            f"ClusterRole {SECRET_READER} there to the operator's service account"
        )
    else:
        message += "; hint: the chart's roles grant it, ask an administrator whether they are as the chart has them"
    return Missing(reference.field, Reason.FORBIDDEN, message)


def _labelled(namespace: str, reference: Reference, body: Mapping[str, Any]) -> Missing | None:
    """Check that the owner of an object allows runs to use it: who may create EvalRuns gains access to no other."""
    labels = body["metadata"].get("labels") or {}
    if labels.get(LABEL_USE) == USE_STORAGE:
        return None
    kind, name = reference.kind, reference.name
    message = (
        f"{kind} {name} lacks the label {LABEL_USE}: {USE_STORAGE}, without which no run may use it; hint: its owner "
        f"sets it with: kubectl label {kind.lower()} {name} {LABEL_USE}={USE_STORAGE} -n {namespace}"
    )
    secret = kind is ReferenceKind.SECRET
    return Missing(reference.field, Reason.SECRET_NOT_ALLOWED if secret else Reason.NOT_ALLOWED, message)


def _config_map(reference: Reference, config_map: Mapping[str, Any]) -> Missing | None:
    """Check that a ConfigMap has the key that is asked for, if one is."""
    if reference.key is None:
        return None
    keys = {**(config_map.get("data") or {}), **(config_map.get("binaryData") or {})}
    if reference.key in keys:
        return None
    message = (
        f"ConfigMap {reference.name} has no key {reference.key}, expected one of: {', '.join(sorted(keys)) or 'none'}"
    )
    return Missing(reference.field, Reason.NOT_FOUND, message)


def _run(reference: Reference, run: Mapping[str, Any]) -> Missing | RunLocation:
    """Check an earlier run: one to resume from may have failed, one to compare with must have its scores."""
    status = run.get("status") or {}
    phase, uri = status.get("phase"), status.get("resultsUri")
    ended = {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED} if reference.field == RESUME_FROM else {Phase.SUCCEEDED}
    if phase in ended and uri:
        return RunLocation(uri=uri)
    expected = " or ".join(ended) if uri or phase not in ended else "with results"
    message = (
        f"EvalRun {reference.name} is {phase or Phase.PENDING}, expected {expected}; hint: wait for it, or name another"
    )
    return Missing(reference.field, Reason.NOT_FOUND, message)
