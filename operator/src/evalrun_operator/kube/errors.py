"""Errors of the operator.

OperatorError                expected now and then; the work is retried later
├── ApiError                 the API server, or the connection to it, failed
│   ├── NotFound             404: the object or its kind does not exist
│   ├── AlreadyExists        409: an object of this name exists
│   ├── Conflict             409: another version, or another object of this name, exists
│   ├── Invalid              400, 422: the API server rejects the object itself
│   ├── Forbidden            403: a permission is missing, or a quota or policy rejects the object
│   ├── TooManyRequests      429: retry later; ``retry_after`` says when
│   ├── NotLeading           not sent: another operator leads, or may lead soon
│   └── Unavailable          5xx, timeout, no connection; 401, as while an API server starts or a token is renewed
├── ChildRefused             a child of a run was rejected: its owner should know
└── UnreadableStatus         a status that this version cannot read: the run is left alone
NoCluster                    no API server, or no EvalRuns in it: the operator does not start
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class OperatorError(Exception):
    """An error that is expected now and then; the work is retried later."""

    retry_after: float | None = None
    """Seconds after which the API server wants to be asked again; None if it did not say."""


class ApiError(OperatorError):
    """A call to the API server that failed."""

    def __init__(self, what: str, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        """Create the error.

        Args:
            what: The call, as in ``create /api/v1/namespaces/default/pods``.
            message: The message of the server.
            status: The HTTP status; 0 without an answer.
            retry_after: Seconds of its Retry-After header, which the client bounds.
        """
        super().__init__(what, message)
        self.what = what
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        answered = f" ({self.status})" if self.status else ""
        return f"{self.what}{answered}: {self.message}"


class NotFound(ApiError):
    """The object or its kind does not exist."""


class AlreadyExists(ApiError):
    """An object of this name exists."""


class Conflict(ApiError):
    """Another version, or another object of this name, exists: read it again."""


class Invalid(ApiError):
    """The API server rejects the object itself; sending it again changes nothing."""


class Forbidden(ApiError):
    """The account of the operator lacks a permission, or a quota or an admission policy rejects the object."""


class TooManyRequests(ApiError):
    """The API server is busy and says when to retry."""


class NotLeading(ApiError):
    """A write that was not sent: another operator leads, or may lead soon."""


class Unavailable(ApiError):
    """The API server did not answer, failed, or did not know the operator: what was asked for is not known."""


class ChildRefused(OperatorError):
    """A child of a run that the API server rejects as it is."""

    def __init__(self, kind: str, name: str, error: ApiError) -> None:
        """Create the error from the child and the answer of the API server."""
        super().__init__(kind, name, error)
        self.kind = kind
        self.name = name
        self.error = error
        self.retry_after = error.retry_after

    def __str__(self) -> str:
        return f"the {self.kind} {self.name} was refused: {self.error.message}"


class UnreadableStatus(OperatorError):
    """A status with content that this version does not know, as a newer version may write."""


class NoCluster(Exception):
    """No API server, or one without EvalRuns: the operator does not start."""


def explained(data: bytes) -> tuple[Mapping[str, Any], str]:
    """Read why a call was refused: API servers say it in a Status object, proxies in between may not.

    Returns:
        The Status, {} without one; and the words of whoever answered.
    """
    try:
        status = json.loads(data)
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    return status, str(status.get("message") or data[:300].decode(errors="replace") or "no message")
