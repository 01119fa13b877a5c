"""Every error of the runner, in one tree.

    EvalRunError
    ├── InputError               what the user gave is wrong                          exit 2
    │   └── OtherFormat          the output was written in another format of the ledger
    ├── RunFailed                the run could not reach its end                      exit 1
    │   ├── StoreError
    │   │   ├── StoreUnavailable   5xx, time-outs, refused connections: retried with backoff
    │   │   ├── StoreFull          no space left: the run pauses, then fails
    │   │   ├── StoreDenied        wrong credentials, no bucket, not writable: no retry mends it
    │   │   └── ObjectMissing      the key is not there
    │   ├── LedgerCorrupt        an object of the run fails its checksum
    │   └── Superseded           a driver with a higher epoch took the run over
    └── Interrupted              Ctrl-C or SIGTERM; what is committed stays           exit 130

A message says what was wrong, where (file, field, object), what was expected, and what to do; ``reason`` says it to
programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evalrun_api.status.conditions import Reason


class EvalRunError(Exception):
    """Base of every error that is shown to a person without a traceback."""

    exit_code = 1
    usual_reason = Reason.INTERNAL_ERROR
    """The word for programs, where nobody who raised or passed on the error knew a better one."""

    def __init__(self, message: str = "", *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.known_reason = reason

    @property
    def reason(self) -> Reason:
        """Why, as the one word that a cluster classifies by."""
        return self.known_reason or self.usual_reason


@contextmanager
def blaming(reason: Reason) -> Iterator[None]:
    """Within, an ``InputError`` that knows no reason of its own has this one. Also a decorator."""
    try:
        yield
    except InputError as error:
        error.known_reason = error.known_reason or reason
        raise


def first_line(error: BaseException) -> str:
    """Return an exception's first line of text for use inside a message, or its type where it has no text.

    At most 400 characters, without a closing full stop.
    """
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:400].rstrip(". ")


class InputError(EvalRunError):
    """The user's input is wrong: a file, a field, a model, a task, an option."""

    exit_code = 2
    usual_reason = Reason.INVALID_SPEC


class OtherFormat(InputError):
    """An object of a run is of a format version that this EvalRun does not read, or does not add to."""


class RunFailed(EvalRunError):
    """The run could not reach its end; what is committed stays."""


class StoreError(RunFailed):
    """The object store refused or could not be reached."""

    usual_reason = Reason.STORAGE_UNAVAILABLE


class StoreUnavailable(StoreError):
    """Transient: 5xx, time-outs, refused connections. Retry with backoff."""


class StoreFull(StoreError):
    """No space left where the run writes."""

    usual_reason = Reason.STORAGE_FULL


class StoreDenied(StoreError):
    """Wrong credentials, a missing bucket, a directory that cannot be written: a retry does not mend it."""

    usual_reason = Reason.STORAGE_DENIED


class ObjectMissing(StoreError):
    """The key is not in the store."""


class LedgerCorrupt(RunFailed):
    """An object of the run fails its checksum or cannot be decoded."""

    usual_reason = Reason.LEDGER_CORRUPT


class Superseded(RunFailed):
    """A driver with a higher epoch took the run over; this one must leave without writing more."""

    usual_reason = Reason.SUPERSEDED


class Interrupted(EvalRunError):
    """The user or the platform asked the run to stop; what is committed stays and the same command resumes."""

    exit_code = 130
    usual_reason = Reason.INTERRUPTED
