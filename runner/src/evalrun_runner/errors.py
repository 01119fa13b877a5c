"""Errors of the runner, in one tree.

    EvalRunError
    ├── InputError               what the user gave is wrong                          exit 2
    │   ├── SandboxUnavailable   code of models cannot be confined on this machine
    │   └── OtherFormat          the output was written in another format of the ledger
    ├── RunFailed                the run could not reach its end                      exit 1
    │   ├── StoreError
    │   │   ├── StoreUnavailable   5xx, time-outs, refused connections: retried with backoff
    │   │   ├── StoreFull          no space left: the run pauses, then fails
    │   │   ├── StoreDenied        wrong credentials, no bucket, not writable: no retry fixes it
    │   │   └── ObjectMissing      the key does not exist
    │   ├── LedgerCorrupt        an object of the run fails its checksum
    │   └── Superseded           a driver with a higher epoch took the run over
    └── Interrupted              Ctrl-C or SIGTERM; what is committed stays           exit 130

A message tells people what is wrong, where (file, field, object), what was expected, and what to do; ``reason`` tells
programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from evalrun_api import Reason


class EvalRunError(Exception):
    """Base of all errors that are shown to people without a traceback."""

    exit_code = 1
    usual_reason = Reason.INTERNAL_ERROR
    """Reason for programs if neither the raiser nor a caller set a more specific one."""

    def __init__(self, message: str = "", *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.known_reason = reason

    @property
    def reason(self) -> Reason:
        """Reason by which a cluster classifies the error."""
        return self.known_reason or self.usual_reason


@contextmanager
def default_reason(reason: Reason) -> Iterator[None]:
    """Set the default reason of ``InputError``s raised inside the block. Also usable as a decorator."""
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


def listed(names: Sequence[str], most: int) -> str:
    """Return names for use inside a message: at most ``most`` of them, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, word: str = "item") -> str:
    """Return a number of things for use inside a message: `1 item`, `1,319 items`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


class InputError(EvalRunError):
    """Wrong input from the user: a file, a field, a model, a task, an option."""

    exit_code = 2
    usual_reason = Reason.INVALID_SPEC


class OtherFormat(InputError):
    """An object of a run is of a format version that this EvalRun does not read, or does not add to."""


class SandboxUnavailable(InputError):
    """No sandbox for code that a model writes can be set up here, so that none of it runs."""

    usual_reason = Reason.SANDBOX_UNAVAILABLE


class RunFailed(EvalRunError):
    """Failure of the run before its end; what is committed stays."""


class StoreError(RunFailed):
    """Failure of the object store: it refused, or could not be reached."""

    usual_reason = Reason.STORAGE_UNAVAILABLE


class StoreUnavailable(StoreError):
    """Transient failure: 5xx, time-outs, refused connections. Retry with backoff."""


class StoreFull(StoreError):
    """Lack of space where the run writes."""

    usual_reason = Reason.STORAGE_FULL


class StoreDenied(StoreError):
    """Wrong credentials, a missing bucket, or a directory that is not writable; a retry does not help."""

    usual_reason = Reason.STORAGE_DENIED


class ObjectMissing(StoreError):
    """Absence of a key from the store."""


class LedgerCorrupt(RunFailed):
    """Damage of an object of the run, which fails its checksum or cannot be decoded."""

    usual_reason = Reason.LEDGER_CORRUPT


class Superseded(RunFailed):
    """Takeover by a driver with a higher epoch; this one must leave without further writes."""

    usual_reason = Reason.SUPERSEDED


class Interrupted(EvalRunError):
    """Request by the user or the platform to stop the run; what is committed stays, and the same command resumes."""

    exit_code = 130
    usual_reason = Reason.INTERRUPTED
