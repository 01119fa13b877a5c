"""The image of a run's pods: named by the settings when the run begins, then fixed by what its first driver ran.

A tag may mean another image an hour later. Once the node of a driver reports which image of the repository it runs, all
later pods, of this attempt and of the next ones, ask for exactly that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalrun_api import EvalRunStatus
from evalrun_operator.state.observed import Observed

_DIGEST = re.compile(r"(?P<repository>[^@]+)@(?P<digest>sha256:[0-9a-f]{64})")
_DOCKER_HUB = "docker.io"
MAX_IMAGE = 1024
"""Characters of an image in a status; no longer one is reported by a node."""


@dataclass(frozen=True, slots=True)
class RunnerImage:
    """The image of a run."""

    reference: str | None
    """The image that pods ask for; None before the first attempt, where the settings decide."""
    id: str | None
    """The image as the node of the first driver reports it; None while that is not known."""


def runner_image(observed: Observed, status: EvalRunStatus, configured: str, attempt: int) -> RunnerImage:
    """Decide about the image of the run's pods.

    Args:
        observed: The run.
        status: What is recorded.
        configured: The image of the settings, for runs that begin.
        attempt: The attempt that is recorded next; 0 before the first.
    """
    reference = status.runner_image or (configured if attempt else None)
    if status.runner_image_id is not None or reference is None:
        return RunnerImage(reference, status.runner_image_id)
    driver = observed.present.driver
    reported = (driver.image_id or None) if driver is not None and len(driver.image_id) <= MAX_IMAGE else None
    return RunnerImage(reference if reported is None else pinned(reference, reported), reported)


def pinned(reference: str, reported: str) -> str:
    """Return a reference by digest, or as it is where the node does not report a digest of the same repository.

    Images that were loaded into a node have no digest of a repository; others may be reported by the name of a mirror,
    which may hold the image under a digest of its own.
    """
    match = _DIGEST.fullmatch(reported.rpartition("://")[2])
    repository = _repository(reference)
    if match is None or _whole(match["repository"]) != _whole(repository):
        return reference
    return f"{repository}@{match['digest']}"


def _repository(reference: str) -> str:
    """Return a reference without tag and digest."""
    name = reference.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def _whole(repository: str) -> str:
    """Return the full name of a repository, as nodes report it."""
    first, slash, _ = repository.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return repository
    return f"{_DOCKER_HUB}/{repository}" if slash else f"{_DOCKER_HUB}/library/{repository}"
