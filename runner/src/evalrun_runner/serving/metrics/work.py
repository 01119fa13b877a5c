"""Metrics of the run's progress: items, chunks, tokens and times."""

from __future__ import annotations

from evalrun_api.metrics import driver
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.records.results import Answer
from evalrun_runner.serving.metrics.families import Families


def add_progress(families: Families, progress: ProgressSnapshot, *, busy: bool) -> None:
    """Add the dispatcher's counts.

    Args:
        families: The families to add to.
        progress: The dispatcher's snapshot.
        busy: Whether the run dispatches now, so that the remaining time is valid.
    """
    families.add(driver.ITEMS_PLANNED, progress.planned)
    families.add(driver.PLANNING_DONE, progress.planning_done)
    for status, items in (
        ("ok", progress.counts.ok),
        ("failed", progress.counts.failed),
        ("quarantined", progress.counts.quarantined),
        ("leased", progress.in_flight),
        ("waiting", progress.pending),
        ("skipped", progress.skipped),
    ):
        families.add(driver.ITEMS, items, status)
    for answer in Answer:
        families.add(driver.ANSWERS, getattr(progress.counts, answer), answer)
    families.add(driver.ITEMS_KEPT, progress.kept)
    families.add(driver.ITEMS_REDONE, progress.redone_here)
    if busy and progress.eta_s is not None:
        families.add(driver.ETA, progress.eta_s)
    still_open = progress.pending_chunks + progress.leased_chunks + progress.suspect_chunks
    for state, chunks in (
        ("waiting", progress.pending_chunks),
        ("leased", progress.leased_chunks),
        ("suspect", progress.suspect_chunks),
        ("committed", progress.chunks - still_open - progress.skipped_chunks),
        ("skipped", progress.skipped_chunks),
    ):
        families.add(driver.CHUNKS, chunks, state)
    families.add(driver.CHUNKS_HEDGED, progress.hedged)
    families.add(driver.CHUNKS_DUPLICATE, progress.duplicate_commits)
    families.add(driver.PROMPT_TOKENS, progress.prompt_tokens)
    families.add(driver.GENERATED_TOKENS, progress.output_tokens)


def add_commits(families: Families, telemetry: TelemetrySnapshot) -> None:
    """Add what this driver's replicas committed to the ledger."""
    items = telemetry.items
    for status, number in (("ok", items.ok), ("failed", items.failed), ("quarantined", items.quarantined)):
        families.add(driver.ITEMS_COMMITTED, number, status)
    families.add(driver.CHUNKS_COMMITTED, telemetry.chunks)
    families.add_histogram(driver.COMMIT_SECONDS, telemetry.commits)
