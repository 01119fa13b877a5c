"""Every error of the runner, in one tree.

    EvalRunError
    ├── InputError               what the user gave is wrong                          exit 2
    ├── RunFailed                the run could not reach its end                      exit 1
    │   ├── StoreError
    │   │   ├── StoreUnavailable   5xx, time-outs, refused connections: retried with backoff
    │   │   ├── StoreFull          no space left: the run pauses, then fails
    │   │   ├── StoreDenied        wrong credentials, no bucket, not writable: no retry mends it
    │   │   └── ObjectMissing      the key is not there
    │   ├── LedgerCorrupt        an object of the run fails its checksum
    │   └── Superseded           a driver with a higher epoch took the run over
    └── Interrupted              Ctrl-C or SIGTERM; what is committed stays           exit 130

A message says what was wrong, where (file, field, object), what was expected, and what to do.
"""

from __future__ import annotations


class EvalRunError(Exception):
    """Base of every error that is shown to a person without a traceback."""

    exit_code = 1


class InputError(EvalRunError):
    """The user's input is wrong: a file, a field, a model, a task, an option."""

    exit_code = 2


class RunFailed(EvalRunError):
    """The run could not reach its end; what is committed stays."""


class StoreError(RunFailed):
    """The object store refused or could not be reached."""


class StoreUnavailable(StoreError):
    """Transient: 5xx, time-outs, refused connections. Retry with backoff."""


class StoreFull(StoreError):
    """No space left where the run writes."""


class StoreDenied(StoreError):
    """Wrong credentials, a missing bucket, a directory that cannot be written: a retry does not mend it."""


class ObjectMissing(StoreError):
    """The key is not in the store."""


class LedgerCorrupt(RunFailed):
    """An object of the run fails its checksum or cannot be decoded."""


class Superseded(RunFailed):
    """A driver with a higher epoch took the run over; this one must leave without writing more."""


class Interrupted(EvalRunError):
    """The user or the platform asked the run to stop; what is committed stays and the same command resumes."""

    exit_code = 130
