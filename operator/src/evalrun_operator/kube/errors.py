"""What can go wrong in an operator's work.

OperatorError                what is expected to happen now and then; the work is tried again later
├── ApiError                 the API server, or the way to it, did not do what was asked
│   ├── NotFound             404: the object, or its kind, is not there
│   ├── AlreadyExists        409: an object of this name is there
│   ├── Conflict             409: another version, or another object of this name, is there
│   ├── Invalid              400, 422: the API server refuses the object itself
│   ├── Forbidden            401, 403: this operator may not, or a quota or a policy says no
│   ├── TooManyRequests      429: later; ``retry_after`` says when
│   └── Unavailable          5xx, time out, no connection
├── ChildRefused             a child of a run was refused: the run's owner should know
└── UnreadableStatus         a status that this version cannot read: the run is left alone
NoCluster                    there is nothing to work with: the operator does not start
"""

from __future__ import annotations


class OperatorError(Exception):
    """Something that happens now and then; the work is tried again later."""

    retry_after: float | None = None
    """Seconds after which the API server wants to be asked again, if it said so."""


class ApiError(OperatorError):
    """A call to the API server failed."""

    def __init__(self, what: str, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        """Make it of the call (``POST Job default/x``), the server's message, its HTTP status and its Retry-After."""
        super().__init__(what, message)
        self.what = what
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        answered = f" ({self.status})" if self.status else ""
        return f"{self.what}{answered}: {self.message}"


class NotFound(ApiError):
    """The object, or its kind, is not there."""


class AlreadyExists(ApiError):
    """An object of this name is there."""


class Conflict(ApiError):
    """Another version, or another object of this name, is there: read again."""


class Invalid(ApiError):
    """The API server refuses the object itself; sending it again changes nothing."""


class Forbidden(ApiError):
    """The operator's account may not do this, or a quota or an admission policy refuses."""


class TooManyRequests(ApiError):
    """The API server is busy and says when to come back."""


class Unavailable(ApiError):
    """The API server did not answer, or failed."""


class ChildRefused(OperatorError):
    """A child of a run cannot be made as it is."""

    def __init__(self, kind: str, name: str, error: ApiError) -> None:
        """Make it of the child and the API server's answer."""
        super().__init__(kind, name, error)
        self.kind = kind
        self.name = name
        self.error = error
        self.retry_after = error.retry_after

    def __str__(self) -> str:
        return f"the {self.kind} {self.name} was refused: {self.error.message}"


class UnreadableStatus(OperatorError):
    """A run's status holds what this version does not know, as one written by a newer version may."""


class NoCluster(Exception):
    """There is no API server, or it does not know EvalRuns: the operator does not start."""
