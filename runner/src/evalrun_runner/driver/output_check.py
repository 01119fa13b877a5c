"""Whether an output may be written to: a run's own, or an empty one. Nothing of anyone else's is mixed with a run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from evalrun_api import Reason
from evalrun_runner.errors import InputError
from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore

_MOST_NAMES = 3
_NOBODYS = frozenset({"lost+found"})
"""Folders that a file system makes by itself."""


def check_output(store: ObjectStore) -> None:
    """Refuse an output that holds other files and no run, before anything is written there. Hidden files do not count.

    Raises:
        InputError: There are such files.
        StoreError: The store cannot be read.
    """
    if any(store.exists(key) for key in (layout.PLAN, layout.RUN)):
        return
    names = list(islice(_foreign(store), _MOST_NAMES + 1))
    if names:
        more = ", …" if len(names) > _MOST_NAMES else ""
        raise InputError(
            f"{store.uri} holds files that are no run's ({', '.join(names[:_MOST_NAMES])}{more}); give a new or an "
            "empty folder, or one that an earlier call of this run has written",
            reason=Reason.INVALID_SPEC,
        )


def _foreign(store: ObjectStore) -> Iterator[str]:
    seen: set[str] = set()
    for key in store.list(""):
        first, slash, _ = key.partition("/")
        if first.startswith(".") or first in _NOBODYS or first in seen:
            continue
        seen.add(first)
        yield first + slash
