"""Versions of the ledger's format: which ones are read, and which may be added to."""

from __future__ import annotations

from evalrun_api import Reason
from evalrun_api.wire.outputs import FORMAT_VERSION
from evalrun_runner.errors import OtherFormat


def check_readable(found: int, where: str, ours: int = FORMAT_VERSION) -> None:
    """Refuse what a newer EvalRun wrote; every older format is read.

    Args:
        found: Format version of the object.
        where: The object, for the message.
        ours: Format version that this EvalRun writes.

    Raises:
        OtherFormat: The object is of a newer format.
    """
    if found > ours:
        raise OtherFormat(
            f"{where} is of format version {found}; this EvalRun reads versions up to {ours}. It was written by a "
            "newer EvalRun: use that one, or give another output",
            reason=Reason.PLAN_MISMATCH,
        )


def check_resumable(found: int, where: str, advice: str, ours: int = FORMAT_VERSION) -> None:
    """Refuse to add to a ledger of another format: no ledger holds objects of two.

    Args:
        found: Format version of the run's plan.
        where: The run, for the message.
        advice: What the user can do instead.
        ours: Format version that this EvalRun writes.

    Raises:
        OtherFormat: The run is of another format.
    """
    check_readable(found, where, ours)
    if found != ours:
        raise OtherFormat(
            f"{where} holds a run of format version {found}; this EvalRun writes version {ours} and never mixes two in "
            f"one run. {advice}. `evalrun results` still reads it",
            reason=Reason.PLAN_MISMATCH,
        )
