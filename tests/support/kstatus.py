"""kstatus in Python: how Flux, kpt and others judge an object that has no rules of its own.

A port of ``status.Compute`` of sigs.k8s.io/cli-utils v0.37.2 (fluxcd/cli-utils 1.3.0 answers alike), for custom
resources. ``kstatus_answers.json`` holds what that library itself answered to objects of every kind; a test compares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("kstatus_answers.json")


class Health(StrEnum):
    """What kstatus says of an object."""

    IN_PROGRESS = "InProgress"
    CURRENT = "Current"
    FAILED = "Failed"
    TERMINATING = "Terminating"


def kstatus(body: Mapping[str, Any]) -> Health:
    """Judge an object as the API server returns it."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Health.TERMINATING
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and observed != generation:
        return Health.IN_PROGRESS
    conditions = status.get("conditions") or []
    for one in conditions:
        if (one["type"], one["status"]) == ("Reconciling", "True"):
            return Health.IN_PROGRESS
        if (one["type"], one["status"]) == ("Stalled", "True"):
            return Health.FAILED
    for one in conditions:
        if one["type"] == "Ready" and one["status"] in {"True", "False", "Unknown"}:
            return Health.CURRENT if one["status"] == "True" else Health.IN_PROGRESS
    return Health.CURRENT


def answers() -> Sequence[Mapping[str, Any]]:
    """Return objects with the ``answer`` of the library itself, and the name of the ``case``."""
    found: Sequence[Mapping[str, Any]] = json.loads(ANSWERS.read_text())
    return found
