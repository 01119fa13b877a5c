"""Lookup of the objects that a spec names. The data of Secrets never reaches the operator, only their metadata does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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


async def look_up(client: Client, namespace: str, spec: EvalRunSpec) -> References:
    """Look up everything that the spec names, concurrently. Raises ``ApiError`` if a lookup fails."""
    named = references(spec)
    found = await asyncio.gather(*(_look_up(client, namespace, one) for one in named))
    problems = tuple(one for one in found if isinstance(one, Missing))
    runs = {reference.name: one for reference, one in zip(named, found, strict=True) if isinstance(one, RunLocation)}
    return References(problems, runs)


async def _look_up(client: Client, namespace: str, reference: Reference) -> Missing | RunLocation | None:
    try:
        match reference.kind:
            case ReferenceKind.SECRET:
                return _secret(namespace, reference, await client.get_metadata(SECRETS, namespace, reference.name))
            case ReferenceKind.CONFIG_MAP if reference.key is not None:
                return _config_map(reference, await client.get(CONFIG_MAPS, namespace, reference.name))
            case ReferenceKind.CONFIG_MAP:
                await client.get_metadata(CONFIG_MAPS, namespace, reference.name)
            case ReferenceKind.CLAIM:
                await client.get_metadata(CLAIMS, namespace, reference.name)
            case ReferenceKind.RUN:
                return _run(reference, await client.get(EVALRUNS, namespace, reference.name))
    except NotFound:
        what = f"{reference.kind} {reference.name}"
        message = f"{what} does not exist in namespace {namespace}; hint: create it, or name another"
        return Missing(reference.field, Reason.NOT_FOUND, message)
    except Forbidden:
        if reference.kind is not ReferenceKind.SECRET:
            raise
        message = (
            f"the operator may not read Secrets in namespace {namespace}, so it cannot check whether runs may use "
            f"{reference.name}; hint: ask an administrator to add the namespace to the chart's secrets.namespaces, or "
            f"to bind the ClusterRole {SECRET_READER} there to the operator's service account"
        )
        return Missing(reference.field, Reason.SECRET_NOT_ALLOWED, message)
    return None


def _secret(namespace: str, reference: Reference, secret: Mapping[str, Any]) -> Missing | None:
    labels = secret["metadata"].get("labels") or {}
    if labels.get(LABEL_USE) == USE_STORAGE:
        return None
    message = (
        f"Secret {reference.name} lacks the label {LABEL_USE}: {USE_STORAGE}, without which no run may use it; hint: "
        f"its owner sets it with: kubectl label secret {reference.name} {LABEL_USE}={USE_STORAGE} -n {namespace}"
    )
    return Missing(reference.field, Reason.SECRET_NOT_ALLOWED, message)


def _config_map(reference: Reference, config_map: Mapping[str, Any]) -> Missing | None:
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
