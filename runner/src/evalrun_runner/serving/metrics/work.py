"""Items, chunks, tokens and times: how far the run is."""

from __future__ import annotations

from evalrun_api.metrics import driver
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.serving.metrics.families import Families


def tell_progress(families: Families, progress: ProgressSnapshot, *, busy: bool) -> None:
    """What the dispatcher counts. ``busy``: it dispatches, so that the time left is known."""
    families.tell(driver.ITEMS_PLANNED, progress.planned)
    families.tell(driver.PLANNING_DONE, progress.planning_done)
    for status, items in (
        ("ok", progress.counts.ok),
        ("failed", progress.counts.failed),
        ("quarantined", progress.counts.quarantined),
        ("leased", progress.in_flight),
        ("waiting", progress.pending),
    ):
        families.tell(driver.ITEMS, items, status)
    families.tell(driver.ITEMS_KEPT, progress.kept)
    families.tell(driver.ITEMS_REDONE, progress.redone)
    if busy and progress.eta_s is not None:
        families.tell(driver.ETA, progress.eta_s)
    still_open = progress.pending_chunks + progress.leased_chunks + progress.suspect_chunks
    for state, chunks in (
        ("waiting", progress.pending_chunks),
        ("leased", progress.leased_chunks),
        ("suspect", progress.suspect_chunks),
        ("committed", progress.chunks - still_open),
    ):
        families.tell(driver.CHUNKS, chunks, state)
    families.tell(driver.CHUNKS_HEDGED, progress.hedged)
    families.tell(driver.CHUNKS_DUPLICATE, progress.duplicate_commits)
    families.tell(driver.PROMPT_TOKENS, progress.prompt_tokens)
    families.tell(driver.GENERATED_TOKENS, progress.output_tokens)


def tell_commits(families: Families, telemetry: TelemetrySnapshot) -> None:
    """What this driver's replicas brought into the ledger."""
    items = telemetry.items
    for status, number in (("ok", items.ok), ("failed", items.failed), ("quarantined", items.quarantined)):
        families.tell(driver.ITEMS_COMMITTED, number, status)
    families.tell(driver.CHUNKS_COMMITTED, telemetry.chunks)
    families.tell_histogram(driver.COMMIT_SECONDS, telemetry.commits)
