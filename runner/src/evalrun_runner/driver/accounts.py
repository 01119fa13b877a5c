"""Counts of items as results and messages have them."""

from __future__ import annotations

from collections.abc import Mapping

from evalrun_api import AnswerCounts
from evalrun_api.wire.outputs import ItemAccount, RunAccount
from evalrun_runner.records.results import ItemCounts


def answer_counts(counts: ItemCounts) -> AnswerCounts:
    """Return how the answers to ok items ended."""
    return AnswerCounts(
        complete=counts.complete,
        truncated=counts.truncated,
        refused=counts.refused,
        filtered=counts.filtered,
        empty=counts.empty,
    )


def item_account(counts: ItemCounts, skipped: int = 0, executions: Mapping[str, int] | None = None) -> ItemAccount:
    """Return the account of a leaf task's items."""
    return ItemAccount(
        ok=counts.ok,
        failed=counts.failed,
        quarantined=counts.quarantined,
        **({"skipped": skipped} if skipped else {}),
        answers=answer_counts(counts),
        **({"executions": dict(sorted(executions.items()))} if executions else {}),
    )


def run_account(counts: ItemCounts, skipped: int = 0) -> RunAccount:
    """Return the account of all items of a run."""
    return RunAccount(
        planned=counts.total + skipped,
        ok=counts.ok,
        failed=counts.failed,
        quarantined=counts.quarantined,
        **({"skipped": skipped} if skipped else {}),
        answers=answer_counts(counts),
    )
