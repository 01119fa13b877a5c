"""The outcome of an item that has no recorded answer, wherever answers are recorded."""

from __future__ import annotations

from evalrun_runner.records.results import ItemStatus, Outcome


def no_answer(why: str) -> Outcome:
    """Return the outcome of an item without a recorded answer to its requests: failed, with the reason."""
    return Outcome(ItemStatus.FAILED, error=f"NoRecordedAnswer: {why}")
